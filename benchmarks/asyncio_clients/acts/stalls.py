"""How long the event loop stands still: alone, while records stream, and while spooled ones are replayed."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.asyncio_clients.quantiles import quantile

if TYPE_CHECKING:
    from asyncio import Future
    from types import TracebackType

    from typing_extensions import Self

    from benchmarks.asyncio_clients.clients import Client

__all__ = ["LoopProbe", "SchedulerWait", "replay", "stream", "watch"]

_NAP = 0.001
_GLANCE = 0.05
# The offering must not be what stalls the loop: after so many records others have their turn.
_STRETCH = 10
_LONGEST_REPLAY = 120.0


class SchedulerWait:
    """For how long a thread could have run and another had its core: what is not the thread's own doing.

    Linux counts it; elsewhere it is 0. It is about the thread that makes it.
    """

    def __init__(self) -> None:
        path = Path("/proc/thread-self/schedstat")
        self._file = path.open("rb", buffering=0) if path.exists() else None

    def read(self) -> float:
        """Return the seconds since the thread began."""
        if self._file is None:
            return 0.0
        self._file.seek(0)
        return int(self._file.read().split()[1]) / 1e9

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class Collections:
    """For how long Python's garbage collector has worked, which stops every thread."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        del info
        if phase == "start":
            self._began = perf_counter()
        else:
            self.seconds += perf_counter() - self._began

    def close(self) -> None:
        """Count no more."""
        gc.callbacks.remove(self._note)


class LoopProbe:
    """A task that sleeps for a millisecond, again and again, and notes by how much it overslept.

    Attributes:
        overslept: What it overslept, in seconds.
        own: The same without what the machine's scheduler kept the loop's thread waiting.
        uncollected: The same again without what the garbage collector took.
    """

    def __init__(self) -> None:
        self.overslept: list[float] = []
        self.own: list[float] = []
        self.uncollected: list[float] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        with closing(SchedulerWait()) as waited, closing(Collections()) as collections:
            while True:
                before, collected = waited.read(), collections.seconds
                due = perf_counter() + _NAP
                await asyncio.sleep(_NAP)
                late = perf_counter() - due
                self.overslept.append(late)
                self.own.append(max(0.0, late - (waited.read() - before)))
                self.uncollected.append(max(0.0, self.own[-1] - (collections.seconds - collected)))

    def findings(self) -> dict[str, float]:
        """Return the longest and the p99.9 of what it overslept, and the longest of the rest, in seconds."""
        return {
            "longest": quantile(self.overslept, 1.0),
            "p999": quantile(self.overslept, 0.999),
            "own": quantile(self.own, 1.0),
            "uncollected": quantile(self.uncollected, 1.0),
        }


async def watch(client: Client | None, seconds: float) -> dict[str, Any]:
    """Return the stalls of a loop on which nothing is done."""
    del client
    async with LoopProbe() as probe:
        await asyncio.sleep(seconds)
    return {**probe.findings()}


async def stream(client: Client, rate: float, seconds: float, record_bytes: int = 100) -> dict[str, Any]:
    """Return the stalls while records are submitted at a rate, and what became of the records."""
    outcomes: Counter[str] = Counter()

    def count(future: Future[Any]) -> None:
        outcomes["failed" if future.exception() else type(future.result()).__name__] += 1

    value = bytes(record_bytes)
    submitted = 0
    async with LoopProbe() as probe:
        start = perf_counter()
        while (elapsed := perf_counter() - start) < seconds:
            stretch = min(int(elapsed * rate) - submitted, _STRETCH)
            for _ in range(stretch):
                (await client.submit(client.topic, value)).add_done_callback(count)
            submitted += max(stretch, 0)
            await asyncio.sleep(0 if stretch == _STRETCH else _NAP)
        took = perf_counter() - start
    return {
        **probe.findings(),
        "submitted": submitted,
        "rate": submitted / took,
        "outcomes": dict(outcomes),
    }


async def replay(client: Client) -> dict[str, Any]:
    """Return the stalls until the facade has replayed and delivered everything."""
    start = perf_counter()
    async with LoopProbe() as probe:
        while _buffered(client.producer.statistics()):
            if perf_counter() - start > _LONGEST_REPLAY:
                raise TimeoutError(f"not replayed after {_LONGEST_REPLAY:g} s: {client.producer!r}")
            await asyncio.sleep(_GLANCE)
    return {**probe.findings(), "seconds": perf_counter() - start}


def _buffered(now: Any) -> int:
    return int(now.held + now.spooled + now.in_flight)
