"""What a demo tells: with which clients, and in which words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from kafka_throttle.cli.demo import asyncio_words, verdict, words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kafka_throttle.cli.demo.figures import Plan, Result, Sample

__all__ = ["ASYNCIO", "BLOCKING", "Story"]


@frozen(kw_only=True)
class Story:
    """One kind of demo.

    Attributes:
        client: The package of the bare client.
        class_name: Name of the producer's class, which both sides share.
        charted: What is charted besides the delay, in words and of a sample.
        pictured: What the picture shows, in words and of a sample: the lower and the upper end of a band.
        is_delay: Whether those are delays, for which the axis is logarithmic.
        offered: Says what is offered to each side.
        rows: Names and values of a side's figures now.
        happening: Says what is going on.
        table: The rows of the final table.
        closing: The last word.
    """

    client: str
    class_name: str
    charted: tuple[str, Callable[[Sample], float]]
    pictured: tuple[str, Callable[[Sample], tuple[float, float]]]
    is_delay: bool
    offered: Callable[[Plan], str]
    rows: Callable[[dict[str, list[Sample]], str, Plan], list[tuple[str, str]]]
    happening: Callable[[Sequence[Sample], Sequence[Sample], Plan], str]
    table: Callable[[Result, Result], list[tuple[str, str, str]]]
    closing: Callable[[Result, Result], str]

    @property
    def names(self) -> dict[str, str]:
        """The names of the sides."""
        return {"bare": self.client, "kafka_throttle": "kafka_throttle"}

    @property
    def distribution(self) -> str:
        """What the bare client is installed as."""
        return self.client.replace("_", "-")

    def title(self, side: str) -> str:
        """Return what a side is called where there is room."""
        return f"{self.names[side]}.{self.class_name}"

    def crowd_passed(self, side: str, plan: Plan, seconds: float | None) -> str:
        """Return how long a side's crowd took."""
        if seconds is None:
            return f"  {self.names[side]:<16} had not sent them after a minute"
        return f"  {self.names[side]:<16} {words.delay(seconds)}, {plan.crowd / seconds:,.0f} records/s"


BLOCKING = Story(
    client="confluent_kafka",
    class_name="Producer",
    charted=("records in the client", lambda sample: sample.queue),
    pictured=(
        "delay from produce() to the delivery report",
        lambda sample: (sample.p50 or 0.0, sample.p99 or 0.0),
    ),
    is_delay=True,
    offered=words.offered,
    rows=words.rows,
    happening=words.happening,
    table=verdict.table,
    closing=verdict.closing,
)

ASYNCIO = Story(
    client="aiokafka",
    class_name="AIOKafkaProducer",
    charted=("delivered per second", lambda sample: sample.rate),
    pictured=("requests delivered per second", lambda sample: (sample.rate, sample.rate)),
    is_delay=False,
    offered=asyncio_words.offered,
    rows=asyncio_words.rows,
    happening=asyncio_words.happening,
    table=asyncio_words.table,
    closing=asyncio_words.closing,
)
