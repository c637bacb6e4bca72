"""What came out of one run of one client, and of one round of all of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from attrs import asdict, define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.scenario import Scenario

__all__ = ["LATE", "SERIES", "Outcome", "Trial"]

SERIES = (
    "at",
    "accepted",
    "delivered",
    "failed",
    "p50",
    "p99",
    "longest",
    "late",
    "inside",
    "limit",
    "resident",
)
"""Columns of the series: the bucket's end; its records; their delays, and how many of these are above `LATE`; records
in the client, the limit and resident bytes at its end."""

LATE = 1.0
"""A delay, in seconds, that a record has only when it was caught in something."""


@define
class Outcome:
    """One run of one client.

    Attributes:
        gate: "compiled", "pure", or "none" for the bare client.
        seconds: For how long records were offered.
        drained: Seconds from the first record until the client was empty or given up.
        accepted: Records that produce() took.
        delivered: Records reported as written while records were offered.
        failed: Records reported as failed at any time.
        errors: Those by the name of their error.
        left: Records still in the client when the offering ended.
        abandoned: Records still in the client when it was given up.
        queue_full: BufferErrors that produce() raised.
        longest_call: The longest produce() call, retries included, in seconds.
        record_bytes: Size of each value.
        delays: From produce()'s return to the report, in seconds: p50, p99, max and count of each section.
        delays_intended: From the time at which a record was to be sent to its callback, in the same form.
        series: Columns of equal length, see `SERIES`; nan as None.
        turns: Nanoseconds a record of each burst, by turn.
        limits: The facade's limit in records after each turn.
        throttles: Broker throttle events: seconds, and for how long.
        written: Records that the topic has got, as the broker says.
        wire_bytes: Bytes that the limited path has carried to the broker.
        steps: When each step was done, in seconds from the first record.
    """

    gate: str = "none"
    seconds: float = 0.0
    drained: float = 0.0
    accepted: int = 0
    delivered: int = 0
    failed: int = 0
    errors: dict[str, int] = field(factory=dict)
    left: int = 0
    abandoned: int = 0
    queue_full: int = 0
    longest_call: float = 0.0
    record_bytes: int = 0
    delays: dict[str, dict[str, float]] = field(factory=dict)
    delays_intended: dict[str, dict[str, float]] = field(factory=dict)
    series: dict[str, list[float | None]] = field(factory=dict)
    turns: list[list[float]] = field(factory=list)
    limits: list[int] = field(factory=list)
    throttles: list[list[float]] = field(factory=list)
    written: int = 0
    wire_bytes: int = 0
    steps: dict[str, float] = field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    def rows(self, *columns: str) -> Sequence[tuple[float, ...]]:
        """Return the named columns of the series, row by row."""
        taken = [[math.nan if v is None else v for v in self.series[column]] for column in columns]
        return list(zip(*taken, strict=True))

    def delivered_between(self, start: float, end: float) -> float:
        """Return the records reported as written in a span of time, a bucket at its edge by its share."""
        total, previous = 0.0, 0.0
        for at, records in self.rows("at", "delivered"):
            overlap = min(at, end) - max(previous, start)
            if overlap > 0:
                total += records * overlap / (at - previous)
            previous = at
        return total


@frozen
class Trial:
    """One round: an outcome of each variant.

    Attributes:
        scenario: What was run.
        outcomes: By the name of the variant.
    """

    scenario: Scenario
    outcomes: Mapping[str, Outcome]

    @property
    def bare(self) -> Outcome:
        """The bare client's outcome."""
        return self.outcomes["bare"]

    @property
    def facade(self) -> Outcome:
        """The facade's outcome."""
        return self.outcomes["facade"]

    def ratio(self, of: Callable[[Outcome], float]) -> float:
        """Return a number of the facade's divided by the bare client's."""
        below = of(self.bare)
        return of(self.facade) / below if below else math.nan
