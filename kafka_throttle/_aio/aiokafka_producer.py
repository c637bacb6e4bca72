"""`AIOKafkaProducer`: aiokafka's class with a gate in front.

From send() to the outcome of a record:

1. ``send`` counts the record and hands it to aiokafka's own send(), while the gate (``_gates/loop_gate.py``) is open.
2. At the edge, `Admission.admit` asks the engine for room, or does what the topic's rule says; who has to wait stands in
   the line of `TaskAdmission`.
3. What a rule keeps or follows goes through `Handover`, and its caller has a future of ours.
4. aiokafka sends. Each batch that is done is counted by the meter (``_adapters/batch_meter.py``).
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, cast

import aiokafka
from aiokafka.errors import ProducerClosed

from kafka_throttle import config
from kafka_throttle._adapters.aiokafka import (
    STRAIGHT,
    may_take_records,
    records_of,
    serialized,
    submit,
)
from kafka_throttle._adapters.aiokafka_errors import as_exception
from kafka_throttle._aio.outcome import Outcome
from kafka_throttle._aio.throttled import Throttled

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from kafka_throttle._aio.unknown_topics import UnknownTopics
    from kafka_throttle._gates.loop_gate import LoopGate
    from kafka_throttle._shedding.way import Way
    from kafka_throttle._throttle import Throttle
    from kafka_throttle.statistics import Statistics

__all__ = ["AIOKafkaProducer"]

_KEPT = (bytes, type(None))
_STOCK = aiokafka.AIOKafkaProducer
_STOCK_SEND = _STOCK.send


class AIOKafkaProducer(aiokafka.AIOKafkaProducer):  # type: ignore[misc]
    """aiokafka.AIOKafkaProducer with admission control: bounded delay and memory, however many tasks send.

    Everything that works with aiokafka's class works here:

        async with AIOKafkaProducer(bootstrap_servers="localhost:9092") as producer:
            await producer.send("orders", b"...", key=b"42")

    What differs: send() waits (at most 60 s, as the Java client does) while Kafka takes less than is offered, and then
    raises `Rejected`, which is a KafkaTimeoutError here; flush(), stop() and drain() take a timeout and end. See
    `Throttle` for other policies.

    Args:
        throttle: The facade's configuration; None: from ``throttle.*`` keywords and the environment, else the defaults.
        **kwargs: As for aiokafka's class.

    Raises:
        ConfigurationError: The facade's configuration cannot be used; all problems are named at once.
        SpoolError: A spool's directory cannot be used.
    """

    _throttled: Throttled | None = None
    _gate: LoopGate | None = None
    _unknown_topics: UnknownTopics
    _straight = False

    def __init__(self, *, throttle: Throttle | None = None, **kwargs: Any) -> None:
        kwargs, resolved = config.resolve(throttle, kwargs, os.environ)
        super().__init__(**kwargs)
        if not resolved.enabled:
            return
        try:
            self._throttled = Throttled(self, resolved, kwargs)
        except (
            BaseException
        ):  # raised again: whatever it was, the producer never began, and nothing is to be warned of
            self._closed = None
            raise
        self._gate = self._throttled.gate
        self._unknown_topics = self._throttled.unknown_topics
        # Tracing tools wrap aiokafka's send(), and classes may stand between it and ours: then each call is theirs.
        self._straight = STRAIGHT and super().send.__func__ is _STOCK_SEND

    async def send(  # noqa: C901 - the hot path: each step in a call of its own would cost more than the step
        self,
        topic: str,
        value: Any = None,
        key: Any = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Any = None,
    ) -> asyncio.Future[Any]:
        """Hand one record to aiokafka when there is room, else do what its rule says: by default, wait.

        Returns:
            The future of its delivery, as with aiokafka. It raises `Shed` when the record's rule gave it up, and resolves to
            `Spilled` when it was put on disk.

        Raises:
            Rejected: There is no room and the rule's patience is at its end; it is a KafkaTimeoutError.
        """
        gate = self._gate
        known = True
        if gate is not None:
            if gate.shut:
                raise ProducerClosed
            if self._unknown_topics or self._metadata.partitions_for_topic(topic) is None:
                known = await self._know(topic, value, key)
            if gate.left <= 0 or not known or (gate.held_back and not gate.passes(topic)):
                waiting = self._at_edge(topic, value, key, partition, timestamp_ms, headers)
                if waiting is not None:
                    taken = await waiting
                    if taken is not None:
                        return taken
                    known = self._metadata.partitions_for_topic(topic) is not None
            else:
                gate.left -= 1
            gate.live += 1
        try:
            if self._straight and known and _STOCK.send is _STOCK_SEND:
                future = submit(self, topic, value, key, partition, timestamp_ms, headers)
                if future is not None:
                    return future
            return await super().send(topic, value, key, partition, timestamp_ms, headers)  # type: ignore[no-any-return]
        except BaseException:  # whatever it is, aiokafka does not have the record
            if gate is not None:
                gate.live -= 1
            raise

    async def _know(self, topic: Any, value: Any, key: Any) -> bool:
        """Wait until the topic is known; False where it is not, as the facade is to hand its records over."""
        throttled = cast("Throttled", self._throttled)
        if value is None and key is None:
            return True  # aiokafka has the words for that
        known = topic not in self._unknown_topics and self._metadata.partitions_for_topic(topic) is not None
        return known or await throttled.know(topic)

    def _at_edge(
        self, topic: Any, value: Any, key: Any, partition: Any, timestamp_ms: Any, headers: Any
    ) -> Coroutine[Any, Any, asyncio.Future[Any] | None] | None:
        """Return None when a record may be sent, else what has to be awaited: its future when the facade takes it."""
        throttled = cast("Throttled", self._throttled)
        admission = throttled.admission
        way = admission.way_of(topic)
        if way is None:
            throttled.gate.set_apart(topic)
        elif not (value is None and key is None) and may_take_records(self):
            key_bytes, value_bytes = serialized(self, topic, key, value, headers)
            if isinstance(key_bytes, _KEPT) and isinstance(value_bytes, _KEPT):
                return self._offer(way, topic, value_bytes, key_bytes, partition, timestamp_ms, headers)
        if not admission.engine.begun:
            key, value = serialized(self, topic, key, value, headers)  # the limit begins with its size
        return admission.enter_live(topic, value, key)

    async def _offer(
        self,
        way: Way,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int | None,
        timestamp_ms: int | None,
        headers: Iterable[tuple[str, bytes | None]] | None,
    ) -> asyncio.Future[Any]:
        """Offer a record to a rule that keeps or follows records."""
        throttled = cast("Throttled", self._throttled)
        future: asyncio.Future[Any] = self._loop.create_future()
        outcome = Outcome(future, throttled.deferred, as_exception, waits=way.resolves_late)
        args = (topic, value, key, -1 if partition is None else partition, outcome)
        kwargs = {"timestamp": timestamp_ms or 0, "headers": list(headers) if headers else None}
        await throttled.admission.offer(way, self, args, kwargs)
        return future

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> asyncio.Future[Any]:
        """Hand a batch to aiokafka when there is room: see its send_batch.

        Where the topic's rule keeps or follows records, they are offered one by one; the future then has the metadata of
        the first one, or the first exception.

        Raises:
            Rejected: There is no room and the rule's patience is at its end.
        """
        throttled = self._throttled
        if throttled is None:
            return await super().send_batch(batch, topic, partition=partition)  # type: ignore[no-any-return]
        if throttled.gate.shut:
            raise ProducerClosed
        way = throttled.admission.way_of(topic)
        if way is not None:
            return await self._offer_each(way, batch, topic, partition)
        if throttled.unknown_topics or self._metadata.partitions_for_topic(topic) is None:
            await throttled.know(topic)
        gate, records = throttled.gate, batch.record_count()
        if gate.left <= 0 or (gate.held_back and not gate.passes(topic)):
            waiting = throttled.admission.enter_live(topic, None, None, yields=True)
            if waiting is not None:
                await waiting
        gate.left -= records
        gate.live += records
        try:
            return await super().send_batch(batch, topic, partition=partition)  # type: ignore[no-any-return]
        except BaseException:  # as in send()
            gate.live -= records
            raise

    async def _offer_each(self, way: Way, batch: Any, topic: str, partition: int) -> asyncio.Future[Any]:
        offered = [
            await self._offer(way, topic, value, key, partition, timestamp, headers)
            for key, value, timestamp, headers in records_of(batch)
        ]

        async def first() -> Any:
            return (await asyncio.gather(*offered))[0] if offered else None

        return asyncio.ensure_future(first())

    async def flush(self, timeout: float | None = None) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Wait until everything that was accepted before is delivered, or on disk and not moving.

        Args:
            timeout: Longest wait in seconds; None: as long as records move, and for as long as aiokafka would keep one.

        Returns:
            Records that are left.
        """
        if self._throttled is None:
            await super().flush()
            return 0
        return await self._throttled.flush(timeout)

    async def drain(self, timeout: float | None = None) -> int:
        """Refuse new records, and wait until everything is delivered that was accepted.

        send() raises `Rejected` with reason ``"draining"`` from now on, whatever comes of it.

        Args:
            timeout: As for flush().

        Returns:
            Records that are left, in aiokafka, held or on disk.
        """
        if self._throttled is not None:
            self._throttled.admission.drain()
        return await self.flush(timeout)

    async def stop(self, timeout: float | None = None) -> None:
        """Flush, and close: see aiokafka's stop. It ends within its timeout, whatever the cluster does.

        Args:
            timeout: Longest wait in seconds for what was accepted; what is left in aiokafka then fails, and what is on
                disk stays there. None: as flush() does without one.

        Raises:
            SpoolError: Something could not be put on disk; the producer is closed all the same.
        """
        if self._throttled is None or self._closed:
            await super().stop()
            return
        await self._throttled.stop(super().stop, timeout)

    def statistics(self) -> Statistics:
        """Return an immutable snapshot: the ledger, the limit, the signals, and the client's figures.

        Raises:
            RuntimeError: The facade is switched off (``enabled=False``), so that nothing is counted.
        """
        if self._throttled is None:
            raise RuntimeError(
                "no statistics: kafka_throttle is switched off for this producer (enabled=False)"
            )
        return self._throttled.admission.statistics()
