"""`AIOProducer` on real Kafka: bursts, transactions, a broker that stands still or is away, and forks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from confluent_kafka import KafkaException

from kafka_throttle import Fixed, Rule, Spill, Throttle
from kafka_throttle.aio import AIOProducer, Spilled
from kafka_throttle.brokers import LocalKafka

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from kafka_throttle.brokers import KafkaCluster

pytestmark = pytest.mark.integration

DEADLINE = 60.0
KEYS = 7


def run(main: Coroutine[Any, Any, None], loop: str = "asyncio") -> None:
    new_loop = asyncio.new_event_loop if loop == "asyncio" else uvloop.new_event_loop
    running = new_loop()
    try:
        running.run_until_complete(asyncio.wait_for(main, 2 * DEADLINE))
        running.run_until_complete(running.shutdown_default_executor())
    finally:
        running.close()


def new_topic(kafka: KafkaCluster, partitions: int = 1) -> str:
    topic = f"t-{uuid.uuid4().hex[:12]}"
    kafka.create_topic(topic, partitions=partitions)
    return topic


def producer_of(kafka: KafkaCluster, throttle: Throttle | None = None, **conf: Any) -> AIOProducer:
    settings = {"bootstrap.servers": kafka.bootstrap, "acks": "all", **conf}
    return AIOProducer(settings, throttle=throttle)


def adds_up(producer: AIOProducer) -> bool:
    now = producer.statistics()
    settled = now.offered == sum(now.places().values())
    return settled and now.offered_bytes == sum(now.places("bytes").values())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_burst_of_many_tasks_fails_nothing_however_little_the_client_holds(
    local_kafka: KafkaCluster, loop: str
) -> None:
    topic = new_topic(local_kafka, partitions=4)

    async def main() -> None:
        async with producer_of(local_kafka, **{"queue.buffering.max.messages": 500}) as producer:

            async def one(number: int) -> Any:
                return await (await producer.produce(topic, b"%d" % number))

            messages = await asyncio.gather(*map(one, range(20_000)))
            assert {message.error() for message in messages} == {None}
            assert adds_up(producer)

    run(main(), loop)
    assert sum(local_kafka.end_offsets(topic).values()) == 20_000


def test_order_per_key_is_kept_and_nothing_is_doubled_with_idempotence(local_kafka: KafkaCluster) -> None:
    topic = new_topic(local_kafka, partitions=4)

    async def main() -> None:
        throttle = Throttle(limit=Fixed(20))
        async with producer_of(local_kafka, throttle, **{"enable.idempotence": True}) as producer:
            tasks = [
                asyncio.ensure_future(producer.produce(topic, b"%d" % number, b"%d" % (number % KEYS)))
                for number in range(3000)
            ]
            await asyncio.gather(*[await task for task in tasks])

    run(main())
    by_key = defaultdict(list)
    for message in local_kafka.messages(topic):
        by_key[message.key()].append(int(message.value()))
    assert dict(by_key) == {b"%d" % key: list(range(key, 3000, KEYS)) for key in range(KEYS)}


def test_a_committed_transaction_is_read_and_an_aborted_one_is_not(local_kafka: KafkaCluster) -> None:
    topic = new_topic(local_kafka)

    async def main() -> None:
        throttle = Throttle(limit=Fixed(10))
        async with producer_of(local_kafka, throttle, **{"transactional.id": uuid.uuid4().hex}) as producer:
            await producer.init_transactions(DEADLINE)
            for word, end in (
                (b"kept", producer.commit_transaction),
                (b"dropped", producer.abort_transaction),
            ):
                await producer.begin_transaction()
                futures = [await producer.produce(topic, word) for _ in range(50)]
                await end(DEADLINE)
                assert [future.result().value() for future in futures] == [word] * 50
            assert adds_up(producer)

    run(main())
    read = [message.value() for message in local_kafka.messages(topic, isolation_level="read_committed")]
    assert read == [b"kept"] * 50


def test_nothing_is_lost_while_the_broker_stands_still_and_the_loop_goes_on(
    local_kafka: KafkaCluster,
) -> None:
    topic = new_topic(local_kafka)

    async def go_on() -> None:
        for _ in range(100):  # a loop that stands still would never come to its end
            await asyncio.sleep(0.01)
        local_kafka.resume()

    async def main() -> None:
        async with producer_of(local_kafka, Throttle(burst="64 KiB")) as producer:
            await (await producer.produce(topic, b"first"))
            local_kafka.pause()
            going_on = asyncio.ensure_future(go_on())
            futures = [await producer.produce(topic, b"%05d" % number * 50) for number in range(5000)]
            await asyncio.gather(*futures)
            await going_on
            assert adds_up(producer)

    run(main())
    assert local_kafka.end_offsets(topic) == {0: 5001}


@pytest.mark.parametrize("resolve", ["commit", "delivery"])
def test_a_spool_bridges_an_outage_in_order_and_loses_nothing(tmp_path: Path, resolve: Any) -> None:
    async def main(kafka: LocalKafka, topic: str) -> None:
        policy = Spill(tmp_path, resolve=resolve)
        throttle = Throttle(rules=[Rule("*", policy)], limit=Fixed(100), burst=0)
        async with producer_of(kafka, throttle) as producer:
            futures = []
            for number in range(4000):
                futures.append(await producer.produce(topic, b"%d" % number, b"%d" % (number % KEYS)))
                if number == 1000:
                    kafka.kill(0)
            assert producer.statistics().spooled > 2000
            assert adds_up(producer)
            await asyncio.get_running_loop().run_in_executor(None, kafka.start, 0)
            assert await producer.flush(DEADLINE) == 0
            results = await asyncio.gather(*futures)
            assert any(isinstance(result, Spilled) for result in results) is (resolve == "commit")
            assert (producer.statistics().delivered, adds_up(producer)) == (4000, True)

    with LocalKafka() as kafka:
        topic = new_topic(kafka)
        run(main(kafka, topic))
        found = defaultdict(list)
        for message in kafka.messages(topic):
            found[message.key()].append(int(message.value()))
    assert found == {b"%d" % key: list(range(key, 4000, KEYS)) for key in range(KEYS)}


def test_close_in_an_outage_ends_within_its_time_and_resolves_every_future(local_kafka: KafkaCluster) -> None:
    topic = new_topic(local_kafka)

    async def main() -> None:
        producer = producer_of(local_kafka, Throttle(limit=Fixed(100), burst=0))
        await (await producer.produce(topic, b"first"))
        local_kafka.pause()
        try:
            futures = [await producer.produce(topic, b"x") for _ in range(100)]
            waiting = [asyncio.ensure_future(producer.produce(topic, b"x")) for _ in range(100)]
            while producer.statistics().waiting < 100:
                await asyncio.sleep(0)
            await asyncio.wait_for(producer.close(1), 20)  # the records themselves have five minutes
        finally:
            local_kafka.resume()
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        refused = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(outcome, KafkaException) for outcome in outcomes] == [True] * 100
        assert [error.reason for error in refused] == ["closed"] * 100
        assert adds_up(producer)

    run(main())


def test_a_forked_child_is_told_at_once_and_the_parent_goes_on(local_kafka: KafkaCluster) -> None:
    topic = new_topic(local_kafka)
    script = f"""
        import asyncio, os, sys
        from kafka_throttle import ForkedProducerError
        from kafka_throttle.aio import AIOProducer

        async def use(producer):
            try:
                await producer.produce({topic!r}, b"x")
            except ForkedProducerError:
                return 0
            return 3

        async def main():
            producer = AIOProducer({{"bootstrap.servers": {local_kafka.bootstrap!r}}})
            await (await producer.produce({topic!r}, b"parent"))
            if os.fork() == 0:
                asyncio._set_running_loop(None)
                os._exit(asyncio.new_event_loop().run_until_complete(use(producer)))
            status = os.waitstatus_to_exitcode(os.wait()[1])
            await (await producer.produce({topic!r}, b"parent"))
            await producer.close()
            return status

        sys.exit(asyncio.run(main()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], timeout=DEADLINE, check=False, env={**os.environ}
    )
    assert done.returncode == 0
    assert local_kafka.end_offsets(topic) == {0: 2}
