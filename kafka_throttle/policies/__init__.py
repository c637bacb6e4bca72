"""What an application chooses for the records that Kafka cannot take now."""

from __future__ import annotations

from kafka_throttle.policies._base import Policy
from kafka_throttle.policies.block import Block
from kafka_throttle.policies.reject import Reject

__all__ = ["POLICIES", "Block", "Policy", "Reject"]

POLICIES: dict[str, type[Policy]] = {"block": Block, "reject": Reject}
"""The policies that mappings and TOML can name, by that name."""
