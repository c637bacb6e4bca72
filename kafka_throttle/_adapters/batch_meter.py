"""`BatchMeter`: counts what becomes of the records of an aiokafka producer, once for each batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka_throttle._adapters.tally import Tally
from kafka_throttle._core.window import Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import KafkaError

__all__ = ["BatchMeter", "do_nothing"]


def do_nothing() -> None:
    """Stand for somebody who is not there to be told."""


class BatchMeter:
    """Counts by batches: exact for every record, at no cost for each.

    Attributes:
        reported: Called when records were reported.
        appended_bytes: Bytes of the records that aiokafka was given.
    """

    def __init__(self) -> None:
        self.reported: Callable[[], None] = do_nothing
        self.appended_bytes = 0
        self._acked = self._acked_bytes = 0
        self._least_round_trip = 0.0
        self._tally = Tally()

    def count_done(self, records: int, size: int, delay: float) -> None:
        """Count a batch that was written, and how long its records took on the average, in seconds."""
        self._tally.count_delay(delay, records)
        self._take(records, size)

    def count_failure(self, records: int, size: int, error: KafkaError) -> None:
        """Count a batch that was not, as far as is known."""
        self._tally.count_failure(error.code(), records, size)
        self._take(records, size)

    def count_lost(self, size: int, error: KafkaError) -> None:
        """Count a record of `size` bytes that got into no batch."""
        self.appended_bytes += size
        self.count_failure(1, size, error)

    def _take(self, records: int, size: int) -> None:
        self._acked += records
        self._acked_bytes += size
        self.reported()

    def count_request(self) -> None:
        """Count a produce request."""
        self._tally.requests += 1

    def count_response(self, seconds: float) -> None:
        """Count the response to one, and how long it took."""
        self._tally.responses += 1
        self._tally.response_time += seconds
        if not self._least_round_trip or seconds < self._least_round_trip:
            self._least_round_trip = seconds

    # ---- the protocol of the admission

    def brief(self, gate: Any) -> Reading:
        """Return the counters that every visit to the slow path needs."""
        return Reading(gate.ticket, self.appended_bytes, self._acked, self._acked_bytes)

    def reading(self, gate: Any) -> Reading:
        """Return all counters."""
        return self._tally.reading(self.brief(gate), self._least_round_trip)

    def errors(self) -> dict[int, int]:
        """Return how many records failed with which error code."""
        return dict(self._tally.errors)

    def begin_window(self, records_per_second: float) -> None:
        """Forget the least round trip."""
        del records_per_second
        self._least_round_trip = 0.0
