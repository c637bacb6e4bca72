"""What an application chooses for the records that Kafka cannot take now."""

from __future__ import annotations

from kafka_throttle.policies._base import Policy
from kafka_throttle.policies.block import Block
from kafka_throttle.policies.dead_letter import DeadLetter
from kafka_throttle.policies.drop_newest import DropNewest
from kafka_throttle.policies.drop_oldest import DropOldest
from kafka_throttle.policies.reject import Reject
from kafka_throttle.policies.sample import Sample
from kafka_throttle.policies.spill import Spill

__all__ = [
    "POLICIES",
    "Block",
    "DeadLetter",
    "DropNewest",
    "DropOldest",
    "Policy",
    "Reject",
    "Sample",
    "Spill",
]

POLICIES: dict[str, type[Policy]] = {
    "block": Block,
    "reject": Reject,
    "drop_newest": DropNewest,
    "drop_oldest": DropOldest,
    "sample": Sample,
    "spill": Spill,
    "dead_letter": DeadLetter,
}
"""The policies that mappings and TOML can name, by that name."""
