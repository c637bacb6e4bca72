"""The metrics that exporters show, each defined once: name, unit, labels, words, and where its value comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

from attrs import field, frozen

if TYPE_CHECKING:
    from kafka_throttle.statistics import Statistics

__all__ = ["METRICS", "Metric", "Observation"]

_OUTCOMES = ("dead_lettered", "delivered", "failed", "rejected", "shed", "unknown")
_STATES = ("open", "throttling", "draining", "closed")


@frozen
class Observation:
    """One producer at one moment.

    Attributes:
        statistics: Its statistics.
        signals: Names of all signals it watches, raised or not.
    """

    statistics: Statistics
    signals: tuple[str, ...] = ()


Reader = Callable[[Observation], Iterable[tuple[tuple[str, ...], float]]]


@frozen
class Metric:
    """One metric.

    Attributes:
        name: Its full name, with ``_total`` for a counter.
        type: ``"counter"``, which only grows, or ``"gauge"``.
        unit: What it counts.
        labels: Names of its labels; the first is client_id.
        help: What it says, in one sentence.
        merge: What becomes of several producers with one client.id: their values are added, or the largest counts.
        read: Returns pairs of the values of the labels after client_id, and the metric's value.
    """

    name: str
    type: Literal["counter", "gauge"]
    unit: str
    labels: tuple[str, ...]
    help: str
    merge: Literal["sum", "max"]
    read: Reader = field(repr=False)


def _of(attribute: str) -> Reader:
    value = attrgetter(f"statistics.{attribute}")
    return lambda seen: (((), value(seen)),)


def _counter(name: str, unit: str, attribute: str, text: str) -> Metric:
    return Metric(
        f"kafka_throttle_{name}_total", "counter", unit, ("client_id",), text, "sum", _of(attribute)
    )


def _gauge(
    name: str, unit: str, text: str, attribute: str = "", merge: Literal["sum", "max"] = "sum"
) -> Metric:
    return Metric(
        f"kafka_throttle_{name}", "gauge", unit, ("client_id",), text, merge, _of(attribute or name)
    )


def _by_outcome(unit: str, suffix: str, text: str) -> Metric:
    values = attrgetter(*(f"statistics.{outcome}{suffix}" for outcome in _OUTCOMES))
    keys = [(outcome,) for outcome in _OUTCOMES]
    return Metric(
        f"kafka_throttle_{unit}_total",
        "counter",
        unit,
        ("client_id", "outcome"),
        text,
        "sum",
        lambda seen: zip(keys, values(seen), strict=True),
    )


def _errors(seen: Observation) -> Iterable[tuple[tuple[str, ...], float]]:
    return [((name,), count) for name, count in seen.statistics.errors.items()]


def _losses(seen: Observation) -> Iterable[tuple[tuple[str, ...], float]]:
    counts: dict[tuple[str, ...], float] = {}
    for loss in seen.statistics.losses.values():
        key = loss.policy, loss.reason
        counts[key] = counts.get(key, 0) + loss.count
    return counts.items()


def _spool_bound(seen: Observation) -> Iterable[tuple[tuple[str, ...], float]]:
    bound = seen.statistics.spool_max_bytes
    return [((), bound)] if bound else []


def _signals(seen: Observation) -> Iterable[tuple[tuple[str, ...], float]]:
    raised = seen.statistics.signals
    return [((name,), float(name in raised)) for name in seen.signals]


def _states(seen: Observation) -> Iterable[tuple[tuple[str, ...], float]]:
    return [((state,), float(state == seen.statistics.state)) for state in _STATES]


METRICS: tuple[Metric, ...] = (
    _counter(
        "offered_records",
        "records",
        "offered",
        "Records given to produce(), and those that an earlier process had left on disk.",
    ),
    _counter("offered_bytes", "bytes", "offered_bytes", "Bytes of values and keys given to produce()."),
    _by_outcome(
        "records",
        "",
        "Records by outcome: delivered, failed (certainly not written), rejected (refused by produce()), unknown (timed "
        "out after they were sent), shed (given up as a rule allows), dead_lettered.",
    ),
    _by_outcome("bytes", "_bytes", "Bytes of values and keys of the records by outcome."),
    Metric(
        "kafka_throttle_errors_total",
        "counter",
        "records",
        ("client_id", "reason"),
        "Failed and unknown records by the name of their error.",
        "sum",
        _errors,
    ),
    Metric(
        "kafka_throttle_lost_records_total",
        "counter",
        "records",
        ("client_id", "policy", "reason"),
        "Records that were given up, by the policy that did it and its reason.",
        "sum",
        _losses,
    ),
    _counter("hook_errors", "exceptions", "hook_errors", "Exceptions that hooks raised."),
    Metric(
        "kafka_throttle_producers",
        "gauge",
        "producers",
        ("client_id", "state"),
        "Producers by what they do now: open, throttling, draining, closed.",
        "sum",
        _states,
    ),
    Metric(
        "kafka_throttle_signal_raised",
        "gauge",
        "producers",
        ("client_id", "signal"),
        "Producers for which the signal is raised, 0 or 1 for a single one.",
        "sum",
        _signals,
    ),
    _gauge(
        "saturation_ratio",
        "ratio",
        "0 (idle) to 1 (the limit is reached all the time): the number to alert on.",
        "saturation",
        "max",
    ),
    _gauge("limit_records", "records", "Records that may be in flight."),
    _gauge("limit_bytes", "bytes", "Bytes that may be in flight."),
    _gauge("in_flight_records", "records", "Records that the client has and has not reported.", "in_flight"),
    _gauge("in_flight_bytes", "bytes", "Bytes of values and keys in flight."),
    _gauge("held_records", "records", "Records held in memory.", "held"),
    _gauge("held_bytes", "bytes", "Bytes of values and keys held in memory."),
    _gauge("oldest_held_seconds", "seconds", "Age of the oldest record in memory.", "oldest_held", "max"),
    _gauge("spooled_records", "records", "Records on disk and not in the client.", "spooled"),
    _gauge("spooled_bytes", "bytes", "Bytes of values and keys on disk and not in the client."),
    _gauge("oldest_spooled_seconds", "seconds", "Age of the oldest record on disk.", "oldest_spooled", "max"),
    _gauge("spool_disk_bytes", "bytes", "Bytes of the spools' files."),
    Metric(
        "kafka_throttle_spool_max_bytes",
        "gauge",
        "bytes",
        ("client_id",),
        "Bytes that the spools' files may have; absent when one has no limit.",
        "sum",
        _spool_bound,
    ),
    _gauge("waiting_threads", "threads", "Threads that wait in produce() now.", "waiting"),
    _gauge("deferred_callbacks", "callbacks", "Callbacks that wait for the application's poll()."),
    _gauge(
        "standing_delay_seconds",
        "seconds",
        "Median delay of the records of the last window.",
        "standing_delay",
        "max",
    ),
    _gauge("base_delay_seconds", "seconds", "Delay of a record that meets no queue.", "base_delay", "max"),
    _gauge("buffer_total_bytes", "bytes", "Size of the client's buffer (Java: buffer-total-bytes)."),
    _gauge(
        "buffer_available_bytes",
        "bytes",
        "What is free of the client's buffer (Java: buffer-available-bytes).",
    ),
    _gauge("request_rate", "requests per second", "Produce requests sent (Java: request-rate)."),
    _gauge("response_rate", "responses per second", "Responses received (Java: response-rate)."),
    _gauge("record_send_rate", "records per second", "Records reported (Java: record-send-rate)."),
    _gauge("record_error_rate", "records per second", "Failed reports (Java: record-error-rate)."),
    _gauge(
        "record_queue_time_avg_seconds",
        "seconds",
        "Time that a record waited in the client before it was sent (Java: record-queue-time-avg).",
        "record_queue_time_avg",
        "max",
    ),
    _gauge(
        "request_latency_avg_seconds",
        "seconds",
        "Time from request to response (Java: request-latency-avg).",
        "request_latency_avg",
        "max",
    ),
    _gauge(
        "requests_in_flight", "requests", "Produce requests without a response (Java: requests-in-flight)."
    ),
    _gauge(
        "produce_throttle_time_avg_seconds",
        "seconds",
        "Time for which a broker held the client back (Java: produce-throttle-time-avg).",
        "produce_throttle_time_avg",
        "max",
    ),
)
