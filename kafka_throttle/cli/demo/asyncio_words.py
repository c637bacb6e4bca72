"""The words of the demo with asyncio: requests, each a task of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafka_throttle.cli.demo.words import delay, goodput, rate, stands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kafka_throttle.cli.demo.figures import Plan, Result, Sample

__all__ = ["closing", "happening", "offered", "rows", "state", "table"]

# A longer one is felt by everybody else on the loop.
_STALL = 0.05  # seconds


def offered(plan: Plan) -> str:
    """Return what is offered to each side."""
    return (
        f"{plan.rate:,.0f} requests a second come to each side, each a task that sends {plan.record_bytes:,} bytes and waits "
        "2 s for room at most. The two programs differ in one import."
    )


def state(side: str, samples: Sequence[Sample], plan: Plan) -> str:
    """Return what a side does now, in a word or two; aiokafka does not say, so it is read off its tasks."""
    if not samples:
        return "starting"
    last = samples[-1]
    if side != "bare":
        return last.state
    return "piling up" if stands(last, plan) else "keeping up"


def rows(samples: dict[str, list[Sample]], side: str, plan: Plan) -> list[tuple[str, str]]:
    """Return names and values of a side's figures now."""
    seen = samples[side]
    if not seen:
        return [("state", "starting")]
    last = seen[-1]
    return [
        ("delay p50", delay(last.p50)),
        ("delay p99", delay(last.p99)),
        ("under way", f"{last.queue:,} requests"),
        ("goodput", rate(goodput(seen, plan))),
        ("timed out", f"{last.refusals:,} requests"),
        ("longest stall", delay(last.stall)),
        ("limit", "none" if last.limit is None else f"{last.limit:,} records"),
        ("state", state(side, seen, plan)),
    ]


def happening(bare: Sequence[Sample], throttled: Sequence[Sample], plan: Plan) -> str:
    """Return what is going on at the moment, in a sentence or two."""
    if not bare or not throttled:
        return "Both sides connect."
    b, t = bare[-1], throttled[-1]
    if not stands(b, plan):
        return "So far Kafka takes everything (a quota lets a burst pass before it bites): no difference yet."
    return (
        f"With aiokafka each batch that leaves wakes all of {b.queue:,} tasks, of which a few find a place; the event loop "
        f"has stood still for {delay(b.stall)}. With kafka_throttle {t.queue:,} wait in line, and one is woken when it is its turn."
    )


def table(bare: Result, throttled: Result) -> list[tuple[str, str, str]]:
    """Return the rows: what it is, for aiokafka, for kafka_throttle."""
    both = (bare, throttled)

    def row(name: str, *values: str) -> tuple[str, str, str]:
        return name, values[0], values[1]

    shown = [
        row("Requests delivered while it ran", *(f"{r.delivered:,}" for r in both)),
        row("Goodput, all the time", *(rate(r.goodput) for r in both)),
        row("Goodput, second half", *(rate(r.late_goodput) for r in both)),
        row("Delay, half of them (p50)", *(delay(r.delay_p50) for r in both)),
        row("Delay, 99 of 100 of them (p99)", *(delay(r.delay_p99) for r in both)),
        row("Requests that found no room in time", *(f"{r.refusals:,}" for r in both)),
        row("Longest wait in send()", *(delay(r.longest_call) for r in both)),
        row("Most requests under way", *(f"{r.largest_queue:,}" for r in both)),
        row("Requests under way when time was up", *(f"{r.queue_at_end:,}" for r in both)),
        row("Longest stall of the event loop", *(delay(r.stall) for r in both)),
        row("Records lost", *(f"{r.lost:,}" for r in both)),
    ]
    if bare.crowd_seconds or throttled.crowd_seconds:
        crowd = (delay(r.crowd_seconds) if r.crowd_seconds else "over a minute" for r in both)
        shown.insert(0, row("The crowd at the beginning", *crowd))
    return shown


def closing(bare: Result, throttled: Result) -> str:
    """Return what it comes to, in a few sentences."""
    if bare.refusals == throttled.refusals == 0:
        return (
            "Kafka kept up with both, or the run was too short for tasks to pile up: there was nothing to hold back, and "
            "kafka_throttle stayed out of the way."
        )
    stalls = (
        f", and the loop stands still meanwhile, for up to {delay(bare.stall)}" if bare.stall > _STALL else ""
    )
    return (
        f"In the second half Kafka took {rate(bare.late_goodput)} from aiokafka and {rate(throttled.late_goodput)} from "
        f"kafka_throttle. With aiokafka the time goes into waking tasks that find no place{stalls}. With kafka_throttle "
        "tasks wait in line and cost nothing meanwhile. Who does not want them to wait gives their topic another rule: "
        "refuse, spill to disk, hold the latest."
    )
