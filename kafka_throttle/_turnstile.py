"""First come, first served for threads that wait for room."""

from __future__ import annotations

import threading
from collections import deque

__all__ = ["Turnstile"]


class Turnstile:
    """A line of waiting threads. The first of the line works (polls, looks for room), the others sleep.

    Not a lock: `turn` returns when the caller is first or the time is up, and whoever joined has to `leave`.
    """

    __slots__ = ("_line", "_lock")

    def __init__(self) -> None:
        self._line: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._line)

    def join(self) -> threading.Event:
        """Stand at the end of the line and return the place."""
        place = threading.Event()
        with self._lock:
            self._line.append(place)
            if self._line[0] is place:
                place.set()
        return place

    def turn(self, place: threading.Event, timeout: float) -> bool:
        """Wait until the place is the first of the line.

        Args:
            place: What `join` returned.
            timeout: Seconds to wait at most.

        Returns:
            Whether it is the first.
        """
        return place.wait(timeout)

    def leave(self, place: threading.Event) -> None:
        """Leave the line, from wherever in it, and wake the one that is first then."""
        with self._lock:
            self._line.remove(place)
            if self._line:
                self._line[0].set()
