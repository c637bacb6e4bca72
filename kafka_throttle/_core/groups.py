"""Which ordering groups have records that wait, in memory that does not grow with them."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["Groups", "group_of"]

_SLOTS = 1 << 18


def group_of(topic: str, key: bytes | None, partition: int) -> Hashable:
    """Return the ordering group of a record: its partition when one is given, else its key, else the topic."""
    if partition >= 0:
        return topic, partition
    return topic if key is None else (topic, key)


class Groups:
    """Counts the waiting records of each group, by a hash of it.

    Two groups may share a slot: then one queues behind the other, which costs time and never order.
    """

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts = array("I", bytes(4 * _SLOTS))
        self.total = 0

    def add(self, group: Hashable) -> None:
        """Count one record that waits."""
        self._counts[hash(group) % _SLOTS] += 1
        self.total += 1

    def remove(self, group: Hashable) -> None:
        """Count one that waits no more."""
        self._counts[hash(group) % _SLOTS] -= 1
        self.total -= 1

    def __contains__(self, group: object) -> bool:
        return self.total > 0 and self._counts[hash(group) % _SLOTS] > 0
