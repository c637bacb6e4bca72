"""`FreeTopics`: which topics may pass the gate while records of others wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import RLock

    from kafka_throttle._admission import Admission
    from kafka_throttle._shedding.way import Way

__all__ = ["FreeTopics"]

_MOST_TOPICS = 4096


class FreeTopics:
    """Restricts the gate while something waits, or while room is scarce and some records matter more than others.

    A topic is added when a record of it was let in and nothing of its rule waits, and taken back when something does.

    Args:
        admission: The producer's admission.
        ways: The ways of its rules.
        lock: The lock of the books.
    """

    def __init__(self, admission: Admission, ways: Sequence[Way], lock: RLock) -> None:
        self._admission = admission
        self._ways = ways
        self._lock = lock
        self._free: set[str] | None = None

    def restrict(self) -> None:
        """Restrict the gate to topics that are known to be free while a way is not clear; else lift that."""
        with self._lock:
            if self._admission.draining:
                return
            if all(way.clear for way in self._ways) and not self._admission.scarce:
                self._free = None
                for way in self._ways:
                    way.passing.clear()
            elif self._free is None:
                self._free = set()
            self._admission.gate.restrict(self._free)

    def let_pass(self, topic: str, rank: int) -> None:
        """Let a topic of a rule without a way pass."""
        if self._free is None:
            return
        if not self._admission.scarce:
            self.restrict()
        with self._lock:
            self._add(topic, rank)

    def let_way_pass(self, way: Way, topic: str) -> None:
        """Let a topic pass if nothing of its way waits."""
        if self._free is None:
            return
        with self._lock:  # whoever has a record wait from now on takes the topic back
            if way.clear and self._add(topic, way.rank):
                way.passing.add(topic)

    def hold_back(self, way: Way) -> None:
        """Have every record of a way take the slow path, if something waits there."""
        if way.clear:
            return
        with self._lock:  # the pump may be lifting the restriction right now
            if self._free is None:
                self.restrict()
            else:
                # Another set, and not the same one with less in it: the gate remembers what it has found there.
                self._free = self._free - way.passing
                way.passing.clear()
                self._admission.gate.restrict(self._free)

    def _add(self, topic: str, rank: int) -> bool:
        free = self._free
        if free is None or len(free) >= _MOST_TOPICS or (rank and self._admission.scarce):
            return False
        free.add(topic)
        return True
