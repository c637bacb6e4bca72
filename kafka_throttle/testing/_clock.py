"""Time that only moves when it is told to."""

from __future__ import annotations

import heapq
import math
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["VirtualClock"]


class VirtualClock:
    """A monotonic clock for tests: call it for the seconds, advance it, and have things happen at given times.

    Args:
        start: The time at the beginning, in seconds.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()
        self._running = False

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self._now

    def __repr__(self) -> str:
        return f"<VirtualClock {self._now:g} s, {len(self._timers)} timers>"

    def call_at(self, when: float, action: Callable[[], object]) -> None:
        """Have `action` called when the time comes; with equal times in the order of these calls.

        Args:
            when: Time in seconds; one that has passed means the next advance.
            action: Called without arguments; it must not advance the clock.
        """
        heapq.heappush(self._timers, (max(when, self._now), next(self._numbers), action))

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass; what is due on the way happens at its time.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"seconds: {seconds!r} is not a time that can pass; allowed: 0 or more, finite")
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end:
            self._run_next()
        self._now = end

    def advance_to_next(self, most: float = math.inf) -> bool:
        """Let time pass until the next thing has happened, or for `most` seconds when nothing is due before.

        Returns:
            Whether something happened. Without a timer and without a bound, no time passes.
        """
        if self._timers and self._timers[0][0] <= self._now + most:
            self._run_next()
            return True
        if most < math.inf:
            self.advance(most)
        return False

    def _run_next(self) -> None:
        if self._running:
            raise RuntimeError("the clock was advanced from inside an action that the clock itself called")
        self._now, _, action = heapq.heappop(self._timers)
        self._running = True
        try:
            action()
        finally:
            self._running = False
