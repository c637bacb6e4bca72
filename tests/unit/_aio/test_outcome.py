"""What the future of a record is told: once, and what its callback is."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from confluent_kafka import KafkaError

from kafka_throttle._aio.deferred import LoopDeferred
from kafka_throttle._aio.outcome import Outcome
from kafka_throttle._records import ShedError
from kafka_throttle.aio import Spilled

SPILLED = Spilled("orders", "/spool", 7)


class Told(Exception):
    """What the client would raise."""


def make(callback: Any = None, *, waits: bool = False) -> Outcome:
    loop = asyncio.get_running_loop()
    return Outcome(
        loop.create_future(),
        LoopDeferred(loop),
        Told,
        callback,
        waits=waits,
    )


async def test_a_delivered_record_resolves_its_future_with_the_message() -> None:
    outcome = make()
    outcome(None, "message")
    assert await outcome.future == "message"


async def test_a_failed_record_raises_what_the_client_raises() -> None:
    outcome, error = make(), KafkaError(KafkaError._FAIL)
    outcome(error, "message")
    with pytest.raises(Told) as caught:
        await outcome.future
    assert caught.value.args == (error, "message")


async def test_a_record_on_disk_resolves_its_future_when_it_is_committed() -> None:
    outcome = make()
    outcome.committed(SPILLED)
    assert not outcome.future.done()  # it may be another thread that has committed
    assert await outcome.future == SPILLED
    assert not outcome.keeps


async def test_a_future_may_wait_for_the_delivery() -> None:
    outcome = make(waits=True)
    outcome.committed(SPILLED)
    await asyncio.sleep(0.0)
    assert (outcome.future.done(), outcome.keeps) == (False, True)
    outcome(None, "message")
    assert await outcome.future == "message"


async def test_a_future_that_waits_is_told_where_its_record_stays() -> None:
    outcome = make(waits=True)
    outcome.left(SPILLED)
    assert await outcome.future == SPILLED


async def test_a_future_is_told_once_and_a_callback_of_the_outcome() -> None:
    reports: list[Any] = []
    outcome = make(lambda error, message: reports.append((error, message)))
    outcome.committed(SPILLED)
    assert outcome.keeps
    assert await outcome.future == SPILLED
    outcome(None, "message")
    await asyncio.sleep(0)
    assert (await outcome.future, reports) == (SPILLED, [(None, "message")])


async def test_the_callback_is_told_although_the_future_was_cancelled() -> None:
    reports: list[Any] = []
    outcome = make(lambda error, message: reports.append(error))
    outcome.future.cancel()
    outcome.committed(SPILLED)
    outcome(KafkaError(KafkaError._FAIL), None)
    await asyncio.sleep(0)
    assert [error.name() for error in reports] == ["_FAIL"]


async def test_nobody_has_to_look_at_what_was_shed() -> None:
    problems: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    for error in (ShedError(ShedError._QUEUE_FULL), KafkaError(KafkaError._FAIL)):
        make()(error, None)
        gc.collect()
    assert len(problems) == 1  # and at a failure somebody has to
