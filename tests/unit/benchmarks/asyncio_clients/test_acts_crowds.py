"""Crowds count every record once, and leave nobody behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from benchmarks.asyncio_clients.acts import ACTS

if TYPE_CHECKING:
    from benchmarks.asyncio_clients.clients import Client


def every_third_fails(number: int) -> Any:
    return KafkaException(KafkaError(KafkaError._QUEUE_FULL)) if number % 3 == 0 else number


def test_a_crowd_counts_failures_and_takes_the_delays_of_the_others(client: Client) -> None:
    client.producer.outcome = every_third_fails
    found = asyncio.run(ACTS["crowd"](client, tasks=9))
    assert found["failures"] == {"KafkaException": 3}
    assert 0 < found["p50"] <= found["p99"]


def test_a_rush_names_failures_as_the_client_does(client: Client) -> None:
    client.producer.outcome = every_third_fails
    assert asyncio.run(ACTS["rush"](client, records=9))["failures"] == {"_QUEUE_FULL": 3}


def test_a_rush_counts_records_that_the_call_itself_refuses(client: Client) -> None:
    async def refuse(topic: str, value: bytes) -> asyncio.Future[Any]:
        raise BufferError("full")

    client.submit = refuse
    assert asyncio.run(ACTS["rush"](client, records=4))["failures"] == {"BufferError": 4}


def test_waiters_wait_until_they_are_told_to_leave(closed: Client) -> None:
    async def wait_and_leave() -> tuple[list[bool], int, int]:
        found = await ACTS["wait"](closed, tasks=5, first=2)
        waiting = closed.waiting
        await ACTS["leave"](closed)
        return [task.cancelled() for task in waiting], found["admitted"], len(closed.waiting)

    assert asyncio.run(wait_and_leave()) == ([True] * 5, 0, 0)


def test_records_that_fill_the_window_first_do_not_count_as_admitted(client: Client) -> None:
    assert asyncio.run(ACTS["wait"](client, tasks=5, first=2))["admitted"] == 5


@pytest.mark.parametrize("awaited", ["future", "event"])
def test_tasks_that_wait_for_asyncio_alone_are_gone_afterwards(awaited: str) -> None:
    async def tasks_left() -> int:
        await ACTS["wait_bare"](None, tasks=5, awaited=awaited)
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(tasks_left()) == 0
