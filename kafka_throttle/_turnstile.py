"""First come, first served for threads that wait for room."""

from __future__ import annotations

import threading
from collections import deque

__all__ = ["Place", "Turnstile"]

_ANY = 1 << 30


class Place:
    """A place in the line.

    Attributes:
        granted: Whether room was found for its record, so that the thread need not look for itself.
        grantable: Whether room is all that its record waits for.
        rank: Rank of the record's class of criticality, 0 for the most important.
    """

    __slots__ = ("_called", "grantable", "granted", "rank")

    def __init__(self, *, grantable: bool = True, rank: int = 0) -> None:
        self._called = threading.Event()
        self.granted = False
        self.grantable = grantable
        self.rank = rank

    def call(self) -> None:
        """Wake the thread that holds the place."""
        self._called.set()

    def recall(self) -> None:
        """Have the thread sleep again: somebody has come who goes first."""
        self._called.clear()

    def wait(self, timeout: float) -> bool:
        """Wait until the place is called, so many seconds at most, and return whether it was."""
        return self._called.wait(timeout)


class Turnstile:
    """A line of waiting threads. The first of the line works (polls, looks for room), the others sleep.

    Not a lock: `Place.wait` returns when the place is the first, when it was granted, or when the time is up; and
    whoever joined has to `leave`. Who finds room for several lets the next ones go at once: were every record to wait
    until its thread is the first, many threads would go through the line one record at a time.
    """

    __slots__ = ("_line", "_lock")

    def __init__(self) -> None:
        self._line: deque[Place] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._line)

    def join(self, *, grantable: bool = True, rank: int = 0) -> Place:
        """Stand behind those of the same rank, before those of higher ones, and return the place."""
        place = Place(grantable=grantable, rank=rank)
        with self._lock:
            line = self._line
            position = len(line)
            while position and line[position - 1].rank > rank:
                position -= 1
            if position == 0:
                if line:
                    line[0].recall()
                place.call()
            line.insert(position, place)
        return place

    def holds_back(self, rank: int) -> bool:
        """Return whether somebody waits whom a record of this rank must not overtake."""
        with self._lock:
            return bool(self._line) and self._line[0].rank <= rank

    def alone(self, place: Place | None) -> bool:
        """Return whether nobody waits but the one who has this place, if any."""
        return len(self._line) <= (place is not None)

    def grant(self, most: int, *, after: Place | None = None, rank: int = _ANY) -> int:
        """Let the first ones of the line go that wait for room alone, each with one record.

        Args:
            most: How many at most.
            after: The place of the caller, which stays the first.
            rank: The highest rank of those who are let go.

        Returns:
            How many were let go.
        """
        with self._lock:
            line = self._line
            first = line.popleft() if line and line[0] is after else None
            count = 0
            passed = []
            while count < most and line:
                place = line.popleft()
                if not place.grantable or place.rank > rank:
                    passed.append(place)
                    continue
                place.granted = True
                place.call()
                count += 1
            line.extendleft(reversed(passed))
            if first is not None:
                line.appendleft(first)
        return count

    def leave(self, place: Place) -> None:
        """Leave the line, from wherever in it, and wake the one that is first then."""
        with self._lock:
            if not place.granted:
                self._line.remove(place)
            if self._line:
                self._line[0].call()
