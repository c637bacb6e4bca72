"""Calls for the loop: gathered from any thread, in order, without holding up the loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from kafka_throttle._aio.deferred import LoopDeferred


async def rounds(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_calls_come_in_order_in_the_next_round() -> None:
    deferred, calls = LoopDeferred(asyncio.get_running_loop()), []  # type: ignore[var-annotated]
    for number in range(5):
        deferred.append((calls.append, number))
    assert calls == []
    await rounds()
    assert calls == [0, 1, 2, 3, 4]


async def test_other_threads_wake_the_loop() -> None:
    loop = asyncio.get_running_loop()
    deferred, called = LoopDeferred(loop), loop.create_future()
    thread = threading.Thread(target=deferred.append, args=((called.set_result, threading.get_ident()),))
    thread.start()
    assert await asyncio.wait_for(called, 10) == threading.get_ident()
    thread.join()


async def test_many_calls_let_others_have_their_turn() -> None:
    loop = asyncio.get_running_loop()
    deferred, seen = LoopDeferred(loop), []
    calls: list[int] = []
    for number in range(2000):
        deferred.append((calls.append, number))
    while len(calls) < 2000:
        await asyncio.sleep(0)
        seen.append(len(calls))
    assert len(seen) > 5
    assert calls == list(range(2000))


async def test_what_a_call_appends_is_called_too() -> None:
    deferred, calls = LoopDeferred(asyncio.get_running_loop()), []  # type: ignore[var-annotated]
    deferred.append((lambda: deferred.append((calls.append, "later")),))
    await rounds(5)
    assert calls == ["later"]


async def test_what_a_call_raises_goes_to_the_handler_of_the_loop_and_the_next_is_called() -> None:
    loop = asyncio.get_running_loop()
    problems: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: problems.append(context))
    deferred, calls = LoopDeferred(loop), []  # type: ignore[var-annotated]
    deferred.append((int, "no number"))
    deferred.append((calls.append, "next"))
    await rounds()
    assert calls == ["next"]
    ((problem),) = problems
    assert isinstance(problem["exception"], ValueError)


async def test_everything_can_be_run_at_once() -> None:
    deferred, calls = LoopDeferred(asyncio.get_running_loop()), []  # type: ignore[var-annotated]
    for number in range(1000):
        deferred.append((calls.append, number))
    deferred.run()
    assert calls == list(range(1000))
    await rounds()
    assert len(calls) == 1000


def test_when_the_loop_is_closed_nobody_is_left_to_be_told() -> None:
    loop = asyncio.new_event_loop()
    deferred = LoopDeferred(loop)
    loop.close()
    deferred.append((print, "anybody?"))
    assert len(deferred) == 0
