"""Takes down what becomes of the records, without keeping one entry for each."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import psutil
from hdrh.histogram import HdrHistogram

from benchmarks.outcome import LATE, SERIES, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BUCKET", "Recorder", "Sample", "clock"]

clock = time.monotonic
"""One clock for all processes of the harness."""

BUCKET = 0.25
_LONGEST = 3_600_000_000
_PURGED = {"_PURGE_QUEUE", "_PURGE_INFLIGHT"}
_SECTIONS = ("whole", "second half")


class Sample:
    """A delivery callback that takes the delay of one record."""

    __slots__ = ("_intended", "_recorder")

    def __init__(self, recorder: Recorder, intended: float) -> None:
        self._recorder = recorder
        self._intended = intended

    def __call__(self, error: Any, message: Any) -> None:
        """Count the report, and take both delays.

        The client's own latency() is from produce() to the poll() that served the report, whoever called it; the
        other one is what the application sees, from the time at which it wanted to send to this very call.
        """
        now = clock()
        self._recorder.report(error)
        if error is None:
            self._recorder.delay(now, message.latency(), now - self._intended)


class Recorder:
    """Counts reports, keeps delays as histograms, and a row of the series for each bucket of time.

    Args:
        start: When the load starts, on `clock`.
        duration: For how long it runs, in seconds.
        state: Returns (records in the client, limit) now.
        each: Records that each report stands for.
    """

    def __init__(
        self, start: float, duration: float, state: Callable[[], tuple[int, int]], each: int = 1
    ) -> None:
        self._each = each
        self.accepted = self.delivered = self.failed = self.queue_full = 0
        self.longest_call = 0.0
        self._errors: Counter[str] = Counter()
        self._start, self._middle = start, start + duration / 2
        self._state = state
        self._bucket_end = start + BUCKET
        self._counts = (0, 0, 0)
        self._delays: list[float] = []
        self._series: dict[str, list[float | None]] = {column: [] for column in SERIES}
        self._histograms = {section: HdrHistogram(1, _LONGEST, 3) for section in _SECTIONS}
        self._intended = {section: HdrHistogram(1, _LONGEST, 3) for section in _SECTIONS}
        self._throttles: list[list[float]] = []
        self._process = psutil.Process()
        self._done: Outcome | None = None

    def report(self, error: Any, message: Any = None) -> None:
        """Count one report; a delivery callback by itself, for records whose delay is not taken."""
        del message
        if error is None:
            self.delivered += self._each
        elif error.name() not in _PURGED:
            self.failure(error.name())

    def failure(self, name: str) -> None:
        """Count one failure by the name of its error."""
        self.failed += self._each
        self._errors[name] += self._each

    def delay(self, now: float, delay: float, delay_intended: float) -> None:
        """Take the delay of one record that was written."""
        self._delays.append(delay)
        for section in _SECTIONS if now >= self._middle else _SECTIONS[:1]:
            self._histograms[section].record_value(max(1, round(delay * 1e6)))
            self._intended[section].record_value(max(1, round(delay_intended * 1e6)))

    def throttled(self, event: Any) -> None:
        """Take a broker's throttle event: the client's throttle_cb."""
        self._throttles.append([round(clock() - self._start, 3), event.throttle_time])

    def call_took(self, seconds: float) -> None:
        """Take the length of a produce() call."""
        self.longest_call = max(self.longest_call, seconds)

    def tick(self, now: float) -> None:
        """Close the buckets that are over."""
        while now >= self._bucket_end:
            self._close_bucket()
            self._bucket_end += BUCKET

    def _close_bucket(self) -> None:
        counts = (self.accepted, self.delivered, self.failed)
        accepted, delivered, failed = (new - old for new, old in zip(counts, self._counts, strict=True))
        self._counts = counts
        delays = sorted(self._delays)
        self._delays.clear()
        inside, limit = self._state()
        row = (
            round(self._bucket_end - self._start, 3),
            accepted,
            delivered,
            failed,
            *(_rank(delays, share) for share in (0.5, 0.99, 1.0)),
            sum(delay > LATE for delay in delays),
            inside,
            limit,
            self._process.memory_info().rss,
        )
        for column, value in zip(SERIES, row, strict=True):
            self._series[column].append(value)

    def end_of_load(self, record_bytes: int, left: int) -> None:
        """Take note that nothing more is offered."""
        now = clock()
        self.tick(now)
        self._done = Outcome(
            seconds=now - self._start,
            delivered=self.delivered,
            record_bytes=record_bytes,
            left=left,
            series=self._series,
        )

    def outcome(self, abandoned: int) -> Outcome:
        """Return everything, once the client is empty or given up."""
        done = self._done
        assert done is not None, "end_of_load() comes first"
        done.drained = clock() - self._start
        done.accepted, done.failed, done.abandoned = self.accepted, self.failed, abandoned
        done.queue_full, done.longest_call = self.queue_full, self.longest_call
        done.errors, done.throttles = dict(self._errors), self._throttles
        done.delays = {section: _quantiles(h) for section, h in self._histograms.items()}
        done.delays_intended = {section: _quantiles(h) for section, h in self._intended.items()}
        return done


def _rank(ordered: list[float], share: float) -> float | None:
    if not ordered:
        return None
    return float(f"{ordered[min(len(ordered) - 1, int(share * len(ordered)))]:.4g}")


def _quantiles(histogram: HdrHistogram) -> dict[str, float]:
    count = histogram.get_total_count()
    if not count:
        return {"count": 0}
    values = {"p50": 50.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
    return {
        "count": count,
        **{name: histogram.get_value_at_percentile(percent) / 1e6 for name, percent in values.items()},
    }
