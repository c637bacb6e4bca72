"""`Handover`: the way to aiokafka for records that the facade hands over by itself, from any thread, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka.structs import TopicPartition

from kafka_throttle._adapters.aiokafka_errors import as_kafka_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_throttle._adapters.aiokafka import Client
    from kafka_throttle._adapters.batch_meter import BatchMeter
    from kafka_throttle._gates.loop_gate import LoopGate

__all__ = ["Handover"]

# So many records take about a millisecond.
_PORTION = 128
# Who waits until everything is handed over looks this often, in seconds.
_LOOK = 0.002


class _Call(NamedTuple):
    topic: str
    value: bytes | None
    key: bytes | None
    partition: int
    callback: Callable[[Any, Any], object] | None
    timestamp: int
    headers: list[tuple[str, bytes | None]] | None

    @property
    def size(self) -> int:
        return len(self.value or b"") + len(self.key or b"")


class Handover:
    """Puts records into aiokafka's accumulator, on the loop, and calls their callbacks there.

    Args:
        loop: The loop.
        meter: Told of records that never get into a batch.

    Attributes:
        gate: Told when everything was handed over; set before the first record.
        client: What knows the topics, finds the partition and has the accumulator; the same.
    """

    gate: LoopGate
    client: Client

    def __init__(self, loop: asyncio.AbstractEventLoop, meter: BatchMeter) -> None:
        self._loop = loop
        self._meter = meter
        self._outgoing: deque[_Call] = deque()
        self._unknown: dict[str, list[_Call]] = {}
        self._learning: dict[str, asyncio.Task[None]] = {}
        self._woken = False

    def put(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = -1,
        callback: Callable[[Any, Any], object] | None = None,
        *,
        timestamp: int = 0,
        headers: list[tuple[str, bytes | None]] | None = None,
    ) -> None:
        """Take a record, from any thread, under the gate's lock."""
        self._outgoing.append(_Call(topic, value, key, partition, callback, timestamp, headers))
        if not self._woken:
            self._wake()

    def _wake(self) -> None:
        self._woken = True
        self._loop.call_soon_threadsafe(self._dispatch)

    def _dispatch(self) -> None:
        outgoing = self._outgoing
        for _ in range(min(_PORTION, len(outgoing))):
            call = outgoing.popleft()
            waiting = self._unknown.get(call.topic)
            if waiting is not None:
                waiting.append(call)
            elif self.client.knows(call.topic):
                self._hand(call)
            else:
                self._unknown[call.topic] = [call]
                self._learning[call.topic] = self._loop.create_task(self._learn(call.topic))
        if outgoing:
            self._loop.call_soon(self._dispatch)  # others have to have their turn
            return
        self._woken = False
        if not self._unknown:
            self.gate.catch_up(outgoing)
        if outgoing:  # another thread has come in between, and has found us awake
            self._wake()

    async def _learn(self, topic: str) -> None:
        """Ask for a topic's metadata; its records wait meanwhile, and those of others do not."""
        problem = await self.client.learn(topic)
        del self._learning[topic]
        for call in self._unknown.pop(topic):
            if problem is None:
                self._hand(call)
            else:
                self._lose(call, problem)
        if not self._woken:
            self._dispatch()

    async def emptied(self) -> None:
        """Wait until aiokafka has every record, or has refused it."""
        while self._outgoing or self._unknown:
            await asyncio.sleep(_LOOK)

    def give_up(self, problem: BaseException) -> None:
        """Report every record that aiokafka does not have yet, as it is closed."""
        for task in self._learning.values():
            task.cancel()
        calls = [call for waiting in self._unknown.values() for call in waiting] + list(self._outgoing)
        self._unknown.clear()
        self._outgoing.clear()
        for call in calls:
            self._lose(call, problem)

    def _hand(self, call: _Call) -> None:
        client = self.client
        try:
            partition = client.partition(call.topic, call.partition, call.key, call.value)
            future = client.accumulator.append(
                TopicPartition(call.topic, partition),
                call.key,
                call.value,
                call.timestamp or None,
                call.headers or [],
            )
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a record, its callback is told
            self._lose(call, error)
        else:
            if call.callback is not None:
                future.add_done_callback(partial(self._done, call.callback))

    def _done(self, callback: Callable[[Any, Any], object], future: asyncio.Future[Any]) -> None:
        problem = future.exception()
        if problem is None:
            callback(None, future.result())
        else:
            callback(as_kafka_error(problem), None)

    def _lose(self, call: _Call, problem: BaseException) -> None:
        """Report a record that got into no batch."""
        error = as_kafka_error(problem, sent=False)
        self._meter.count_lost(call.size, error)
        if call.callback is not None:
            call.callback(error, None)
