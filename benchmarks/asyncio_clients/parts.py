"""All parts: what they show, what must be reached, and on which Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from benchmarks.asyncio_clients.clients import KINDS
from benchmarks.asyncio_clients.crowds import measure_crowd, measure_rush, measure_waiters
from benchmarks.asyncio_clients.pressure import QUOTA, measure_quota, measure_stalls
from benchmarks.asyncio_clients.speed import LINGER, measure_batches, measure_producer, measure_sends
from benchmarks.catalogue import SHORT_LOG
from benchmarks.scenario import Bar, Cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.asyncio_clients.stage import Stage
    from benchmarks.collected import Collected

__all__ = ["PARTS", "Part"]


@frozen
class Part:
    """One benchmark.

    Attributes:
        title: What it shows, for people.
        measure: Does one round of it.
        bars: What figures must reach, by name.
        rounds: How often it is repeated.
        cluster: The Kafka.
    """

    title: str
    measure: Callable[[Collected, Stage], None]
    bars: Mapping[str, Bar]
    rounds: int
    cluster: Cluster = field(factory=Cluster)


def _higher(must: float, aim: float) -> Bar:
    return Bar(must, aim, "higher")


def _lower(must: float, aim: float) -> Bar:
    return Bar(must, aim, "lower")


_NONE = _lower(0, 0)


def _of_each_client(bars: Mapping[str, Bar]) -> dict[str, Bar]:
    return {f"{client}{name}": bar for client in KINDS for name, bar in bars.items()}


PARTS: dict[str, Part] = {
    "aio-send": Part(
        "AIOKafkaProducer: a loop of send(), 100 B records",
        measure_sends,
        {"records/s against bare": _higher(0.90, 0.97)},
        rounds=5,
        cluster=SHORT_LOG,
    ),
    "aio-batch": Part(
        "AIOKafkaProducer: create_batch() and send_batch(), 100 B records",
        measure_batches,
        {"records/s against bare": _higher(0.97, 1.0)},
        rounds=5,
        cluster=SHORT_LOG,
    ),
    "aio-tasks": Part(
        "AIOKafkaProducer: 20 000 tasks that send one record of 100 B each, at once",
        measure_crowd,
        {
            "records/s against bare": _higher(15, 25),
            "p99 delay against bare": _lower(1 / 10, 1 / 30),
            "records failed": _NONE,
        },
        rounds=5,
    ),
    "aio-producer": Part(
        "AIOProducer: a loop of produce(), and one record at a time, 100 B records",
        measure_producer,
        {
            "records/s against bare": _higher(1.5, 2.5),
            "median delay of a single record": _lower(0.020, LINGER + 0.002),
        },
        rounds=5,
    ),
    "aio-burst": Part(
        "AIOProducer: a burst of 50 000 records at a queue of 500",
        measure_rush,
        {"failures": _NONE, "records lost": _NONE},
        rounds=5,
    ),
    "aio-quota": Part(
        "Both clients: a broker quota of 1 MB/s, 2 MB/s offered by a task for each record",
        measure_quota,
        _of_each_client(
            {
                ": delivered / quota": _higher(0.97, 1.0),
                ": p99 delay, second half": _lower(0.2, 0.05),
                ": records failed": _NONE,
                ": records lost": _NONE,
            }
        ),
        rounds=3,
        cluster=Cluster(quota=QUOTA),
    ),
    "aio-spill-stall": Part(
        "Both clients: stalls of the event loop while 50 000 records/s of 100 B spill, and while they are replayed",
        measure_stalls,
        _of_each_client(
            {
                # On a shared machine even an idle loop is kept from its core for longer than that.
                ", spilling: longest stall, the scheduler's waits apart": _lower(0.010, 0.002),
                ", replaying: longest stall, the scheduler's waits apart": _lower(0.010, 0.002),
                ": records/s while spilling": _higher(49_000, 49_500),
                ": records lost": _NONE,
            }
        ),
        rounds=5,
    ),
    "aio-memory": Part(
        "Both clients: memory of 100 000 tasks that wait for admission, each with the same value",
        measure_waiters,
        _of_each_client({": waiting task": _lower(3, 1.5)}),
        rounds=3,
    ),
}
"""By name, in the order of the table."""
