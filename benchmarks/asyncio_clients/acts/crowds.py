"""Many at once: tasks that send one record each, a rush of records at a small queue, tasks that wait."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.asyncio_clients.quantiles import quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from benchmarks.asyncio_clients.clients import Client

__all__ = ["crowd", "leave", "rush", "wait", "wait_bare"]

_VALUE = bytes(100)


async def crowd(client: Client, tasks: int) -> dict[str, Any]:
    """Return how so many tasks fare that send one record each, at once, and wait for its delivery."""
    delays: list[float] = []
    failures: Counter[str] = Counter()

    async def send() -> None:
        begin = perf_counter()
        try:
            await (await client.submit(client.topic, _VALUE))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a record that failed
            failures[type(error).__name__] += 1
        else:
            delays.append(perf_counter() - begin)

    begin = perf_counter()
    await asyncio.gather(*[asyncio.create_task(send()) for _ in range(tasks)])
    return {
        "rate": len(delays) / (perf_counter() - begin),
        "p50": quantile(delays, 0.5),
        "p99": quantile(delays, 0.99),
        "failures": dict(failures),
    }


async def rush(client: Client, records: int) -> dict[str, Any]:
    """Return what fails of so many records that one task submits without waiting for deliveries."""
    failures: Counter[str] = Counter()
    futures = []
    begin = perf_counter()
    for _ in range(records):
        try:
            futures.append(await client.submit(client.topic, _VALUE))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a record that failed
            failures[type(error).__name__] += 1
    await client.producer.flush()
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    failures.update(_name(outcome) for outcome in outcomes if isinstance(outcome, BaseException))
    return {"seconds": perf_counter() - begin, "failures": dict(failures)}


def _name(error: BaseException) -> str:
    """Return the name of the client's own error where there is one: an exception's class says little."""
    named = getattr(error.args[0], "name", None) if error.args else None
    return str(named()) if callable(named) else type(error).__name__


async def wait(client: Client, tasks: int, first: int) -> dict[str, Any]:
    """Leave tasks waiting for admission, and return the resident memory that they cost.

    Args:
        client: The client under test; its broker does not answer.
        tasks: How many.
        first: Records that fill the window, before memory counts.
    """
    admitted = 0

    async def send() -> None:
        nonlocal admitted
        with suppress(Exception):  # in the end the client is stopped, and refuses them
            future = await client.submit(client.topic, _VALUE)
            admitted += 1
            await future

    await _started(send, first)
    before = admitted
    tasks_waiting, resident = await _weighed(send, tasks)
    client.waiting = tasks_waiting
    return {"bytes": resident, "admitted": admitted - before}


async def leave(client: Client) -> dict[str, Any]:
    """Cancel the waiting tasks, and return how long that takes."""
    begin = perf_counter()
    for task in client.waiting:
        task.cancel()
    await asyncio.gather(*client.waiting, return_exceptions=True)
    client.waiting = ()
    return {"seconds": perf_counter() - begin}


async def wait_bare(client: Client | None, tasks: int, awaited: str) -> dict[str, Any]:
    """Return the resident memory of tasks that wait for nothing but asyncio itself.

    Args:
        client: Not needed.
        tasks: How many.
        awaited: "future": each its own one; "event": all the same one.
    """
    del client
    event = asyncio.Event()

    async def wait_for_future() -> None:
        await asyncio.get_running_loop().create_future()

    async def wait_for_event() -> None:
        await event.wait()

    waiting, resident = await _weighed({"future": wait_for_future, "event": wait_for_event}[awaited], tasks)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return {"bytes": resident}


async def _weighed(
    work: Callable[[], Coroutine[Any, Any, None]], tasks: int
) -> tuple[tuple[asyncio.Task[None], ...], int]:
    before = _resident()
    waiting = await _started(work, tasks)
    return waiting, _resident() - before


async def _started(
    work: Callable[[], Coroutine[Any, Any, None]], tasks: int
) -> tuple[asyncio.Task[None], ...]:
    """Return tasks that have all got to where they wait."""
    waiting = tuple(asyncio.create_task(work()) for _ in range(tasks))
    for _ in range(3):  # the first steps, and what they have scheduled
        await asyncio.sleep(0)
    return waiting


def _resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)
