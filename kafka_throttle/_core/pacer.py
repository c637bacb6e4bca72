"""Paces admission so that a broker with a quota need not hold the client back (KIP-219).

A broker keeps the client's byte rate over eleven samples of one second: what came in the last 10 to 11 s, divided by
at least 10 s. Above the quota it answers with throttle = (rate - quota) / quota x 10 s, at most about 1 s, and mutes
the connection for so long. librdkafka does not obey that answer, so that records wait in the mute. But the
arithmetic can be turned round: a throttle time below the cap tells the quota exactly, in the client's own bytes:

    quota = rate / (1 + throttle / 10 s)

and one at the cap gives an upper bound. From then on: nothing while a throttle runs; never more in the last 10 and
11 s than the quota allows (so the initial credit is spent without a mute); and within that, an even pace just below
the quota, in releases large enough that batches do not shrink.

A quota can be raised without a word, so the pacer asks: after a second at its pace it goes 5 % above the quota. When
the quota still holds, the 10 s rate passes it by half a percent a second later, the broker answers with a mute of
some 50 ms, and the estimate is renewed. When no answer comes although the rate is above, the quota is higher: the
pace is raised by half a second until an answer comes. Without any for a whole window and a half it is forgotten.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from kafka_throttle._core.path import AdmissionLog
    from kafka_throttle._core.window import Reading

__all__ = ["Pacer"]

# The broker's: quota.window.num = 11 samples of quota.window.size.seconds = 1.
_WINDOW = 10.0
_WHOLE_WINDOW = 11.0
_CAP = 0.9
_LONGEST_MUTE = 1.0
# Ours.
_MARGIN = 0.995
_QUIET = 1.0
_ASK = 1.05
_EVIDENCE = 1.005
_ANSWER = 0.1
_PROBE = 1.5
_MOST_PROBE = 10.0
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
    _throttled_at: float = field(default=-math.inf, init=False)
    _muted_until: float = field(default=-math.inf, init=False)
    _paid_until: float = field(default=0.0, init=False)
    _charged: int = field(default=0, init=False)

    def note_throttle(self, now: float, throttle: float, reading: Reading, log: AdmissionLog) -> None:
        """Learn from a throttle time, in seconds, that a broker announced."""
        self._throttled_at = now
        self._muted_until = max(self._muted_until, now + min(throttle, _LONGEST_MUTE))
        elapsed = min(_WHOLE_WINDOW, max(_WINDOW, now - log.started))
        rate = max(
            log.bytes_since(now - _WINDOW, reading) / _WINDOW,
            log.bytes_since(now - _WHOLE_WINDOW, reading) / elapsed,
        )
        estimate = rate / (1.0 + throttle / _WINDOW)
        if estimate <= 0:
            return
        if self.quota is None:
            self._charged = reading.admitted_bytes
        if throttle < _CAP or self.quota is None or estimate < self.quota:
            self.quota = estimate
        self._paced_for = self._above_for = 0.0

    def budget(self, now: float, reading: Reading, log: AdmissionLog) -> float:
        """Return the bytes that may be handed over now; 0 while it has to be waited, infinity without a quota."""
        if self.quota is None:
            return math.inf
        if now - self._throttled_at > _FORGET:
            self.quota = None
            return math.inf
        last = log.bytes_since(now - _WINDOW, reading)
        pace = self._pace()
        self._paid_until = (
            max(self._paid_until, now - _CATCH_UP) + (reading.admitted_bytes - self._charged) / pace
        )
        self._charged = reading.admitted_bytes
        spare = min(
            pace * _WINDOW - last, pace * _WHOLE_WINDOW - log.bytes_since(now - _WHOLE_WINDOW, reading)
        )
        waited, self._visited = min(now - self._visited, _CATCH_UP), now
        if now < self._muted_until or spare <= 0:
            return 0.0
        self._paced_for += waited
        self._above_for = self._above_for + waited if last > _EVIDENCE * _WINDOW * self.quota else 0.0
        return 0.0 if now < self._paid_until else min(pace * _RELEASE, spare)

    def _pace(self) -> float:
        assert self.quota is not None
        if self._paced_for < _QUIET:
            return self.quota * _MARGIN
        probe: float = _PROBE ** max(0.0, self._above_for - _ANSWER)
        return self.quota * min(_MOST_PROBE, _ASK * probe)
