"""One window of observation: what the counters said at its end, less what they said at its start.

`Reading` holds counters that only grow, so a sample is a difference and nothing is lost between two samples,
whoever reads in between. Delays are counted in buckets of an eighth of an octave (6 % wide on either side): their
difference gives quantiles of the window without keeping a single delay.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BUCKETS", "Delays", "Reading", "WindowSample", "bucket_of", "delay_of"]

BUCKETS = 224
_EXACT = 8


def bucket_of(microseconds: int) -> int:
    """Return the bucket of a delay: 0 to 7 exactly, then eight to each power of two, the last for all above."""
    if microseconds < _EXACT:
        return max(0, microseconds)
    octave = microseconds.bit_length() - 1
    return min(BUCKETS - 1, 8 * (octave - 2) + ((microseconds >> (octave - 3)) & 7))


def delay_of(bucket: int) -> float:
    """Return the delay in the middle of a bucket, in seconds."""
    if bucket < _EXACT:
        return bucket * 1e-6
    octave, eighth = divmod(bucket, 8)
    return (8 + eighth + 0.5) * 2.0 ** (octave - 1) * 1e-6


@frozen
class Delays:
    """How long records took from produce() to their report, counted in buckets.

    Attributes:
        counts: Records in each of the `BUCKETS` buckets.
        total: Sum of the delays, in seconds.
        samples: Records whose delay was measured.
    """

    counts: Sequence[int] = (0,) * BUCKETS
    total: float = 0.0
    samples: int = 0
    _cumulative: list[int] = field(factory=list, init=False, eq=False, repr=False)

    def since(self, earlier: Delays) -> Delays:
        """Return what was added after `earlier`."""
        if self.samples == earlier.samples:
            return _NO_DELAYS
        counts = tuple(map(int.__sub__, self.counts, earlier.counts))
        return Delays(counts, self.total - earlier.total, self.samples - earlier.samples)

    def quantile(self, share: float) -> float | None:
        """Return the delay, in seconds, that `share` (0 to 1) of the records stayed within; None without records."""
        if self.samples <= 0:
            return None
        cumulative = self._cumulative
        if not cumulative:
            cumulative.extend(accumulate(self.counts))
        bucket = bisect_left(cumulative, max(1, share * cumulative[-1]))
        return delay_of(bucket) if bucket < len(cumulative) else None

    @property
    def mean(self) -> float | None:
        """Mean delay in seconds; None without records."""
        return self.total / self.samples if self.samples > 0 else None


_NO_DELAYS = Delays()


@frozen
class Reading:
    """What the counters of a client say at one moment. Every figure but one only grows.

    Attributes:
        admitted: Records handed to the client.
        admitted_bytes: Bytes of their values and keys.
        acked: Records reported by the client, delivered or not.
        acked_bytes: Their bytes.
        failed: Records reported as failed that were certainly not written.
        failed_bytes: Their bytes.
        unknown: Records reported as failed that may have been written.
        unknown_bytes: Their bytes.
        transient: Failed or unknown records whose error speaks of congestion or outage.
        requests: Produce requests sent.
        responses: Responses to them.
        response_time: Sum of the times from request to response, in seconds.
        least_round_trip: The shortest time of this window from any request, not only produce, to its response, in
            seconds; 0 when there was none or it is not known.
        delays: From produce() to the report.
        client_full: BufferErrors that the client raised.
    """

    admitted: int = 0
    admitted_bytes: int = 0
    acked: int = 0
    acked_bytes: int = 0
    failed: int = 0
    failed_bytes: int = 0
    unknown: int = 0
    unknown_bytes: int = 0
    transient: int = 0
    requests: int = 0
    responses: int = 0
    response_time: float = 0.0
    least_round_trip: float = 0.0
    delays: Delays = field(factory=Delays)
    client_full: int = 0

    @property
    def in_flight(self) -> int:
        """Records that the client has and has not reported."""
        return self.admitted - self.acked

    @property
    def in_flight_bytes(self) -> int:
        """Bytes of the records in flight."""
        return self.admitted_bytes - self.acked_bytes


@frozen
class WindowSample:
    """What happened in one window.

    Attributes:
        end: When it ended, in seconds of the shell's monotonic clock.
        duration: Its length in seconds.
        acked: Records reported.
        acked_bytes: Their bytes.
        transient: Failures among them that speak of congestion or outage.
        permanent: Failures among them that do not: too large, not authorised.
        requests: Produce requests sent.
        responses: Responses received.
        request_latency: Mean time from request to response in seconds; None without responses.
        delays: Delays of the records reported.
        in_flight: Records in the client at the end.
        in_flight_bytes: Their bytes.
        oldest: Age of the oldest record in flight, in seconds, or a lower bound of it; 0 when there is none.
        edge_reached: Whether somebody found the gate closed.
        client_full: BufferErrors that the client raised.
        broker_throttle: Longest throttle time that a broker announced, in seconds.
        buffer_fill: Share of the client's own buffer in use, 0 to 1.
    """

    end: float
    duration: float
    acked: int = 0
    acked_bytes: int = 0
    transient: int = 0
    permanent: int = 0
    requests: int = 0
    responses: int = 0
    request_latency: float | None = None
    delays: Delays = field(factory=Delays)
    in_flight: int = 0
    in_flight_bytes: int = 0
    oldest: float = 0.0
    edge_reached: bool = False
    client_full: int = 0
    broker_throttle: float = 0.0
    buffer_fill: float = 0.0

    @classmethod
    def between(
        cls,
        earlier: Reading,
        later: Reading,
        *,
        end: float,
        duration: float,
        oldest: float = 0.0,
        edge_reached: bool = False,
        broker_throttle: float = 0.0,
        buffer_fill: float = 0.0,
    ) -> WindowSample:
        """Return the sample of the time between two readings, with what the counters do not tell."""
        responses = later.responses - earlier.responses
        transient = later.transient - earlier.transient
        failures = later.failed + later.unknown - earlier.failed - earlier.unknown
        return cls(
            end=end,
            duration=duration,
            acked=later.acked - earlier.acked,
            acked_bytes=later.acked_bytes - earlier.acked_bytes,
            transient=transient,
            permanent=max(0, failures - transient),
            requests=later.requests - earlier.requests,
            responses=responses,
            request_latency=(later.response_time - earlier.response_time) / responses
            if responses > 0
            else None,
            delays=later.delays.since(earlier.delays),
            in_flight=later.in_flight,
            in_flight_bytes=later.in_flight_bytes,
            client_full=later.client_full - earlier.client_full,
            oldest=oldest,
            edge_reached=edge_reached,
            broker_throttle=broker_throttle,
            buffer_fill=buffer_fill,
        )

    @property
    def rate(self) -> float:
        """Records reported per second."""
        return self.acked / self.duration if self.duration > 0 else 0.0

    @property
    def stalled(self) -> bool:
        """Whether records were in flight and none was reported."""
        return self.acked == 0 and self.in_flight > 0

    @property
    def standing_delay(self) -> float:
        """The median delay, in seconds, or the age of the oldest in flight.

        A queue that only some records meet is a burst; one that most of them meet stands (CoDel, RFC 8289). A low
        percentile would miss it: the client fills one partition after the other, and the first records of a batch
        find it empty. Without a report there is no delay to see, and the age of what waits is the only witness.
        """
        median = self.delays.quantile(0.5)
        return self.oldest if median is None else median
