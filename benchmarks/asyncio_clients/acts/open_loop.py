"""An open loop on the event loop: each record is a task of its own, as a request of a user is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from benchmarks.load import OpenLoop, load_from_dict
from benchmarks.recorder import Recorder, clock

if TYPE_CHECKING:
    from asyncio import Future, Task

    from benchmarks.asyncio_clients.clients import Client

__all__ = ["offer"]

_LONGEST_SLEEP = 0.05


class _Offering:
    """Sends records and takes down what becomes of them.

    Args:
        client: The client under test.
        recorder: Where it is taken down.
        value: Value of each record.
    """

    def __init__(self, client: Client, recorder: Recorder, value: bytes) -> None:
        self._client, self._recorder, self._value = client, recorder, value
        self.inside: set[Future[Any]] = set()
        self._senders: set[Task[None]] = set()

    def begin(self, intended: float) -> None:
        """Start the task of one record that was to be sent at a time on `clock`."""
        task = asyncio.create_task(self._send(intended))
        self._senders.add(task)
        task.add_done_callback(self._senders.discard)

    async def _send(self, intended: float) -> None:
        begin = clock()
        try:
            future = await self._client.submit(self._client.topic, self._value)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a record that failed
            self._recorder.failure(type(error).__name__)
            return
        admitted = clock()
        self._recorder.call_took(admitted - begin)
        self._recorder.accepted += 1
        self.inside.add(future)
        future.add_done_callback(lambda done: self._take(done, intended, admitted))

    def _take(self, future: Future[Any], intended: float, admitted: float) -> None:
        self.inside.discard(future)
        if future.cancelled():  # abandoned
            return
        error = future.exception()
        if error is not None:
            self._recorder.failure(type(error).__name__)
            return
        now = clock()
        self._recorder.report(None)
        self._recorder.delay(now, now - admitted, now - intended)

    async def end(self, drain: float) -> int:
        """Cancel who still waits for admission, and return the records that are not delivered after so many seconds."""
        senders = tuple(self._senders)
        for task in senders:
            task.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
        if self.inside:
            await asyncio.wait(tuple(self.inside), timeout=drain)
        return len(self.inside)


async def offer(client: Client, load: dict[str, Any]) -> dict[str, Any]:
    """Offer an `OpenLoop` and return the outcome; a delay is from a record's admission to its future's callback."""
    offered = load_from_dict(load)
    assert isinstance(offered, OpenLoop)
    start = clock()
    recorder = Recorder(start, offered.duration, lambda: (len(offering.inside), _limit(client.producer)))
    offering = _Offering(client, recorder, bytes(offered.record_bytes))
    arrivals = offered.arrivals()
    intended = start + next(arrivals)
    while (now := clock()) < start + offered.duration:
        recorder.tick(now)
        while intended <= now:
            offering.begin(intended)
            intended = start + next(arrivals)
        await asyncio.sleep(min(intended - now, _LONGEST_SLEEP))
    recorder.end_of_load(offered.record_bytes, len(offering.inside))
    abandoned = await offering.end(offered.drain)
    outcome = recorder.outcome(abandoned)
    if abandoned:
        await client.abandon()
    return {"outcome": outcome.to_dict()}


def _limit(producer: Any) -> int:
    return producer.statistics().limit_records if hasattr(producer, "statistics") else 0
