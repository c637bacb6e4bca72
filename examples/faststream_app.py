"""A FastStream app that makes an invoice of each order; what it publishes goes through the facade.

    python examples/faststream_app.py

It uses the Kafka that KAFKA_THROTTLE_BOOTSTRAP names, else it starts one:
pip install '.[aiokafka,local]' 'faststream[kafka]'.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiokafka
from faststream import FastStream
from faststream.kafka import KafkaBroker

from kafka_throttle import Block, DropOldest, Rule, Throttle
from kafka_throttle.aio import AIOKafkaProducer
from kafka_throttle.brokers import ExternalKafka, LocalKafka, bootstrap_from_environment

TOPICS = ("example-orders", "example-invoices", "example-news")
THROTTLE = Throttle(
    rules=[
        # News are worth something while they are new.
        Rule("example-news", DropOldest(1_000, max_age="5 s"), loss_approved_by="web team, OPS-123"),
        # The handler waits and takes its next order later, so that the consumer goes at the pace of the producer.
        Rule("*", Block(timeout="60 s")),
    ]
)
logger = logging.getLogger("invoices")


class Producer(AIOKafkaProducer):
    """The facade with this app's rules, and with an end that comes: FastStream stops its producer without a timeout."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(throttle=THROTTLE, **kwargs)

    async def stop(self, timeout: float | None = 10) -> None:
        """Flush for ten seconds at most, and say what became of all records."""
        await super().stop(timeout)
        places = self.statistics().places()
        logger.info(
            "At the end: %s", ", ".join(f"{count} {place}" for place, count in places.items() if count)
        )


# The hook: when a broker starts, FastStream makes its producer of the class that it finds here.
aiokafka.AIOKafkaProducer = Producer


def create_app(bootstrap: str) -> FastStream:
    """Return the app for a cluster."""
    broker = KafkaBroker(bootstrap, client_id="invoices", logger=None)
    app = FastStream(broker)

    @broker.subscriber("example-orders", group_id="invoices", auto_offset_reset="earliest")
    @broker.publisher("example-invoices")
    async def invoice(order: int) -> str:
        if order % 100 == 0:
            logger.info("%s orders", order)
            # Nobody waits for what becomes of news: they are on their way, or given up.
            await broker.publish(f"{order} orders", "example-news", no_confirm=True)
        return f"invoice for order {order}"

    @app.after_startup
    async def stand_in_for_the_shop() -> None:
        for order in range(1, 1_001):
            await broker.publish(order, "example-orders", no_confirm=True)

    return app


def main() -> None:
    """Find a Kafka, and run until Ctrl-C."""
    logging.basicConfig(level=logging.INFO)
    existing = bootstrap_from_environment()
    with ExternalKafka(existing) if existing else LocalKafka() as kafka:
        for topic in TOPICS:
            kafka.create_topic(topic)
        asyncio.run(create_app(kafka.bootstrap).run())


if __name__ == "__main__":
    main()
