"""`Tally`: what a meter that counts in Python has counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, evolve, field

from kafka_throttle._adapters.confluent import MAY_BE_WRITTEN, TRANSIENT
from kafka_throttle._core.window import BUCKETS, Delays, bucket_of

if TYPE_CHECKING:
    from kafka_throttle._core.window import Reading

__all__ = ["Tally"]


@define
class Tally:
    """Failures, delays and requests; the attributes are those of `Reading`.

    Attributes:
        errors: Records that failed, by the code of their error.
    """

    failed: int = 0
    failed_bytes: int = 0
    unknown: int = 0
    unknown_bytes: int = 0
    transient: int = 0
    requests: int = 0
    responses: int = 0
    response_time: float = 0.0
    errors: dict[int, int] = field(factory=dict)
    _delays: list[int] = field(factory=lambda: [0] * BUCKETS, init=False)
    _total: float = field(default=0.0, init=False)
    _samples: int = field(default=0, init=False)

    def count_failure(self, code: int, records: int, size: int) -> None:
        """Count records that failed, and their bytes."""
        self.errors[code] = self.errors.get(code, 0) + records
        if code in TRANSIENT:
            self.transient += records
        if code in MAY_BE_WRITTEN:
            self.unknown += records
            self.unknown_bytes += size
        else:
            self.failed += records
            self.failed_bytes += size

    def count_delay(self, seconds: float, records: int = 1) -> None:
        """Count how long records took."""
        self._delays[bucket_of(int(seconds * 1e6))] += records
        self._total += seconds * records
        self._samples += records

    def reading(self, brief: Reading, least_round_trip: float = 0.0) -> Reading:
        """Return all counters, given those that every visit to the slow path needs."""
        return evolve(
            brief,
            failed=self.failed,
            failed_bytes=self.failed_bytes,
            unknown=self.unknown,
            unknown_bytes=self.unknown_bytes,
            transient=self.transient,
            requests=self.requests,
            responses=self.responses,
            response_time=self.response_time,
            least_round_trip=least_round_trip,
            delays=Delays(tuple(self._delays), self._total, self._samples),
        )
