"""Keeps the base delay true: a standing queue hides it, so now and then the queue is let run dry.

The base delay is the smallest delay seen lately. A producer that keeps its path full sees no small delay; what it
remembers grows old, and when it is forgotten the queue itself would pass for the base, allow a longer queue, and so
on. So when no window came near the base for a while, the limit is lowered for a short spell to a part of what the
path holds without a queue (BBR's ProbeRTT is the model), and then goes on where it was.

The other way round, a base that is too small (the path became longer) makes every delay look like a queue. Then the
limit ends at its floor, where hardly anything can queue: what is seen there is the base.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from kafka_throttle._core.path import Path
    from kafka_throttle._core.window import WindowSample

__all__ = ["DelayProbe"]

_AFTER = 30.0
_DEPTH = 0.3
_SHORTEST = 0.15
_WINDOWS_AT_FLOOR = 5


@define
class DelayProbe:
    """Decides when to let the queue run dry.

    Attributes:
        until: When the present spell ends, in seconds of the monotonic clock; in the past when there is none.
    """

    until: float = field(default=-math.inf, init=False)
    _met_at: float | None = field(default=None, init=False)
    _at_floor: int = field(default=0, init=False)

    def limit(self, now: float, limit: float, path: Path, batch: float) -> float:
        """Return the limit, lowered while a spell lasts."""
        if now >= self.until:
            return limit
        return min(limit, max(batch, _DEPTH * path.rate * path.base_delay))

    def spoils(self, sample: WindowSample) -> bool:
        """Whether a spell fell into the window, so that it says nothing about the limit."""
        return sample.end - sample.duration < self.until

    def learn(
        self, sample: WindowSample, path: Path, *, congested: bool, at_floor: bool, muted: bool
    ) -> None:
        """Take in one window, and begin a spell when the base has not been met for long.

        Args:
            sample: The window.
            path: What is known of the path.
            congested: Whether the delays look like a queue.
            at_floor: Whether the limit is as low as it may be.
            muted: Whether a broker's quota explains the delays.
        """
        least = sample.delays.quantile(0.0)
        if self._met_at is None or (
            least is not None and least <= path.base_delay + max(0.002, 0.1 * path.base_delay)
        ):
            self._met_at = sample.end
        elif not sample.edge_reached or sample.stalled or muted:
            return
        elif sample.end - self._met_at > _AFTER:
            self._met_at = sample.end
            self.until = sample.end + max(_SHORTEST, sample.standing_delay + 3 * path.base_delay)
        self._at_floor = (
            self._at_floor + 1 if congested and at_floor and not muted and least is not None else 0
        )
        if self._at_floor >= _WINDOWS_AT_FLOOR and least is not None:
            self._at_floor = 0
            path.forget_base(sample.end, least)
