"""Paces admission so that a broker with a quota need not hold the client back (KIP-219).

A broker keeps the client's byte rate over eleven samples of one second and counts a sample until eleven seconds after
its last byte: what came in the last 10 to 12 s, divided by that time, or by 10 s at least. Above the quota it answers
with throttle = (rate - quota) / quota x that time and mutes the connection for so long: for as long as the client is
ahead of its quota, eleven seconds when the quota is halved. librdkafka does not obey that answer, so that records
wait in the mute. But the arithmetic can be turned round: every answer tells the quota, in the client's own bytes:

    quota = bytes / (time + throttle)

From then on: nothing while a mute lasts; never more in the time that the broker looks at than the quota allows (so the
initial credit is spent without a further mute); and within that, an even pace just below the quota, in releases large
enough that batches do not shrink.

A quota can be raised without a word, so the pacer asks. Once the window is full, so that the broker would have to
answer, it doubles its pace a second after the last answer. If the quota still holds, one of the next releases
passes it, and the broker says so at once, with a mute that is no longer than what passed meanwhile. No answer means
that the quota is higher than the rate that the broker has seen, and the pace is twice that rate: fast enough for a
quota that was doubled, and not so fast that the mute that ends it could be long. When there is no answer for three
seconds, the quota is far away or gone, and the pace doubles every second; without any for 15 s it is forgotten.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from kafka_throttle._core.path import AdmissionLog
    from kafka_throttle._core.window import Reading

__all__ = ["Pacer"]

# What the broker looks at, in seconds: quota.window.num = 11 samples of quota.window.size.seconds = 1. Where within
# its second a sample began is not known; while the pace changes, each length allows something else.
_SHORTEST_WINDOW = 10.0
_WINDOW = 11.5
_WINDOWS = (_SHORTEST_WINDOW, 10.5, 11.0, _WINDOW, 12.0)
# Ours.
_MARGIN = 0.995
_QUIET = 1.0
_FULL = 0.98
_ASK = 2.0
_EVIDENCE = 1.005
_PATIENCE = 3.0
_FORGET = 15.0
_RELEASE = 0.02
_CATCH_UP = 0.05


@define
class Pacer:
    """Learns a broker's quota and says how many bytes may be handed over now.

    Attributes:
        quota: The quota in the client's own bytes per second; None while none is known.
    """

    quota: float | None = field(default=None, init=False)
    _visited: float = field(default=0.0, init=False)
    _paced_for: float = field(default=0.0, init=False)
    _above_for: float = field(default=0.0, init=False)
    _muted_until: float = field(default=-math.inf, init=False)
    _paid_until: float = field(default=0.0, init=False)
    _charged: int = field(default=0, init=False)

    def note_throttle(self, now: float, throttle: float, reading: Reading, log: AdmissionLog) -> None:
        """Learn from a throttle time, in seconds, that a broker announced."""
        self._muted_until = max(self._muted_until, now + throttle)
        size, window = _counted(now, reading, log)
        size -= reading.in_flight_bytes  # the broker has not counted it yet
        if size <= 0:
            return
        if self.quota is None:
            self._charged = reading.admitted_bytes
        self.quota = size / (window + throttle)
        self._paced_for = self._above_for = 0.0

    def muted(self, now: float) -> bool:
        """Return whether a broker holds the client back."""
        return now < self._muted_until

    def budget(self, now: float, reading: Reading, log: AdmissionLog, lag: float = 0.0) -> float:
        """Return the bytes that may be handed over now; 0 while it has to be waited, infinity without a quota.

        Args:
            now: Seconds of the monotonic clock.
            reading: The counters.
            log: When what was admitted.
            lag: Seconds for which others, who matter more, may take what is allowed.
        """
        if self.muted(now):
            self._visited = now
            return 0.0
        if self.quota is None:
            return math.inf
        if now - self._muted_until > _FORGET:
            self.quota = None
            return math.inf
        counted = [(log.bytes_since(now - length, reading), length) for length in _WINDOWS]
        seen = min(size / length for size, length in counted)
        pace = self._pace(seen)
        self._paid_until = (
            max(self._paid_until, now - _CATCH_UP) + (reading.admitted_bytes - self._charged) / pace
        )
        self._charged = reading.admitted_bytes
        spare = min(pace * length - size for size, length in counted) - lag * pace
        waited, self._visited = min(now - self._visited, _CATCH_UP), now
        if spare <= 0:
            return 0.0
        self._paced_for += waited
        self._above_for = self._above_for + waited if seen > _EVIDENCE * self.quota else 0.0
        return 0.0 if now - lag < self._paid_until else min(max(self.quota, seen) * _RELEASE, spare)

    def _pace(self, seen: float) -> float:
        """Return the pace, given the least that the broker may have seen."""
        assert self.quota is not None
        if self._paced_for < _QUIET or seen < _FULL * self.quota:
            return self.quota * _MARGIN
        factor: float = _ASK ** (1.0 + max(0.0, self._above_for - _PATIENCE))
        return max(self.quota, seen) * factor


def _counted(now: float, reading: Reading, log: AdmissionLog) -> tuple[float, float]:
    """Return the bytes that a broker counts, and the seconds that it divides them by."""
    first = log.first_since(now - _WINDOW)
    elapsed = now - first
    # Whole samples that are missing, after a pause or at the start, count as empty ones.
    window = elapsed if elapsed >= _SHORTEST_WINDOW else _SHORTEST_WINDOW + elapsed % 1.0
    return log.bytes_since(first, reading), window
