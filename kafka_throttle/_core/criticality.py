"""Who gives way first when room is scarce: sheddable records, then normal ones, critical ones last.

Three rules, none of which needs to know what each class has in flight:

1. Headroom. A less important class finds the edge reached while a share of the limit, and of a quota's pace some
   milliseconds, is still free, so that a more important record finds room when it comes.
2. A floor. Each class may have a share of the rate all the same, beyond the limit if need be: none starves. That of
   the most important class is large, so that it goes on when the limit is cut; what is in flight shrinks all the
   same, because the floors together are less than the rate.
3. Who waits stands in front of those that matter less (`Turnstile`).
"""

from __future__ import annotations

from attrs import define, field

__all__ = ["CLASSES", "LAG", "Floors", "headroom"]

CLASSES = ("critical", "normal", "sheddable")
"""Classes of criticality, the most important first; the rank of one is its position among those that there are."""

# Share of the limit that stays free for those that matter more.
_HEADROOM = (0.0, 0.25, 0.45)
LAG = (0.0, 0.015, 0.03)
"""Seconds for which a class lets those that matter more take what a quota's pace allows."""

# Share of the rate that is each class's own, and what of it can be saved up, as a share of the limit.
_FLOOR = (0.5, 0.05, 0.05)
_SAVED = 0.02


def headroom(rank: int, limit: float) -> float:
    """Return the records of a limit that a class leaves to those that matter more."""
    return _HEADROOM[rank] * limit


@define
class Floors:
    """What each class may have however scarce room is: a bucket of tokens each."""

    _tokens: list[float] = field(factory=lambda: [0.0] * len(CLASSES), init=False)
    _at: list[float | None] = field(factory=lambda: [None] * len(CLASSES), init=False)

    def take(self, rank: int, now: float, rate: float, limit: float) -> bool:
        """Take one record's worth of a class's floor, if there is any.

        Args:
            rank: The class.
            now: Seconds of the monotonic clock.
            rate: Records reported per second.
            limit: Records that may be in flight.
        """
        at = self._at[rank]
        gained = 0.0 if at is None else _FLOOR[rank] * rate * (now - at)
        self._at[rank] = now
        self._tokens[rank] = min(max(1.0, _SAVED * limit), self._tokens[rank] + gained)
        if self._tokens[rank] < 1.0:
            return False
        self._tokens[rank] -= 1.0
        return True
