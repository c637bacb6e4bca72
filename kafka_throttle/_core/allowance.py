"""How much more than the limit may be in the client while something is stuck.

A stall is not overload. When a broker dies or pauses, nothing is reported for a while; closing the gate then helps
nobody, and the bare client would simply have buffered. So:

- nothing reported for a while and no broker throttle lately (a broker's mute is overload): up to `burst` bytes may go
  beyond the limit;
- reports come again: what was absorbed is paid back with half of the reports, so that a caller is slowed, not stopped;
- some partitions report while others do not: what has been in flight for far longer than anything that moves does
  not count against the limit, up to the same bound; when it moves again it is paid back in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from kafka_throttle._core.path import AdmissionLog
    from kafka_throttle._core.window import Reading

__all__ = ["Allowance"]

_MUTE_REMEMBERED = 15.0


@define
class Allowance:
    """Records beyond the limit, because of stalls.

    Attributes:
        burst_bytes: Upper bound, in bytes.
        stalled: Whether nothing is being reported.
    """

    burst_bytes: int
    stalled: bool = field(default=False, init=False)
    _acked: int = field(default=0, init=False)
    _acked_at: float = field(default=0.0, init=False)
    _throttled_until: float = field(default=-1e9, init=False)
    _surplus: float = field(default=0.0, init=False)
    _stuck: float = field(default=0.0, init=False)

    @property
    def absorbing(self) -> bool:
        """Whether the client holds what a stall left there: delays then tell of the stall, not of the path."""
        return self.stalled or self._surplus > 0

    @property
    def stuck(self) -> bool:
        """Whether some records do not move while others do."""
        return self._stuck > 0

    def note_broker_throttle(self, until: float) -> None:
        """Remember until when a broker holds the client back."""
        self._throttled_until = max(self._throttled_until, until)

    def muted(self, now: float) -> bool:
        """Whether silence is more likely a broker's quota than a stall."""
        return now - self._throttled_until < _MUTE_REMEMBERED

    def records(
        self,
        now: float,
        reading: Reading,
        log: AdmissionLog,
        *,
        limit: float,
        patience: float,
        usual: float,
        record_bytes: float,
    ) -> float:
        """Return the records that may be in the client beyond the limit.

        Args:
            now: Seconds of the monotonic clock.
            reading: The counters now.
            log: When how much was admitted.
            limit: Records that may be in the client.
            patience: Silence, in seconds, that is still ordinary.
            usual: Delay, in seconds, of what is being reported.
            record_bytes: Mean size of a record.
        """
        burst = self.burst_bytes / record_bytes
        reported = reading.acked - self._acked
        if reported or reading.in_flight <= 0:
            self._end_of_silence(now, reading, limit, burst)
        elif not self.muted(now) and min(now - self._acked_at, log.oldest(now, reading)) >= patience:
            self.stalled = True
            self._surplus = burst
        # On a slow path everything is old; stuck is what is far older than what moves.
        before = self._stuck
        self._stuck = min(burst, self._stuck_now(now, reading, log, limit, ordinary=max(patience, usual)))
        if self._stuck < 0.5 * before:
            # What was stuck moves again: it is paid back like what a stall left.
            self._surplus = max(self._surplus, min(before, reading.in_flight - limit))
        return max(self._surplus, self._stuck)

    def _end_of_silence(self, now: float, reading: Reading, limit: float, burst: float) -> None:
        beyond = max(0.0, reading.in_flight - limit)
        if self.stalled:
            self.stalled = False
            self._surplus = min(burst, beyond)
        elif self._surplus:
            self._surplus = min(beyond + 1.0, max(0.0, self._surplus - 0.5 * (reading.acked - self._acked)))
        self._acked = reading.acked
        self._acked_at = now

    def _stuck_now(
        self, now: float, reading: Reading, log: AdmissionLog, limit: float, *, ordinary: float
    ) -> float:
        if self.stalled or reading.in_flight < 0.5 * limit or self.muted(now):
            return 0.0
        moving = log.admitted_since(now - 4 * ordinary, reading)
        return max(0.0, reading.in_flight - moving)
