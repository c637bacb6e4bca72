"""What the windows taught about the path to the brokers: delays, rate, record size, and what is stuck on it."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from kafka_throttle._core.window import Reading, WindowSample

__all__ = ["AdmissionLog", "Path"]

_UNKNOWN_DELAY = 0.02
_BASE_SPAN = 75.0


@define
class Path:
    """Long averages of one path.

    Attributes:
        round_trip: Smoothed median delay of a record, in seconds.
        record_bytes: Smoothed mean size of a record.
        rate: Smoothed rate of reports, in records per second.
        request_latency: Smoothed time from request to response, in seconds.
        mean_delay: Smoothed mean delay of a record, in seconds.
    """

    round_trip: float = _UNKNOWN_DELAY
    record_bytes: float = 0.0
    rate: float = 0.0
    request_latency: float = 0.0
    mean_delay: float = 0.0
    _least: deque[tuple[float, float]] = field(factory=deque, init=False)

    @property
    def base_delay(self) -> float:
        """The delay of a record that meets no queue, in seconds: the smallest of the last 75 s."""
        return self._least[0][1] if self._least else _UNKNOWN_DELAY

    def witness(self, at: float, round_trip: float, linger: float) -> None:
        """Take in the round trip, in seconds, of a request that met no queue of ours: a bound for the base delay."""
        self._note_least(at, round_trip + 0.5 * linger)

    def forget_base(self, at: float, delay: float) -> None:
        """Take `delay`, in seconds, for the base from now on."""
        self._least.clear()
        self._least.append((at, delay))

    def learn(self, sample: WindowSample) -> None:
        """Take in one window."""
        median = sample.delays.quantile(0.5)
        if median is not None:
            self.round_trip += 0.2 * (median - self.round_trip)
            self._note_least(sample.end, sample.delays.quantile(0.0) or 0.0)
            self.mean_delay += 0.3 * ((sample.delays.mean or median) - self.mean_delay)
        if sample.acked:
            self.rate += 0.3 * (sample.rate - self.rate)
            self._note_size(sample.acked_bytes / sample.acked)
        if sample.request_latency is not None:
            self.request_latency += 0.3 * (sample.request_latency - self.request_latency)

    def _note_size(self, size: float) -> None:
        size = max(1.0, size)
        self.record_bytes = (
            size if not self.record_bytes else self.record_bytes + 0.3 * (size - self.record_bytes)
        )

    def _note_least(self, at: float, delay: float) -> None:
        # A queue of rising minima: the front is the smallest of the span, whatever leaves.
        least = self._least
        while least and least[-1][1] >= delay:
            least.pop()
        least.append((at, delay))
        while least[0][0] < at - _BASE_SPAN:
            least.popleft()


@define
class AdmissionLog:
    """When how much had been admitted: enough to tell ages and rates from counters, without a time stamp per record.

    Attributes:
        resolution: Seconds between two entries.
        span: Seconds that are kept.
    """

    resolution: float = 0.01
    span: float = 12.0
    _times: list[float] = field(factory=list, init=False)
    _admitted: list[int] = field(factory=list, init=False)
    _bytes: list[int] = field(factory=list, init=False)

    @property
    def started(self) -> float:
        """The time of the oldest entry."""
        return self._times[0] if self._times else 0.0

    def note(self, now: float, reading: Reading) -> None:
        """Remember how much has been admitted by now."""
        times = self._times
        if times and now - times[-1] < self.resolution:
            return
        times.append(now)
        self._admitted.append(reading.admitted)
        self._bytes.append(reading.admitted_bytes)
        if len(times) > 2 * self.span / self.resolution:
            # What is older matters only as the age of a record that is still in flight, and "at least so old" will do.
            # The last of the old entries stays: it says what there was when the span began.
            old = max(0, bisect_right(times, now - self.span) - 1)
            for entries in (times, self._admitted, self._bytes):
                del entries[:old]

    def oldest(self, now: float, reading: Reading) -> float:
        """Return a lower bound, in seconds, of the age of the oldest record in flight; 0 when there is none.

        Reports come about in the order of admission, so that the record after the last reported one is the oldest.
        """
        if reading.in_flight <= 0:
            return 0.0
        later = bisect_right(self._admitted, reading.acked)
        return now - self._times[later] if later < len(self._times) else 0.0

    def admitted_since(self, since: float, reading: Reading) -> int:
        """Return an upper bound of the records admitted after `since`."""
        earlier = bisect_right(self._times, since) - 1
        return reading.admitted - (self._admitted[earlier] if earlier >= 0 else 0)

    def first_since(self, since: float) -> float:
        """Return a lower bound, not below `since`, of the time of the first admission after it.

        When nothing was admitted since, that is the time of the last entry.
        """
        if not self._times:
            return since
        earlier = max(0, bisect_right(self._times, since) - 1)
        later = bisect_right(self._bytes, self._bytes[earlier])
        return max(since, self._times[later - 1])

    def bytes_since(self, since: float, reading: Reading) -> int:
        """Return an upper bound of the bytes admitted after `since`."""
        earlier = bisect_right(self._times, since) - 1
        return reading.admitted_bytes - (self._bytes[earlier] if earlier >= 0 else 0)
