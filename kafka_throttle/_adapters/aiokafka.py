"""Everything that leans on private parts of aiokafka: how its accumulator is made fair, and what is counted there.

Three things of aiokafka are replaced, each in one class. Importing this fails, and says so, where a version of aiokafka
does not have what is replaced:

- ``MessageAccumulator.add_message`` has one open batch for each partition, and lets everybody who waits for a place in
  the next one try again whenever one leaves: with 20 000 tasks nearly all the time goes into that. `DeepAccumulator`
  begins another batch behind a full one. How much may be there is decided before, at the gate.
- ``MessageBatch`` tells nobody when it is done. `CountedBatch` tells the meter, once for all its records.
- ``AIOKafkaClient.send`` is watched for produce requests: their latency, and the throttle time that aiokafka ignores.
"""

from __future__ import annotations

import asyncio
import copy
import time
import weakref
from collections import defaultdict
from inspect import signature
from typing import TYPE_CHECKING, Any

import aiokafka
from aiokafka.errors import MessageSizeTooLargeError, ProducerClosed
from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.structs import TopicPartition

from kafka_throttle._adapters.aiokafka_errors import note_error
from kafka_throttle._adapters.batch_meter import do_nothing
from kafka_throttle._adapters.confluent import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka import AIOKafkaProducer

    from kafka_throttle._adapters.batch_meter import BatchMeter

__all__ = [
    "STRAIGHT",
    "Client",
    "CountedBatch",
    "DeepAccumulator",
    "loop_of",
    "may_take_records",
    "records_of",
    "serialized",
    "settings_of",
    "submit",
    "watch_requests",
]

_REPLACED = {
    MessageAccumulator: (
        "add_message",
        "add_batch",
        "_append_batch",
        "_pop_batch",
        "reenqueue",
        "fail_all",
        "flush",
    ),
    MessageBatch: ("append", "done", "done_noack", "failure", "drain_ready"),
    aiokafka.AIOKafkaClient: ("send", "_wait_on_metadata"),
}
for _class, _names in _REPLACED.items():
    for _name in _names:
        if not hasattr(_class, _name):
            raise ImportError(
                f"aiokafka {aiokafka.__version__} has no {_class.__name__}.{_name}, which the facade replaces or calls; "
                "tested: the versions that the extra kafka-throttle[aiokafka] allows"
            )
_PRODUCE = 0  # its number among the protocol's requests
# Until 0.13 the sender lingered and not the accumulator; until 0.12 a record's size depended on its topic's format.
_waiter_of: Any = getattr(MessageAccumulator, "waiter", None) or vars(MessageAccumulator)["data_waiter"]
_TOPIC_FIRST = "topic" in signature(aiokafka.AIOKafkaProducer._serialize).parameters  # noqa: SLF001
STRAIGHT = not _TOPIC_FIRST
"""Whether a record can be submitted as this version of aiokafka does it."""
# aiokafka bounds nothing but each partition: what the Java client's buffer.memory is by default.
_BUFFER_BYTES = 32 << 20
_MOST_RECORDS = 100_000
# Batches that may wait for each partition on the average, behind its first one.
_DEPTH = 3
# A record can fail so many request timeouts after it was accepted.
_TIMEOUTS = 3


class CountedBatch(MessageBatch):  # type: ignore[misc]
    """A batch that tells the meter what became of it.

    Not constructed: `adopt` makes one of the batch that an accumulator has made.

    Attributes:
        payload: Bytes of the values and keys in it; of a batch that the application built, its size.
    """

    _meter: BatchMeter

    @classmethod
    def adopt(cls, batch: Any, meter: BatchMeter) -> CountedBatch:
        """Make a new batch one of these."""
        batch.__class__ = cls
        batch.begin_counting(meter)
        return batch  # type: ignore[no-any-return]

    def begin_counting(self, meter: BatchMeter) -> None:
        """Begin, with an empty batch."""
        self._meter = meter
        self._create_future = self.future.get_loop().create_future
        self._closed_at = 0.0
        self.payload = 0

    def append(
        self,
        key: Any,
        value: Any,
        timestamp_ms: Any,
        _create_future: Any = None,
        headers: Any = None,
    ) -> asyncio.Future[Any] | None:
        """Add a record and return the future of its delivery; None when the batch is full."""
        # Not super().append: one more call for each record would cost more than all the counting.
        metadata = self._builder.append(timestamp=timestamp_ms, key=key, value=value, headers=headers)
        if metadata is None:
            return None
        future: asyncio.Future[Any] = self._create_future()
        self._msg_futures.append((future, metadata))
        size = (len(key) if key else 0) + (len(value) if value else 0)
        self.payload += size
        self._meter.appended_bytes += size
        return future

    def _mean_delay(self) -> float:
        """Return how long its records took on the average, in seconds: they came evenly until it was closed."""
        now = time.monotonic()
        return float(now - (self._ctime + (self._closed_at or now)) / 2)

    def drain_ready(self) -> None:
        """Close the batch, as it is about to be sent."""
        if not self._closed_at:
            self._closed_at = time.monotonic()
        super().drain_ready()

    def done(self, *args: Any, **kwargs: Any) -> None:
        """Resolve its futures."""
        first = not self.future.done()
        super().done(*args, **kwargs)
        if first:
            self._meter.count_done(self.record_count, self.payload, self._mean_delay())

    def done_noack(self) -> None:
        """Resolve its futures, without knowing more."""
        first = not self.future.done()
        super().done_noack()
        if first:
            self._meter.count_done(self.record_count, self.payload, self._mean_delay())

    def failure(self, exception: BaseException) -> None:
        """Fail its futures."""
        if not self.future.done():
            self._note(exception)
        super().failure(exception)
        if self._drain_waiter.done():
            self._drain_waiter.exception()  # or the loop complains of it, where nobody waits for the batch to leave

    def _note(self, exception: BaseException) -> None:
        """Say, to whoever is given a copy of the exception, whether the records may have been written."""
        error = note_error(exception, sent=self.retry_count > 0)
        self._meter.count_failure(self.record_count, self.payload, error)


class DeepAccumulator(MessageAccumulator):  # type: ignore[misc]
    """aiokafka's accumulator with as many batches for a partition as are needed; see the module.

    Not constructed: `adopt` makes one of the accumulator that a producer has.

    Attributes:
        filled: Called when it has become crowded.
        drained: Called when one has left that others were behind.
    """

    _meter: BatchMeter
    _behind: int
    _crowded: bool
    _turns: defaultdict[Any, asyncio.Lock]
    filled: Callable[[], None]
    drained: Callable[[], None]

    @classmethod
    def adopt(cls, producer: AIOKafkaProducer, meter: BatchMeter) -> DeepAccumulator:
        """Make the accumulator of a producer one of these."""
        accumulator: Any = producer._message_accumulator  # noqa: SLF001 - what this module is for
        # The producer and its sender have the same object, so that it is changed and not replaced.
        accumulator.__class__ = cls
        accumulator.count_for(meter)
        return accumulator  # type: ignore[no-any-return]

    def count_for(self, meter: BatchMeter) -> None:
        """Have a meter told of every batch from now on."""
        self._meter = meter
        self._behind = 0
        self._crowded = False
        self._turns = defaultdict(asyncio.Lock)
        self.filled = self.drained = do_nothing

    def crowded(self) -> bool:
        """Return whether many batches wait for the sender, behind the first one of each partition.

        From several for each partition until there is one: so that who sends without a pause gives way seldom, and the
        sender never runs dry.
        """
        behind, partitions = self._behind, len(self._batches)
        self._crowded = behind > partitions if self._crowded else behind >= _DEPTH * partitions > 0
        return self._crowded

    async def add_message(
        self, tp: Any, key: Any, value: Any, timeout: float, timestamp_ms: Any = None, headers: Any = None
    ) -> asyncio.Future[Any]:
        """Add a record and return the future of its delivery; see aiokafka's."""
        del timeout  # nothing is waited for
        return self.append(tp, key, value, timestamp_ms, headers)

    def append(self, tp: Any, key: Any, value: Any, timestamp_ms: Any, headers: Any) -> asyncio.Future[Any]:
        """Add a record and return the future of its delivery.

        Raises:
            ProducerClosed: The producer was stopped.
        """
        if self._closed or self._exception is not None:
            raise self._refusal()
        batches = self._batches.get(tp)
        if batches:
            future = batches[-1].append(key, value, timestamp_ms, headers=headers)
            if future is not None:
                return future  # type: ignore[no-any-return]
            self._wake_sender()  # a full batch need not linger
        future = self._append_batch(self.create_builder(), tp).append(
            key, value, timestamp_ms, headers=headers
        )
        if future is None:  # as things are, an empty batch takes a record of any size
            raise MessageSizeTooLargeError("aiokafka refuses a record in an empty batch")
        return future

    async def add_batch(self, builder: Any, tp: Any, timeout: float) -> asyncio.Future[Any]:
        """Add a whole batch when its partition has none that waits, first come, first served; see aiokafka's.

        Raises:
            KafkaTimeoutError: That was not so for `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        async with self._turns[tp]:  # aiokafka would have everybody try whenever a batch leaves
            return await super().add_batch(builder, tp, deadline - time.monotonic())  # type: ignore[no-any-return]

    def _refusal(self) -> BaseException:
        failed: BaseException | None = None if self._closed else copy.copy(self._exception)
        return failed or ProducerClosed()

    def _append_batch(self, builder: Any, tp: Any) -> CountedBatch:
        if self._batches.get(tp):
            self._behind += 1
            if self.crowded():
                self.filled()
        batch = CountedBatch.adopt(super()._append_batch(builder, tp), self._meter)
        if builder.record_count():  # the application has built it
            batch.payload = builder.size()
            self._meter.appended_bytes += batch.payload
        return batch

    def _pop_batch(self, tp: Any) -> Any:
        batch = super()._pop_batch(tp)
        if tp in self._batches:
            self._behind -= 1
            self.drained()
        return batch

    def _wake_sender(self) -> None:
        waiter = _waiter_of(self)
        if not waiter.done():
            waiter.set_result(None)

    def reenqueue(self, batch: Any) -> None:
        """Have a batch sent once more, unless `fail_all` came in between."""
        if not batch.future.done():
            self._behind += bool(self._batches.get(batch.tp))
            super().reenqueue(batch)

    def fail_all(self, exception: BaseException) -> None:
        """Fail every batch; those that were not sent never are."""
        # aiokafka takes a batch that was sent before out of its pending ones when it is done, whether it is there or not.
        self._pending_batches.update(
            batch for batches in self._batches.values() for batch in batches if batch.retry_count
        )
        super().fail_all(exception)
        self._batches.clear()
        self._behind = 0


def records_of(batch: Any) -> list[tuple[Any, Any, Any, Any]]:
    """Return key, value, timestamp and headers of the records in a batch that the application has built; it is closed."""
    built = DefaultRecordBatch(bytes(batch._build()))  # noqa: SLF001
    return [(each.key, each.value, each.timestamp, each.headers) for each in built]


def serialized(producer: AIOKafkaProducer, topic: Any, key: Any, value: Any, headers: Any) -> tuple[Any, Any]:
    """Return key and value as the producer's serializers make them.

    Raises:
        MessageSizeTooLargeError: They are larger than the producer allows.
    """
    args = (topic, key, value) if _TOPIC_FIRST else (key, value, headers or [])
    return producer._serialize(*args)  # type: ignore[no-any-return] # noqa: SLF001


def submit(
    producer: Any, topic: Any, value: Any, key: Any, partition: Any, timestamp_ms: Any, headers: Any
) -> asyncio.Future[Any] | None:
    """Do what aiokafka's send() does for a topic that is known, without its three coroutines.

    They would cost more than all that the gate does.

    Returns:
        The future; None where aiokafka has the words for what is wrong.
    """
    if (value is None and key is None) or (
        producer._txn_manager is not None and not may_take_records(producer)  # noqa: SLF001
    ):
        return None
    headers = headers or []
    key_bytes, value_bytes = producer._serialize(key, value, headers)  # noqa: SLF001
    number = producer._partition(topic, partition, key, value, key_bytes, value_bytes)  # noqa: SLF001
    at = TopicPartition(topic, number)
    return producer._message_accumulator.append(at, key_bytes, value_bytes, timestamp_ms, headers)  # type: ignore[no-any-return] # noqa: SLF001


def may_take_records(producer: Any) -> bool:
    """Return whether aiokafka takes a record now: with transactions, within one of them."""
    transactions = producer._txn_manager  # noqa: SLF001
    return (
        transactions is None
        or transactions.transactional_id is None
        or bool(transactions.is_in_transaction())
    )


def loop_of(producer: Any) -> asyncio.AbstractEventLoop:
    """Return the loop that a producer lives on."""
    return producer._loop  # type: ignore[no-any-return] # noqa: SLF001


def settings_of(producer: AIOKafkaProducer) -> ClientSettings:
    """Return what bounds a producer: aiokafka itself has no bound, so that Java's default for the buffer is taken."""
    timeout = producer._request_timeout_ms / 1000  # noqa: SLF001
    accumulator = producer._message_accumulator  # noqa: SLF001
    lingers: Any = accumulator if hasattr(accumulator, "_linger_time") else producer._sender  # noqa: SLF001
    return ClientSettings(
        max_messages=_MOST_RECORDS,
        buffer_bytes=_BUFFER_BYTES,
        linger=lingers._linger_time,  # noqa: SLF001
        message_timeout=_TIMEOUTS * timeout,
        client_id=producer.client._client_id,  # noqa: SLF001
        max_message_bytes=producer._max_request_size,  # noqa: SLF001
    )


def watch_requests(producer: AIOKafkaProducer, meter: BatchMeter, throttled: Callable[[float], None]) -> None:
    """Have the produce requests of a producer counted.

    Args:
        producer: The producer.
        meter: Counts them.
        throttled: Called with the seconds for which the broker holds the client back.
    """
    client = producer.client
    # No reference back: a producer that is forgotten has to go at once, to warn of that.
    reference, send = weakref.ref(client), type(client).send

    async def watched(node_id: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        present: Any = reference()
        if request.API_KEY != _PRODUCE:
            return await send(present, node_id, request, *args, **kwargs)
        meter.count_request()
        started = time.monotonic()
        response = await send(present, node_id, request, *args, **kwargs)
        meter.count_response(time.monotonic() - started)
        throttle = getattr(response, "throttle_time_ms", 0)
        if throttle:
            throttled(throttle / 1000)
        return response

    client.send = watched


class Client:
    """What the handover needs of aiokafka's producer; it refers to the producer's parts, and not to the producer."""

    def __init__(self, producer: Any, accumulator: DeepAccumulator) -> None:
        self.accumulator = accumulator
        self._client = producer.client
        self._partitioner = producer._partitioner  # noqa: SLF001

    def knows(self, topic: str) -> bool:
        """Return whether the topic's partitions are known."""
        return bool(self._client.cluster.partitions_for_topic(topic))

    async def learn(self, topic: str) -> BaseException | None:
        """Ask for them; return what stands in the way."""
        try:
            await self._client._wait_on_metadata(topic)  # noqa: SLF001
        except Exception as error:  # noqa: BLE001 - it is the outcome of the records that wait for it
            return error
        return None

    def partition(self, topic: str, partition: int, key: bytes | None, value: bytes | None) -> int:
        """Return the partition of a record, which is given or found by the key."""
        del value
        cluster = self._client.cluster
        known = cluster.partitions_for_topic(topic)
        if partition < 0:
            available = list(cluster.available_partitions_for_topic(topic))
            return self._partitioner(key, list(known), available)  # type: ignore[no-any-return]
        if partition not in known:
            raise ValueError(f"partition {partition} of {topic!r} is unknown; known: {sorted(known)}")
        return partition
