"""The policy that refuses at once."""

from __future__ import annotations

from kafka_throttle._fields import configured
from kafka_throttle.policies._base import Policy

__all__ = ["Reject"]


@configured
class Reject(Policy):
    """Refuse the record at once: ``produce()`` raises `Rejected`, a `BufferError`, and nothing of it is kept.

    For callers that have a better answer than waiting, such as an HTTP 503.
    """
