"""The words of refusals: what is full, since when, why, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafka_throttle._units import format_bytes
from kafka_throttle.policies import Block

if TYPE_CHECKING:
    from kafka_throttle.policies import Policy
    from kafka_throttle.statistics import Statistics

__all__ = ["draining", "how_it_stands", "too_large", "unpolled"]


def how_it_stands(
    now: Statistics, topic: str, waited: float, policy: Policy | None
) -> tuple[str, float | None]:
    """Return the words for a record that found no room, and when another try is sensible, in seconds.

    Args:
        now: The producer's statistics.
        topic: The record's topic.
        waited: Seconds that the call waited.
        policy: The policy that gave up; None when the producer takes nothing any more.
    """
    rate = now.record_send_rate
    drain = now.in_flight / rate if rate > 0 else None
    cause = f"raised: {', '.join(now.signals)}" if now.signals else "no signal is raised"
    if now.broker_quota is not None:
        cause += f", a broker's quota of about {format_bytes(now.broker_quota)}/s is honoured"
    speed = (
        f"Kafka acknowledges {rate:,.0f} records/s" if rate else "Kafka acknowledges nothing at the moment"
    )
    tried = f"waited {waited:.3g} s for room" if isinstance(policy, Block) and waited else "there is no room"
    text = (
        f"not accepted: topic {topic!r}, {tried}; {now.in_flight:,} records ({format_bytes(now.in_flight_bytes)}) are "
        f"in flight and the limit is {now.limit_records:,} ({format_bytes(now.limit_bytes)}); state {now.state}, "
        f"{cause}; {speed}. The record was not kept: offer it again later, wait longer (Block(timeout=...)), or offer less"
    )
    return text, None if drain is None else max(0.05, 0.5 * drain)


def draining(topic: str) -> str:
    """Return the words for a producer that takes nothing any more."""
    return (
        f"not accepted: topic {topic!r}, the producer is draining: drain() or close() was called, after which it takes no "
        "new records; create another producer"
    )


def too_large(topic: str, size: int, buffer_bytes: int) -> str:
    """Return the words for a value that is larger than the client's whole buffer."""
    return (
        f"not accepted: topic {topic!r}, the value of {size:,} bytes can never fit into the client's buffer of "
        f"{buffer_bytes:,} bytes (queue.buffering.max.kbytes): raise that setting, or send less at once"
    )


def unpolled(topic: str, callbacks: int) -> str:
    """Return the words for a producer whose callbacks nobody runs."""
    return (
        f"not accepted: topic {topic!r}, {callbacks:,} callbacks (delivery reports, statistics, errors) wait for the "
        "application: call poll() or flush() regularly, as the client needs it too"
    )
