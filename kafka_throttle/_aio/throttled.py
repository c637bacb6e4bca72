"""`Throttled`: everything that stands between an `AIOKafkaProducer` and aiokafka, and how that is brought to its end."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from aiokafka.errors import ProducerClosed

from kafka_throttle._adapters.aiokafka import (
    Client,
    DeepAccumulator,
    loop_of,
    settings_of,
    watch_requests,
)
from kafka_throttle._adapters.aiokafka_errors import RejectedHere
from kafka_throttle._adapters.aiokafka_settings import conf_of
from kafka_throttle._adapters.batch_meter import BatchMeter
from kafka_throttle._aio.admission import TaskAdmission
from kafka_throttle._aio.deferred import LoopDeferred
from kafka_throttle._aio.flushing import TaskFlushing
from kafka_throttle._aio.handover import Handover
from kafka_throttle._aio.unknown_topics import UnknownTopics
from kafka_throttle._gates.loop_gate import LoopGate
from kafka_throttle._registry import register

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from kafka_throttle._aio.aiokafka_producer import AIOKafkaProducer
    from kafka_throttle._shedding.shedding import Shedding
    from kafka_throttle._throttle import Throttle

__all__ = ["Throttled"]

# What aiokafka does not end by itself gets so many seconds.
_MOMENT = 0.1
# stop() looks this often, in seconds, at those who wait for their topic.
_LOOK = 0.002


class Throttled:
    """The parts of one producer; none of them refers to it, so that it goes at once when it is forgotten.

    Args:
        producer: The producer, which is constructed as far as aiokafka is concerned.
        throttle: The configuration.
        kwargs: What aiokafka was constructed with.

    Attributes:
        admission: Decides.
        gate: Counts.
        deferred: Runs calls on the loop.
        unknown_topics: Where tasks wait whose topic is not known yet.
    """

    def __init__(self, producer: AIOKafkaProducer, throttle: Throttle, kwargs: Mapping[str, Any]) -> None:
        self._loop = loop_of(producer)
        self.deferred = LoopDeferred(self._loop)
        self._meter = BatchMeter()
        handover = Handover(self._loop, self._meter)
        self.gate = handover.gate = LoopGate(handover.put, self.deferred)
        self.admission = TaskAdmission(
            self._loop,
            throttle,
            settings_of(producer),
            self._meter,
            lambda _: self.gate,
            None,
            deferred=self.deferred,
        )
        self.admission.refusals.raises = RejectedHere
        self._shedding: Shedding | None = None
        if throttle.tracked:
            self._shedding = self._keep(throttle, conf_of(kwargs))
        self._accumulator = DeepAccumulator.adopt(producer, self._meter)
        self._client = producer.client
        handover.client = Client(producer, self._accumulator)
        self.unknown_topics = UnknownTopics(self._loop, handover.client.learn)
        self._handover = handover
        self._flushing = TaskFlushing(self.admission, self._loop, self._flush_client)
        self._meter.reported = self._accumulator.drained = self.admission.tend_soon
        self._accumulator.filled = self.gate.close
        self.admission.crowded = self._accumulator.crowded
        watch_requests(producer, self._meter, self.admission.note_throttle_time)
        register(self.admission, producer)
        if self._shedding is not None:
            self._shedding.start(producer)

    def _keep(self, throttle: Throttle, conf: dict[str, Any]) -> Shedding:
        """Prepare what keeps, follows or gives up records, which only some configurations need and pay the import of."""
        from kafka_throttle._shedding.check import check_client  # noqa: PLC0415
        from kafka_throttle._shedding.shedding import Shedding  # noqa: PLC0415

        check_client(conf, throttle)
        shedding = Shedding(self.admission, throttle, conf, None)
        self.admission.keep(shedding)
        return shedding

    # ---- the way of a record

    async def know(self, topic: Any) -> bool:
        """Wait until a topic is known, and return True; False where its rule keeps records, which has none wait."""
        if self.admission.way_of(topic) is not None:
            return False
        await self.unknown_topics.wait(topic)
        return True

    # ---- the end

    async def flush(self, seconds: float | None) -> int:
        """Wait until nothing is left of what was accepted before; return the records that are."""
        return await self._flushing.flush(seconds)

    async def _flush_client(self, seconds: float) -> int:
        """Wait until aiokafka has sent what it has or is about to have; the statistics know what is left."""
        task = asyncio.ensure_future(self._send_all())
        try:
            await asyncio.wait({task}, timeout=None if seconds == math.inf else max(0.0, seconds))
        finally:
            task.cancel()
        return 0

    async def _send_all(self) -> None:
        await self._handover.emptied()
        await self._accumulator.flush()

    async def _in_thread(self, work: Callable[..., Any], *args: Any) -> Any:
        """Do what blocks in a thread of its own: the keeper's has to stay free for what it waits for."""
        return await self._loop.run_in_executor(None, partial(work, *args))

    async def stop(self, stop_client: Callable[[], Coroutine[Any, Any, None]], timeout: float | None) -> None:
        """Bring everything to its end: what was accepted is delivered within the timeout, or told what became of it."""
        self.gate.shut = True
        self.gate.close()
        clock = self.admission.clock
        deadline = math.inf if timeout is None else clock() + timeout
        while (
            self.unknown_topics and clock() < deadline
        ):  # nobody comes any more, and aiokafka asks for a time only
            await asyncio.sleep(_LOOK)
        self.unknown_topics.dismiss(ProducerClosed())
        await self._flushing.flush_to_close(None if timeout is None else max(0.0, deadline - clock()))
        self.admission.close()
        raised: BaseException | None = None
        try:
            if self._shedding is not None:
                await self._in_thread(self._shedding.stop)
            left = _MOMENT if timeout is None else deadline - clock()
            await self._end_client(stop_client, left)
        finally:
            keeper = self.admission.keeper
            if self._shedding is not None and keeper is not None:
                await keeper.run(_do_nothing)  # what is left to be told is told there
                raised = await self._in_thread(_caught, self._shedding.close)
                keeper.close()
            self.deferred.run()
        if raised is not None:
            raise raised

    async def _end_client(self, stop_client: Callable[[], Coroutine[Any, Any, None]], seconds: float) -> None:
        """Stop aiokafka, which by itself may wait for ever, for batches and for responses."""
        stopping = self._loop.create_task(stop_client())
        try:
            done, _ = await asyncio.wait({stopping}, timeout=max(0.0, seconds))
            if not done:
                self._accumulator.fail_all(ProducerClosed())
                ended, _ = await asyncio.wait({stopping}, timeout=_MOMENT)
                if not ended:  # it waits for responses
                    with suppress(Exception):  # it is torn down on the way, and complains of that
                        await self._client.close()
                    await asyncio.wait({stopping}, timeout=_MOMENT)
        finally:
            stopping.cancel()
            self._handover.give_up(ProducerClosed())
        if done:
            stopping.result()
        elif stopping.done() and not stopping.cancelled():
            stopping.exception()  # what comes of being torn down


def _caught(work: Callable[[], None]) -> BaseException | None:
    try:
        work()
    except Exception as error:  # noqa: BLE001 - raised when everything is closed
        return error
    return None


def _do_nothing() -> None:
    """Stand for the end of what was submitted before."""
