"""The thread that waits for the disk: in order, without the loop, and out of a wait."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from kafka_throttle import Block, Rejected
from kafka_throttle._admission import Wait
from kafka_throttle._aio.keeper import Keeper
from kafka_throttle.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Shedding:
    """Takes what is offered, and remembers in which thread."""

    def __init__(self) -> None:
        self.offered: list[tuple[Any, ...]] = []
        self.threads: set[int] = set()
        self.held_back = 0
        self.gate = threading.Event()
        self.gate.set()

    def hold_back(self, way: Any) -> None:
        self.held_back += 1

    def offer(self, way: Any, producer: Any, args: Any, kwargs: Any) -> str:
        self.gate.wait()
        self.threads.add(threading.get_ident())
        if args == ("bad",):
            raise Rejected("no", reason="limit")
        self.offered.append(args)
        return f"wait {args[0]}"


class Admission:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.draining = self.closed = False

    def refuse(self, topic: str, args: Any, kwargs: Any, reason: str, policy: Any, waited: float) -> None:
        raise Rejected("no", topic=topic, reason=reason, waited=waited)


@asynccontextmanager
async def keeping() -> AsyncIterator[tuple[Keeper, Any]]:
    shedding = Shedding()
    keeper = Keeper(shedding, asyncio.get_running_loop(), "keeper")  # type: ignore[arg-type]
    try:
        yield keeper, shedding
    finally:
        shedding.gate.set()
        keeper.close()


class Way:
    coming = 0

    def __init__(self, *, may_wait: bool) -> None:
        self.may_wait = may_wait


def way(*, may_wait: bool) -> Any:
    return Way(may_wait=may_wait)


async def test_what_cannot_wait_is_done_at_once() -> None:
    async with keeping() as (keeper, shedding):
        assert await keeper.offer(way(may_wait=False), None, ("a",), {}) == "wait a"
        assert shedding.threads == {threading.get_ident()}


async def test_what_may_wait_for_the_disk_is_done_in_a_thread_in_order() -> None:
    async with keeping() as (keeper, shedding):
        slow = way(may_wait=True)
        names = [f"{n}" for n in range(50)]
        results = await asyncio.gather(*(keeper.offer(slow, None, (name,), {}) for name in names))
        assert results == [f"wait {name}" for name in names]
        assert shedding.offered == [(name,) for name in names]
        assert len(shedding.threads) == 1
        assert threading.get_ident() not in shedding.threads


async def test_nobody_overtakes_what_is_on_its_way_to_the_thread() -> None:
    async with keeping() as (keeper, shedding):
        slow = way(may_wait=True)
        shedding.gate.clear()
        first = asyncio.ensure_future(keeper.offer(slow, None, ("first",), {}))
        await asyncio.sleep(0)
        assert (slow.coming, shedding.held_back) == (1, 1)
        slow.may_wait = False
        second = asyncio.ensure_future(keeper.offer(slow, None, ("second",), {}))
        await asyncio.sleep(0)
        shedding.gate.set()
        await asyncio.gather(first, second)
        assert shedding.offered == [("first",), ("second",)]
        assert slow.coming == 0


async def test_a_refusal_comes_back_to_the_caller() -> None:
    async with keeping() as (keeper, _):
        slow = way(may_wait=True)
        with pytest.raises(Rejected):
            await keeper.offer(slow, None, ("bad",), {})
        await asyncio.sleep(0)
        assert slow.coming == 0


async def test_a_caller_that_is_cancelled_takes_back_what_was_not_begun() -> None:
    async with keeping() as (keeper, shedding):
        slow = way(may_wait=True)
        shedding.gate.clear()
        tasks = [asyncio.ensure_future(keeper.offer(slow, None, (f"{n}",), {})) for n in range(3)]
        while keeper._thread._work_queue.qsize() != 2:  # the first one was begun
            await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
        shedding.gate.set()
        await asyncio.wait(tasks)
        assert shedding.offered == [("0",), ("2",)]
        await asyncio.sleep(0)
        assert slow.coming == 0


def waiting(attempts: list[bool], timeout: float = 60.0) -> Wait:
    def attempt(place: Any, least: int) -> bool:
        return attempts.pop(0)

    return Wait(Block(timeout), None, "orders", ("orders",), {}, 0, attempt)


async def test_who_waits_for_the_disk_tries_until_it_is_taken() -> None:
    async with keeping() as (keeper, _):
        attempts = [False, False, True, False]
        task = asyncio.ensure_future(keeper.persist(Admission(), way(may_wait=True), waiting(attempts)))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert keeper.waiting == 1
        await task
        assert (keeper.waiting, attempts) == (0, [False])


@pytest.mark.parametrize("reason", ["deadline", "draining"])
async def test_the_wait_for_the_disk_has_an_end(reason: str) -> None:
    async with keeping() as (keeper, _):
        admission = Admission()

        def attempt(place: Any, least: int) -> bool:
            admission.clock.advance(0.5)
            admission.draining = reason == "draining"
            return False

        wait = Wait(Block(1.0), None, "orders", ("orders",), {}, 0, attempt)
        with pytest.raises(Rejected) as caught:
            await keeper.persist(admission, way(may_wait=True), wait)  # type: ignore[arg-type]
        assert (caught.value.reason, keeper.waiting) == (reason, 0)


async def test_of_those_who_wait_for_the_disk_the_first_tries() -> None:
    async with keeping() as (keeper, _):
        full, admission = way(may_wait=True), Admission()
        tries: list[str] = []

        def attempt(name: str, room: asyncio.Event) -> Any:
            def try_once(place: Any, least: int) -> bool:
                tries.append(name)
                return room.is_set()

            return try_once

        room = asyncio.Event()
        tasks = [
            asyncio.ensure_future(
                keeper.persist(
                    admission, full, Wait(Block(60), None, "t", ("t",), {}, 0, attempt(name, room))
                )  # type: ignore[arg-type]
            )
            for name in "abc"
        ]
        while not tries:
            await asyncio.sleep(0)
        assert set(tries) == {"a"}
        tasks[1].cancel()
        room.set()
        await asyncio.wait(tasks)
        assert list(dict.fromkeys(tries)) == ["a", "c"]
        assert keeper.waiting == 0


async def test_work_is_done_in_order_and_its_result_comes_back() -> None:
    async with keeping() as (keeper, _):
        done: list[int] = []
        keeper.submit(done.append, 1)
        assert await keeper.run(lambda: (done.append(2), list(done))[1]) == [1, 2]
