"""The way into aiokafka for what the facade hands over: in order, whatever has to be learnt on the way."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from types import SimpleNamespace
from typing import Any

import aiokafka
import aiokafka.errors
import pytest
from aiokafka.structs import TopicPartition

from kafka_throttle._adapters.aiokafka import Client
from kafka_throttle._adapters.batch_meter import BatchMeter
from kafka_throttle._aio.handover import Handover
from kafka_throttle._gates.loop_gate import LoopGate


class Accumulator:
    """Takes records, and delivers them when told to."""

    def __init__(self) -> None:
        self.records: list[tuple[Any, ...]] = []
        self.futures: list[asyncio.Future[Any]] = []
        self.problem: Exception | None = None

    def append(self, tp: TopicPartition, key: Any, value: Any, timestamp: Any, headers: Any) -> Any:
        if self.problem is not None:
            raise self.problem
        self.records.append((tp, key, value, timestamp, headers))
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]

    @property
    def values(self) -> list[bytes]:
        return [record[2] for record in self.records]


class Topics:
    """In the place of `Client`: topics with one partition, of which some have to be asked for."""

    def __init__(self, accumulator: Accumulator, *known: str) -> None:
        self.accumulator = accumulator
        self.known = set(known)
        self.asked: dict[str, asyncio.Future[BaseException | None]] = {}

    def knows(self, topic: str) -> bool:
        return topic in self.known

    async def learn(self, topic: str) -> BaseException | None:
        self.asked[topic] = asyncio.get_running_loop().create_future()
        problem = await self.asked[topic]
        if problem is None:
            self.known.add(topic)
        return problem

    def partition(self, topic: str, partition: int, key: Any, value: Any) -> int:
        return max(0, partition)


class Way:
    """A handover with everything around it."""

    def __init__(self, *known: str) -> None:
        loop = asyncio.get_running_loop()
        self.meter = BatchMeter()
        self.accumulator = Accumulator()
        self.handover = Handover(loop, self.meter)
        self.gate = self.handover.gate = LoopGate(self.handover.put, deque())
        self.topics = Topics(self.accumulator, *known)
        self.handover.client = self.topics  # type: ignore[assignment]
        self.reports: list[tuple[bytes, Any]] = []

    def forward(self, value: bytes, topic: str = "orders", **how: Any) -> None:
        def report(error: Any, result: Any) -> None:
            self.reports.append((value, error.name() if error else result))

        self.gate.forward(object(), topic, value, b"key", -1, report, **how)

    async def rounds(self, count: int = 5) -> None:
        for _ in range(count):
            await asyncio.sleep(0)


async def test_records_come_in_order_with_all_they_have() -> None:
    way = Way("orders")
    way.forward(b"1", timestamp=1234, headers=[("h", b"x")])
    way.forward(b"2")
    assert way.accumulator.records == []  # the caller may be another thread
    await way.rounds()
    tp = TopicPartition("orders", 0)
    assert way.accumulator.records == [(tp, b"key", b"1", 1234, [("h", b"x")]), (tp, b"key", b"2", None, [])]
    assert way.gate.ticket == 2


async def test_their_callbacks_are_told_of_the_outcome() -> None:
    way = Way("orders")
    way.forward(b"1")
    way.forward(b"2")
    await way.rounds()
    way.accumulator.futures[1].set_exception(aiokafka.errors.TopicAuthorizationFailedError())
    way.accumulator.futures[0].set_result("metadata")
    await way.rounds()
    assert sorted(way.reports) == [(b"1", "metadata"), (b"2", "TOPIC_AUTHORIZATION_FAILED")]


async def test_other_threads_hand_over_in_their_order() -> None:
    way = Way("orders")
    threads = [
        threading.Thread(target=lambda n=n: [way.forward(b"%d %03d" % (n, k)) for k in range(300)])  # type: ignore[misc]
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    await way.handover.emptied()
    for thread in threads:
        thread.join()
    await way.handover.emptied()
    for n in range(3):
        mine = [value for value in way.accumulator.values if value.startswith(b"%d " % n)]
        assert mine == [b"%d %03d" % (n, k) for k in range(300)]
    assert way.gate.ticket == 900


async def test_nobody_overtakes_what_is_on_its_way() -> None:
    way = Way("orders")
    way.forward(b"1")
    assert way.gate.held_back
    assert not way.gate.passes("orders")
    await way.rounds()
    assert not way.gate.held_back


async def test_a_topic_is_asked_for_and_its_records_wait_in_order_and_others_do_not() -> None:
    way = Way("orders")
    way.forward(b"1", "new")
    way.forward(b"2", "orders")
    way.forward(b"3", "new")
    await way.rounds()
    assert (way.accumulator.values, list(way.topics.asked)) == ([b"2"], ["new"])
    assert way.gate.held_back
    way.forward(b"4", "new")
    way.topics.asked["new"].set_result(None)
    await way.rounds()
    assert way.accumulator.values == [b"2", b"1", b"3", b"4"]
    assert not way.gate.held_back


async def test_a_topic_that_cannot_be_had_is_the_outcome_of_its_records() -> None:
    way = Way()
    way.forward(b"12345", "new")
    await way.rounds()
    way.topics.asked["new"].set_result(aiokafka.errors.UnknownTopicOrPartitionError())
    await way.rounds()
    assert way.reports == [(b"12345", "UNKNOWN_TOPIC_OR_PART")]
    reading = way.meter.reading(way.gate)
    assert (reading.acked, reading.acked_bytes, reading.failed) == (1, 8, 1)


async def test_what_aiokafka_refuses_is_the_outcome_of_that_record() -> None:
    way = Way("orders")
    way.accumulator.problem = aiokafka.errors.ProducerClosed()
    way.forward(b"1")
    await way.rounds()
    assert way.reports == [(b"1", "_PURGE_QUEUE")]


async def test_many_records_let_others_have_their_turn() -> None:
    way = Way("orders")
    for n in range(1000):
        way.forward(b"%03d" % n)
    seen = []
    while len(way.accumulator.values) < 1000:
        await asyncio.sleep(0)
        seen.append(len(way.accumulator.values))
    assert len(seen) > 5
    assert way.accumulator.values == [b"%03d" % n for n in range(1000)]


async def test_it_is_empty_when_aiokafka_has_everything() -> None:
    way = Way("orders")
    way.forward(b"1", "new")
    emptied = asyncio.ensure_future(way.handover.emptied())
    await way.rounds()
    assert not emptied.done()
    way.topics.asked["new"].set_result(None)
    await emptied
    assert way.accumulator.values == [b"1"]


async def test_what_aiokafka_does_not_have_is_told_when_it_is_given_up() -> None:
    way = Way("orders")
    way.forward(b"1", "new")
    await way.rounds()
    way.forward(b"2", "orders")
    way.handover.give_up(aiokafka.errors.ProducerClosed())
    assert way.reports == [(b"1", "_PURGE_QUEUE"), (b"2", "_PURGE_QUEUE")]
    await way.rounds()
    assert way.accumulator.values == []
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await way.handover.emptied()


# ---- what it needs of the producer


class Cluster:
    def __init__(self) -> None:
        self.partitions = {"orders": {0, 1, 2}}

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return self.partitions.get(topic)

    def available_partitions_for_topic(self, topic: str) -> set[int]:
        return {1, 2}


def client(wait_on_metadata: Any = None) -> Client:
    def partitioner(key: Any, known: list[int], available: list[int]) -> tuple[Any, list[int], list[int]]:
        return key, known, available

    producer = SimpleNamespace(
        client=SimpleNamespace(cluster=Cluster(), _wait_on_metadata=wait_on_metadata),
        _partitioner=partitioner,
    )
    return Client(producer, None)  # type: ignore[arg-type]


def test_a_partition_is_given_or_found_by_the_key() -> None:
    assert client().partition("orders", 2, b"key", None) == 2
    found: Any = client().partition("orders", -1, b"key", None)
    assert found == (b"key", [0, 1, 2], [1, 2])
    with pytest.raises(ValueError, match=r"partition 7 of 'orders' is unknown; known: \[0, 1, 2\]"):
        client().partition("orders", 7, b"key", None)


async def test_topics_are_known_when_their_partitions_are() -> None:
    async def wait(topic: str) -> None:
        raise aiokafka.errors.UnknownTopicOrPartitionError

    assert [client().knows(topic) for topic in ("orders", "new")] == [True, False]
    assert isinstance(await client(wait).learn("new"), aiokafka.errors.UnknownTopicOrPartitionError)
