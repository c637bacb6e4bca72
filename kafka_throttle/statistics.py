"""`Statistics`: what a producer has done, what it does now, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen

from kafka_throttle._core.ledger import Ledger, Loss

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kafka_throttle._core.engine import Engine
    from kafka_throttle._core.window import Reading

__all__ = ["Loss", "Statistics"]

_PLACES = (
    "rejected",
    "held",
    "spooled",
    "in_flight",
    "delivered",
    "failed",
    "unknown",
    "shed",
    "dead_lettered",
)


@frozen(kw_only=True)
class Statistics:
    """A snapshot of one producer. Counts are since the start; rates and averages are of the last window.

    The ledger: ``offered = rejected + held + spooled + in_flight + delivered + failed + unknown + shed +
    dead_lettered``, and the same in bytes: every record is in one place, at every moment without a call going on.

    Attributes:
        client_id: The client's client.id.
        state: ``"open"``, ``"throttling"`` (the edge was reached within the last second), ``"draining"`` or ``"closed"``.
        gate: ``"compiled"`` or ``"pure"``.
        offered: Records given to produce(), and those that an earlier process had left on disk.
        offered_bytes: Bytes of their values and keys.
        rejected: Records that produce() refused with an exception, the facade's or the client's.
        rejected_bytes: Their bytes; what the client itself refused is not weighed.
        held: Records that are held in memory, for the client or for the dead letters.
        held_bytes: Their bytes.
        spooled: Records that are on disk, or about to be, and not in the client.
        spooled_bytes: Their bytes; those of an earlier process are weighed with their headers.
        in_flight: Records that the client has and has not reported.
        in_flight_bytes: Their bytes.
        delivered: Records reported as written.
        delivered_bytes: Their bytes.
        failed: Records reported as failed and certainly not written.
        failed_bytes: Their bytes.
        unknown: Records reported as failed that may have been written: timed out after they were sent.
        unknown_bytes: Their bytes.
        shed: Records that were given up as their rule allows, and those that damage on disk made unreadable.
        shed_bytes: Their bytes.
        dead_lettered: Records written to the dead letters.
        dead_lettered_bytes: Their bytes.
        losses: What was given up, by topic and reason: each with policy, count, bytes, first, last and approval.
        loss_approvals: Who approved that records may be lost, by the globs of the rule.
        oldest_held: Age of the oldest record held in memory, in seconds; 0 when there is none.
        oldest_spooled: Age of the oldest record on disk, in seconds; 0 when there is none.
        spool_disk_bytes: Bytes of the spools' files.
        spool_max_bytes: Bytes that they may have; None when one of them has no limit.
        errors: Failed and unknown records by the name of their error.
        waiting: Callers that wait for room now: threads in produce(), or tasks.
        limit_records: Records that may be in flight.
        limit_bytes: Bytes that may be in flight.
        saturation: 0 (idle) to 1 (the edge is reached all the time), over about a second: the number to alert on.
        signals: Names of the signals that are raised.
        standing_delay: Median delay of the records of the last window, in seconds.
        base_delay: Delay of a record that meets no queue, in seconds.
        deferred_callbacks: Callbacks that wait for the application's poll().
        hook_errors: Exceptions that hooks raised.
        broker_quota: A broker's quota as learnt from its throttle times, in bytes of keys and values per second, by
            which admission is paced; None when none is known.
        buffer_total_bytes: Size of the client's buffer (Java: buffer-total-bytes).
        buffer_available_bytes: What is free of it (Java: buffer-available-bytes).
        request_rate: Produce requests sent per second (Java: request-rate).
        response_rate: Responses received per second (Java: response-rate).
        record_send_rate: Records reported per second (Java: record-send-rate).
        record_error_rate: Failed reports per second (Java: record-error-rate).
        record_queue_time_avg: Seconds that a record waited in the client before it was sent (Java:
            record-queue-time-avg): mean delay less mean request latency.
        request_latency_avg: Seconds from request to response (Java: request-latency-avg).
        requests_in_flight: Produce requests without a response (Java: requests-in-flight).
        produce_throttle_time_avg: Seconds for which a broker held the client back, the longest of the last window
            (Java: produce-throttle-time-avg).
    """

    client_id: str
    state: str
    gate: str
    offered: int = 0
    offered_bytes: int = 0
    rejected: int = 0
    rejected_bytes: int = 0
    held: int = 0
    held_bytes: int = 0
    spooled: int = 0
    spooled_bytes: int = 0
    in_flight: int = 0
    in_flight_bytes: int = 0
    delivered: int = 0
    delivered_bytes: int = 0
    failed: int = 0
    failed_bytes: int = 0
    unknown: int = 0
    unknown_bytes: int = 0
    shed: int = 0
    shed_bytes: int = 0
    dead_lettered: int = 0
    dead_lettered_bytes: int = 0
    losses: Mapping[tuple[str, str], Loss] = field(factory=dict)
    loss_approvals: Mapping[str, str] = field(factory=dict)
    oldest_held: float = 0.0
    oldest_spooled: float = 0.0
    spool_disk_bytes: int = 0
    spool_max_bytes: int | None = None
    errors: dict[str, int] = field(factory=dict)
    waiting: int = 0
    limit_records: int = 0
    limit_bytes: int = 0
    saturation: float = 0.0
    signals: tuple[str, ...] = ()
    standing_delay: float = 0.0
    base_delay: float = 0.0
    deferred_callbacks: int = 0
    hook_errors: int = 0
    broker_quota: float | None = None
    buffer_total_bytes: int = 0
    buffer_available_bytes: int = 0
    request_rate: float = 0.0
    response_rate: float = 0.0
    record_send_rate: float = 0.0
    record_error_rate: float = 0.0
    record_queue_time_avg: float = 0.0
    request_latency_avg: float = 0.0
    requests_in_flight: int = 0
    produce_throttle_time_avg: float = 0.0

    def places(self, unit: Literal["records", "bytes"] = "records") -> dict[str, int]:
        """Return how many records, or bytes, are in each place of the ledger; their sum is `offered`."""
        suffix = "" if unit == "records" else "_bytes"
        return {place: getattr(self, place + suffix) for place in _PLACES}


def snapshot_of(
    engine: Engine,
    reading: Reading,
    ledger: Ledger,
    *,
    rejected: tuple[int, int],
    buffer_bytes: int,
    **known: Any,
) -> Statistics:
    """Return the statistics of a producer.

    Args:
        engine: Its engine.
        reading: All counters, as they are now.
        ledger: What the client's counters do not know of.
        rejected: Records that were refused, and their bytes.
        buffer_bytes: Size of the client's buffer.
        **known: The fields that none of them tells.
    """
    figures: dict[str, Any] = {
        **ledger.balance(reading, *rejected),
        **path_of(engine, reading, buffer_bytes),
    }
    return Statistics(**known, losses=dict(ledger.losses), **figures)


def path_of(engine: Engine, reading: Reading, buffer_bytes: int) -> dict[str, object]:
    """Return the figures of the last window and of the path."""
    sample = engine.sample
    figures: dict[str, object] = {
        "limit_records": engine.limit_records,
        "limit_bytes": engine.limit_bytes,
        "saturation": saturation_of(engine, reading),
        "signals": tuple(r.name for r in engine.signal_readings if r.raised),
        "base_delay": engine.path.base_delay,
        "broker_quota": engine.quota,
        "buffer_total_bytes": buffer_bytes,
        "buffer_available_bytes": max(0, buffer_bytes - reading.in_flight_bytes),
        "requests_in_flight": max(0, reading.requests - reading.responses),
    }
    if sample is not None:
        figures |= {
            "standing_delay": sample.standing_delay,
            "request_rate": sample.requests / sample.duration,
            "response_rate": sample.responses / sample.duration,
            "record_send_rate": sample.rate,
            "record_error_rate": (sample.transient + sample.permanent) / sample.duration,
            "record_queue_time_avg": max(0.0, engine.path.mean_delay - engine.path.request_latency),
            "request_latency_avg": engine.path.request_latency,
            "produce_throttle_time_avg": sample.broker_throttle,
        }
    return figures


def saturation_of(engine: Engine, reading: Reading) -> float:
    """Return how much of what is allowed is used: the fuller of the limit now, and the edge reached lately."""
    limit = engine.limit_records
    fill = reading.in_flight / limit if limit else 0.0
    return min(1.0, max(fill, engine.pressure))
