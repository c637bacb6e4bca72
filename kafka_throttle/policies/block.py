"""The policy that makes the caller wait."""

from __future__ import annotations

from kafka_throttle._fields import Seconds, configured, seconds
from kafka_throttle.policies._base import Policy

__all__ = ["Block"]


@configured
class Block(Policy):
    """Make the caller of ``produce()`` wait until there is room, as the Java client does.

    Waiting callers are served in the order in which they came. When the time is up, ``produce()`` raises `Rejected`,
    a `BufferError`, and nothing of the record is kept.

    Attributes:
        timeout: Longest wait in seconds. 0 is one try without waiting; infinity (``"forever"``) never gives up.
    """

    timeout: Seconds = seconds(
        default=60.0, forever=True, doc="Longest wait of a caller; 0 is one try without waiting."
    )
