"""Tasks that wait for the metadata of their topic: their order, and what they are told when there is none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import ProducerClosed, UnknownTopicOrPartitionError

from kafka_throttle._aio.unknown_topics import UnknownTopics


class Cluster:
    """Knows topics when it is told to, and takes down who went on."""

    def __init__(self) -> None:
        self.answers: dict[str, asyncio.Future[BaseException | None]] = {}
        self.asked: list[str] = []
        self.went_on: list[Any] = []
        self.topics = UnknownTopics(asyncio.get_running_loop(), self.learn)

    async def learn(self, topic: str) -> BaseException | None:
        self.asked.append(topic)
        answer = self.answers[topic] = asyncio.get_running_loop().create_future()
        return await answer

    async def send(self, name: Any, topic: str = "orders") -> None:
        await self.topics.wait(topic)
        self.went_on.append(name)

    async def begin(self, *names: Any, topic: str = "orders") -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.send(name, topic)) for name in names]
        for _ in range(3):
            await asyncio.sleep(0)
        return tasks


async def test_one_asks_for_all_and_they_go_on_in_their_order() -> None:
    cluster = Cluster()
    tasks = await cluster.begin(*range(5))
    assert (cluster.asked, "orders" in cluster.topics) == (["orders"], True)
    cluster.answers["orders"].set_result(None)
    await asyncio.gather(*tasks)
    assert cluster.went_on == list(range(5))
    assert not cluster.topics


async def test_who_comes_when_it_has_just_become_known_goes_on_behind_the_others() -> None:
    cluster = Cluster()
    tasks = await cluster.begin("first", "second")
    cluster.answers["orders"].set_result(None)
    for _ in range(6):
        if "orders" in cluster.topics:
            name = f"later {len(tasks)}"
            tasks.append(asyncio.create_task(cluster.send(name)))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert cluster.went_on == ["first", "second", *(f"later {n}" for n in range(2, len(tasks)))]
    assert not cluster.topics


async def test_one_topic_holds_up_no_other() -> None:
    cluster = Cluster()
    stuck = await cluster.begin("stuck")
    other = await cluster.begin("other", topic="clicks")
    cluster.answers["clicks"].set_result(None)
    await asyncio.gather(*other)
    assert cluster.went_on == ["other"]
    cluster.topics.dismiss(ProducerClosed())
    with pytest.raises(ProducerClosed):
        await stuck[0]
    assert not cluster.topics


async def test_all_are_told_that_there_is_no_such_topic_and_the_next_one_asks_again() -> None:
    cluster = Cluster()
    tasks = await cluster.begin(1, 2)
    problem = UnknownTopicOrPartitionError()
    cluster.answers["orders"].set_result(problem)
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in told] == [UnknownTopicOrPartitionError] * 2
    assert told[0] is not told[1]
    await cluster.begin(3)
    assert cluster.asked == ["orders", "orders"]
    cluster.topics.dismiss(ProducerClosed())


async def test_who_is_cancelled_leaves_the_others_their_order() -> None:
    cluster = Cluster()
    tasks = await cluster.begin(*range(4))
    tasks[0].cancel()
    tasks[2].cancel()
    cluster.answers["orders"].set_result(None)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert cluster.went_on == [1, 3]
    assert not cluster.topics


async def test_when_all_are_cancelled_nothing_is_left() -> None:
    cluster = Cluster()
    (task,) = await cluster.begin("gone")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    cluster.answers["orders"].set_result(None)
    for _ in range(3):
        await asyncio.sleep(0)
    assert not cluster.topics
