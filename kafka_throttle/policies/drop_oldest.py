"""The policy that holds records in memory and gives up those that wait longest."""

from __future__ import annotations

from typing import ClassVar

from kafka_throttle._fields import ByteSize, OptionalSeconds, byte_size, configured, count, seconds
from kafka_throttle.policies._base import Policy, then_field
from kafka_throttle.policies.reject import Reject

__all__ = ["DropOldest"]


@configured
class DropOldest(Policy):
    """Hold records in memory, and shed the oldest when there are too many or they are too old.

    For records of which the latest are worth most: positions, prices, metrics. ``produce()`` returns at once; the
    callback of a record that is shed is told.

    Attributes:
        max_records: Records that are held at most.
        max_bytes: Bytes of their keys, values and headers at most.
        max_age: Seconds after which a held record is shed; None for never.
        then: What happens to a record that is larger than `max_bytes` by itself.
    """

    can_lose: ClassVar[bool] = True

    max_records: int = count(default=10_000, minimum=1, doc="Records held in memory at most.")
    max_bytes: ByteSize = byte_size(
        default="64 MiB", minimum=1, doc="Bytes of keys, values and headers held at most."
    )
    max_age: OptionalSeconds = seconds(
        default=None, above=0, optional=True, doc="Time after which a held record is shed; none for never."
    )
    then: Policy = then_field(Reject(), "What happens to a record that is larger than `max_bytes` by itself.")
