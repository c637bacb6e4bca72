"""Numbers and what they mean, in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kafka_throttle.cli.demo.figures import Plan, Sample

__all__ = ["delay", "goodput", "happening", "offered", "rate", "rows", "stands", "state"]

# From here on a queue is one: what a healthy client holds between two polls stays below.
_STANDING_QUEUE = 0.5  # seconds of the capacity


def delay(seconds: float | None) -> str:
    """Return a delay with two or three digits."""
    if seconds is None:
        return "-"
    if seconds < 0.0995:
        return f"{seconds * 1000:.2g} ms" if seconds < 0.001 else f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 9.95 else f"{seconds:.1f} s"


def rate(bytes_per_second: float) -> str:
    """Return a rate in MB/s."""
    return f"{bytes_per_second / 1e6:.2f} MB/s"


def goodput(samples: Sequence[Sample], plan: Plan, span: float = 5.0) -> float:
    """Return the bytes per second delivered within the last seconds; a broker may mute a client for one of them."""
    if not samples:
        return 0.0
    last = samples[-1]
    first = next((s for s in samples if s.at >= last.at - span), last)
    if first is last:
        return 0.0
    return (last.delivered - first.delivered) * plan.record_bytes / (last.at - first.at)


def offered(plan: Plan) -> str:
    """Return what is offered to each side."""
    return f"{plan.overload * plan.capacity / 1e6:g} MB/s is offered to each side."


def state(side: str, samples: Sequence[Sample], plan: Plan) -> str:
    """Return what a side does now, in a word or two; the bare client does not say, so it is read off its queue."""
    if not samples:
        return "starting"
    last = samples[-1]
    if side != "bare":
        return last.state
    if last.refusals and any(s.refusals < last.refusals for s in samples[-8:]):
        return "full: BufferError"
    return "piling up" if stands(last, plan) else "keeping up"


def happening(bare: Sequence[Sample], throttled: Sequence[Sample], plan: Plan) -> str:
    """Return what is going on at the moment, in a sentence or two."""
    if not bare or not throttled:
        return "Both sides connect."
    b, t = bare[-1], throttled[-1]
    if not stands(b, plan):
        if t.state == "throttling":
            return "The limit begins to be felt: kafka_throttle makes the application wait, the bare client starts to fill."
        return "So far Kafka takes everything (a quota lets a burst pass before it bites): no difference yet."
    arrives = b.queue * plan.record_bytes / max(goodput(bare, plan, 20.0), plan.capacity / 10)
    left = (
        f"The bare client takes whatever it is given: {b.queue:,} records wait in its memory, and one produced now "
        f"arrives in about {arrives:.0f} s."
    )
    if b.refusals:
        left = f"The bare client's buffer is full: produce() has raised BufferError {b.refusals:,} times."
    return f"{left} kafka_throttle lets {t.queue:,} in and makes the application wait instead."


def rows(samples: dict[str, list[Sample]], side: str, plan: Plan) -> list[tuple[str, str]]:
    """Return names and values of a side's figures now."""
    seen = samples[side]
    if not seen:
        return [("state", "starting")]
    last = seen[-1]
    return [
        ("delay p50", delay(last.p50)),
        ("delay p99", delay(last.p99)),
        ("in the client", f"{last.queue:,} records"),
        ("goodput", rate(goodput(seen, plan))),
        ("longest call", delay(last.longest_call)),
        ("limit", "none" if last.limit is None else f"{last.limit:,} records"),
        ("state", state(side, seen, plan)),
    ]


def stands(sample: Sample, plan: Plan) -> bool:
    """Return whether a queue stands."""
    return sample.queue * plan.record_bytes > _STANDING_QUEUE * plan.capacity
