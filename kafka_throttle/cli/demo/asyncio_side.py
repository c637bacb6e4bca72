"""One side of the demo with an asyncio client: a task for each request, as in a web service."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError

from kafka_throttle.cli.demo.figures import TICK, Plan, Result, Sample, quantile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

__all__ = ["PATIENCE", "AsyncSide", "connector"]

PATIENCE = 2.0
"""Seconds for which a request waits for room."""

_CROWD_WITHIN = 60.0
_CLOSE_WITHIN = 10.0
_PULSE = 0.01


class AsyncSide:
    """Offers requests to one asyncio producer as planned, and keeps account.

    A request is a task that sends one record and waits for its delivery; it gives up when there is no room for so long
    as its patience lasts. What the demo calls a queue are the requests under way, wherever they wait.

    Args:
        connect: Makes and starts a producer, given what to add to its client's id.
        topic: Where the records go.
        plan: How many, how large, how long.
    """

    def __init__(self, connect: Callable[[str], Coroutine[Any, Any, Any]], topic: str, plan: Plan) -> None:
        self.stop = threading.Event()
        self._connect = connect
        self._topic = topic
        self._plan = plan
        self._value = bytes(plan.record_bytes)
        self._loop = asyncio.new_event_loop()
        self._producer = self._run(connect(""))
        self._crowd_seconds: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: dict[int, float] = {}
        self._delays: list[float] = []
        self._fresh: list[float] = []
        self._recent: deque[list[float]] = deque(maxlen=round(1 / TICK))
        self._made = self._produced = self._delivered = self._failed = self._refusals = 0
        self._largest_queue = 0
        self._longest_call = self._stall = 0.0
        self._half_way: tuple[float, int] | None = None
        self._started = time.perf_counter()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)

    def crowd(self) -> float | None:
        """Have a crowd of tasks send at once; return how long that took in seconds, None when it took too long."""
        self._crowd_seconds = self._run(self._let_crowd_pass())
        return self._crowd_seconds

    async def _let_crowd_pass(self) -> float | None:
        # The broker would count what the crowd sends against the quota that comes later.
        producer = await self._connect("-crowd")

        async def send() -> None:
            await (await producer.send(self._topic, self._value))

        began = time.perf_counter()
        tasks = [asyncio.ensure_future(send()) for _ in range(self._plan.crowd)]
        _, late = await asyncio.wait(tasks, timeout=_CROWD_WITHIN)
        seconds = time.perf_counter() - began
        for task in late:
            task.cancel()
        await asyncio.wait({asyncio.ensure_future(producer.stop())}, timeout=_CLOSE_WITHIN)
        return None if late else seconds

    def offer(self) -> None:
        """Offer what is due, until the time is up or somebody says stop."""
        self._started = time.perf_counter()
        self._run(self._offer())

    async def _offer(self) -> None:
        pulse = asyncio.ensure_future(self._feel_pulse())
        while not self.stop.is_set() and (elapsed := self._elapsed()) < self._plan.seconds:
            while self._made < elapsed * self._plan.rate:
                self._made += 1
                task = asyncio.ensure_future(self._request(self._made))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            if self._half_way is None and elapsed >= self._plan.seconds / 2:
                self._half_way = elapsed, self._delivered
            await asyncio.sleep(0.001)
        pulse.cancel()

    async def _feel_pulse(self) -> None:
        """Take note of how long the loop keeps everybody waiting."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_PULSE)
            self._stall = max(self._stall, time.perf_counter() - began - _PULSE)

    async def _request(self, number: int) -> None:
        self._open[number] = began = time.perf_counter()
        self._largest_queue = max(self._largest_queue, len(self._open))
        try:
            try:
                delivery = await asyncio.wait_for(self._producer.send(self._topic, self._value), PATIENCE)
            except asyncio.TimeoutError:
                self._refusals += 1
                return
            finally:
                self._longest_call = max(self._longest_call, time.perf_counter() - began)
            self._produced += 1
            await self._deliver(delivery, began)
        finally:
            del self._open[number]

    async def _deliver(self, delivery: Awaitable[Any], began: float) -> None:
        try:
            await delivery
        except KafkaError:
            self._failed += 1
            return
        delay = time.perf_counter() - began
        self._delivered += 1
        self._delays.append(delay)
        self._fresh.append(delay)

    def drain(self, seconds: float, offered_for: float, at_end: tuple[int, int]) -> Result:
        """Give the client time to deliver what it still has, and return the account.

        Args:
            seconds: How much time.
            offered_for: How long requests were offered, in seconds.
            at_end: Requests delivered and under way at the end of that.
        """
        if self._tasks:
            self._run(asyncio.wait(self._tasks, timeout=seconds))
        delivered, queue = at_end
        delays = sorted(self._delays)
        half_way, before = self._half_way or (0.0, 0)
        return Result(
            seconds=offered_for,
            produced=self._produced,
            delivered=delivered,
            goodput=self._rate(delivered, offered_for),
            delay_p50=quantile(delays, 0.5),
            delay_p99=quantile(delays, 0.99),
            delay_max=delays[-1] if delays else 0.0,
            largest_queue=self._largest_queue,
            queue_at_end=queue,
            failed=self._failed,
            undelivered=self._produced - self._delivered - self._failed,
            refusals=self._refusals,
            longest_call=self._longest_call,
            late_goodput=self._rate(delivered - before, offered_for - half_way),
            stall=self._stall,
            crowd_seconds=self._crowd_seconds,
        )

    def _rate(self, records: int, seconds: float) -> float:
        return records * self._plan.record_bytes / max(seconds, 1e-9)

    def standing(self) -> tuple[int, int]:
        """Return how many requests are delivered and how many are under way."""
        return self._delivered, len(self._open)

    def sample(self) -> Sample:
        """Return how it stands; to be called once a tick, from any thread."""
        fresh, self._fresh = self._fresh, []
        self._recent.append(fresh)
        delivered = [delay for tick in self._recent for delay in tick]
        delays = sorted(delivered or self._ages())
        statistics = self._producer.statistics() if hasattr(self._producer, "statistics") else None
        return Sample(
            at=self._elapsed(),
            produced=self._produced,
            delivered=self._delivered,
            queue=len(self._open),
            p50=quantile(delays, 0.5) if delays else None,
            p99=quantile(delays, 0.99) if delays else None,
            longest_call=self._longest_call,
            refusals=self._refusals,
            limit=statistics.limit_records if statistics else None,
            state=statistics.state if statistics else "",
            rate=len(delivered) / (TICK * len(self._recent)),
            stall=self._stall,
        )

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started

    def _ages(self) -> list[float]:
        """Return how long the requests are under way, in seconds."""
        now = time.perf_counter()
        return [now - began for began in list(self._open.values())]


def connector(
    side: str, settings: dict[str, Any], topic: str, timeout: float
) -> Callable[[str], Coroutine[Any, Any, Any]]:
    """Return what makes and starts the producers of a side.

    Args:
        side: Whether it is the bare client.
        settings: The client's keywords.
        topic: Which has to be known before anything is timed.
        timeout: For connecting, in seconds.
    """

    async def connect(suffix: str) -> Any:
        producer = _class_of(side)(**{**settings, "client_id": settings["client_id"] + suffix})
        await asyncio.wait_for(producer.start(), timeout)
        await asyncio.wait_for(producer.partitions_for(topic), timeout)
        return producer

    return connect


def _class_of(side: str) -> Any:
    """Return the class of a side's producer: all in which they differ."""
    if side == "bare":
        from aiokafka import AIOKafkaProducer as BareProducer  # noqa: PLC0415 - each side loads its own

        return BareProducer
    from kafka_throttle.aio import AIOKafkaProducer  # noqa: PLC0415 - as above

    return AIOKafkaProducer
