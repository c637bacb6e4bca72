"""The end of the demo: a table and a closing word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafka_throttle.cli.demo.words import delay, rate

if TYPE_CHECKING:
    from kafka_throttle.cli.demo.figures import Result

__all__ = ["closing", "table"]

# A shorter delay is what a healthy Kafka has on a bad day.
_OVERLOADED = 1.0  # seconds
# Below this factor the two are taken for equal: what differs is chance.
_CLEARLY = 1.5


def table(bare: Result, throttled: Result) -> list[tuple[str, str, str]]:
    """Return the rows: what it is, for the bare client, for kafka_throttle."""
    both = (bare, throttled)

    def row(name: str, *values: str) -> tuple[str, str, str]:
        return name, values[0], values[1]

    shown = [
        row("Records delivered while it ran", *(f"{r.delivered:,}" for r in both)),
        row("Goodput", *(rate(r.goodput) for r in both)),
        row("Delay, half of the records (p50)", *(delay(r.delay_p50) for r in both)),
        row("Delay, 99 of 100 records (p99)", *(delay(r.delay_p99) for r in both)),
        row("Delay, slowest record", *(delay(r.delay_max) for r in both)),
        row("Most records in the client", *(f"{r.largest_queue:,}" for r in both)),
        row("Records in it when time was up", *(f"{r.queue_at_end:,}" for r in both)),
        row("Longest produce() call", *(delay(r.longest_call) for r in both)),
        row("Records lost", *(f"{r.lost:,}" for r in both)),
    ]
    if bare.refusals or throttled.refusals:
        shown.append(row("BufferErrors raised by produce()", *(f"{r.refusals:,}" for r in both)))
    return shown


def closing(bare: Result, throttled: Result) -> str:
    """Return what it comes to, in a few sentences."""
    if bare.delay_max < _OVERLOADED:
        return (
            "Kafka kept up with both, or the run was too short for a queue to form: there was nothing to hold back, and "
            "kafka_throttle stayed out of the way."
        )
    if bare.delay_p99 < _CLEARLY * throttled.delay_p99:
        return "The run was too short to tell the two apart: the queue of the bare client grows with time, so try a longer one."
    ratio = throttled.goodput / bare.goodput if bare.goodput else 0.0
    goodput = "as much" if 0.95 <= ratio <= 1.05 else f"{ratio:.0%} as much"
    return (
        f"Kafka took {goodput} from kafka_throttle as from the bare client; what differs is where the surplus waits. "
        f"The bare client kept {bare.queue_at_end:,} records in memory, where a crash loses them, and its p99 delay was "
        f"{delay(bare.delay_p99)} and growing. kafka_throttle kept {throttled.queue_at_end:,}, its p99 delay was "
        f"{delay(throttled.delay_p99)}, and produce() made the application wait, at most {delay(throttled.longest_call)} "
        "at a time: backpressure that an application can see and act on."
    )
