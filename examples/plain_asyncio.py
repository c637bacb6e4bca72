"""Six thousand tasks send at once; each topic's rule says what happens to what Kafka cannot take right now.

    python examples/plain_asyncio.py

It uses the Kafka that KAFKA_THROTTLE_BOOTSTRAP names, else it starts one: pip install '.[aiokafka,local]'.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter

from kafka_throttle import Block, DropOldest, Rejected, Rule, Shed, Spill, Throttle
from kafka_throttle.aio import AIOKafkaProducer, Spilled
from kafka_throttle.brokers import ExternalKafka, LocalKafka, bootstrap_from_environment

TOPICS = ("example-orders", "example-clicks", "example-mails")


def rules(spool: str) -> Throttle:
    """Return what is done with each topic while Kafka takes less than is offered."""
    return Throttle(
        rules=[
            # To disk, and from there to Kafka when there is room: nothing is lost.
            Rule("example-orders", Spill(spool, max_bytes="1 GiB")),
            # The latest 500 wait in memory; older ones are given up, and somebody has signed for that.
            Rule("example-clicks", DropOldest(500), loss_approved_by="web team, OPS-123"),
            # The task waits, first come, first served.
            Rule("*", Block(timeout="10 s")),
        ]
    )


async def send(producer: AIOKafkaProducer, topic: str, value: bytes) -> str:
    """Send one record, and return what became of it."""
    try:
        outcome = await producer.send(topic, value)  # waits for room, as the rule says
        result = await outcome  # waits for what becomes of it
    except Rejected as rejected:
        return f"not accepted ({rejected.reason})"
    except Shed as shed:
        return f"given up by {shed.policy} ({shed.reason})"
    return "safe on disk" if isinstance(result, Spilled) else "delivered"


async def run(bootstrap: str, spool: str) -> None:
    """Send 2 000 records to each topic, all at once, and print what became of them."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, client_id="example", throttle=rules(spool))
    await producer.start()
    try:
        counted = await asyncio.gather(*(send_many(producer, topic) for topic in TOPICS))
        for topic, outcomes in zip(TOPICS, counted, strict=True):
            print(f"{topic}: {', '.join(f'{count} {what}' for what, count in outcomes.most_common())}")
        # What is on disk is sent before the end; what does not get there in time stays for the next run.
        await producer.drain(timeout=30)
    finally:
        await producer.stop(timeout=10)
    now = producer.statistics()
    places = " + ".join(f"{count} {place}" for place, count in now.places().items() if count)
    print(f"{now.offered} offered = {places}")


async def send_many(producer: AIOKafkaProducer, topic: str) -> Counter[str]:
    """Send 2 000 records from as many tasks, and count what became of them."""
    return Counter(await asyncio.gather(*(send(producer, topic, bytes(1000)) for _ in range(2_000))))


def main() -> None:
    """Find a Kafka, and run."""
    existing = bootstrap_from_environment()
    with (
        ExternalKafka(existing) if existing else LocalKafka() as kafka,
        tempfile.TemporaryDirectory() as spool,
    ):
        for topic in TOPICS:
            kafka.create_topic(topic)
        asyncio.run(run(kafka.bootstrap, spool))


if __name__ == "__main__":
    main()
