"""What the demo offers, and what its two sides report."""

from __future__ import annotations

from typing import Any

from attrs import asdict, frozen

__all__ = ["SIDES", "TICK", "Plan", "Result", "Sample", "quantile"]

SIDES = ("bare", "kafka_throttle")
TICK = 0.25
"""Seconds from one sample of a side to the next."""


@frozen(kw_only=True)
class Plan:
    """What is offered to each side.

    Attributes:
        seconds: For how long.
        capacity: What Kafka takes from each side, in bytes per second.
        record_bytes: Size of each record's value.
        overload: What is offered, in multiples of the capacity.
        crowd: Tasks that send one record each before that, all at once; 0 for none.
    """

    seconds: float = 60.0
    capacity: float = 1_000_000.0
    record_bytes: int = 1000
    overload: float = 2.0
    crowd: int = 0

    @property
    def rate(self) -> float:
        """What is offered, in records per second."""
        return self.overload * self.capacity / self.record_bytes


@frozen(kw_only=True)
class Sample:
    """One side at one moment.

    Attributes:
        at: Seconds since the start.
        produced: Records that produce() has taken.
        delivered: Records reported as written.
        queue: Records in the client.
        p50: Delay from the call of produce() to the report of half of the records reported within the last second; the
            age of the oldest record in the client when none was; None when there is nothing to tell. In seconds.
        p99: The same for 99 of 100.
        longest_call: The longest that it took to hand a record over so far, in seconds.
        refusals: BufferErrors raised by produce() so far; with asyncio, requests that found no room in time.
        limit: Records that may be in the client; None when nothing limits them.
        state: What the producer says it does; empty for the bare client, which says nothing.
        rate: Records reported as written within the last second: with asyncio only.
        stall: The longest that the event loop stood still so far, in seconds; the same.
    """

    at: float
    produced: int
    delivered: int
    queue: int
    p50: float | None
    p99: float | None
    longest_call: float
    refusals: int
    limit: int | None
    state: str
    rate: float = 0.0
    stall: float = 0.0


@frozen(kw_only=True)
class Result:
    """What became of one side's records.

    Attributes:
        seconds: How long records were offered.
        produced: Records that produce() took in that time.
        delivered: Records written in that time.
        goodput: Bytes of values written per second of that time.
        delay_p50: Delay from the call of produce() to the report: half of all reported records had less. In seconds.
        delay_p99: 99 of 100 had less.
        delay_max: The longest.
        largest_queue: The most records that were in the client.
        queue_at_end: Records in the client when the time was up, before they were given time to leave.
        failed: Records reported as failed.
        undelivered: Records never reported, although the client was given time.
        refusals: BufferErrors raised by produce(); with asyncio, requests that found no room in time.
        longest_call: The longest that it took to hand a record over, in seconds.
        late_goodput: The goodput of the second half: with asyncio only.
        stall: The longest that the event loop stood still, in seconds; the same.
        crowd_seconds: What the crowd took, in seconds; None: there was none, or it took too long.
    """

    seconds: float
    produced: int
    delivered: int
    goodput: float
    delay_p50: float
    delay_p99: float
    delay_max: float
    largest_queue: int
    queue_at_end: int
    failed: int
    undelivered: int
    refusals: int
    longest_call: float
    late_goodput: float = 0.0
    stall: float = 0.0
    crowd_seconds: float | None = None

    @property
    def lost(self) -> int:
        """Records that were taken and did not arrive."""
        return self.failed + self.undelivered

    def figures(self) -> dict[str, Any]:
        """Return everything as a mapping."""
        return {**asdict(self), "lost": self.lost}


def quantile(ordered: list[float], share: float) -> float:
    """Return the value that a share of the ordered values does not exceed; 0 for none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
