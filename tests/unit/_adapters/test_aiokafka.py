"""What leans on private parts of aiokafka: the deep accumulator, its batches, and the connection."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from types import SimpleNamespace
from typing import Any

import aiokafka
import aiokafka.errors
import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaTimeoutError, ProducerClosed
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.structs import TopicPartition

from kafka_throttle._adapters.aiokafka import (
    DeepAccumulator,
    records_of,
    serialized,
    settings_of,
    watch_requests,
)
from kafka_throttle._adapters.aiokafka_errors import as_kafka_error
from kafka_throttle._adapters.batch_meter import BatchMeter

TP = TopicPartition("orders", 0)
OTHER = TopicPartition("orders", 1)
BATCH = 300
"""Bytes of a batch: some records of a few bytes each."""


class Sender:
    """An accumulator with its meter, and what aiokafka's sender does with it."""

    def __init__(self, **settings: Any) -> None:
        self.cluster = ClusterMetadata(metadata_max_age_ms=10_000)
        self.cluster.leader_for_partition = lambda tp: 0
        accumulator = MessageAccumulator(self.cluster, BATCH, 0, 30, **settings)
        if hasattr(accumulator, "set_api_version"):  # until 0.12
            accumulator.set_api_version((2, 1, 0))
        self.meter = BatchMeter()
        self.accumulator = DeepAccumulator.adopt(
            SimpleNamespace(_message_accumulator=accumulator),
            self.meter,  # type: ignore[arg-type]
        )
        self.problems: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.problems.append(context))

    def append(self, value: bytes, tp: TopicPartition = TP, key: bytes | None = None) -> asyncio.Future[Any]:
        return self.accumulator.append(tp, key, value, None, [])

    def take(self) -> list[Any]:
        """Return the next batch of each partition."""
        nodes, _ = self.accumulator.drain_by_nodes(ignore_nodes=[])
        return list(nodes[0].values()) if nodes else []

    def take_all(self) -> list[Any]:
        """Return all batches, in the order in which they are sent."""
        taken: list[Any] = []
        while batches := self.take():
            taken += batches
        return taken

    def counted(self) -> tuple[int, int, int, int]:
        reading = self.meter.reading(SimpleNamespace(ticket=0))
        return reading.acked, reading.acked_bytes, reading.failed, reading.unknown


def values(batch: Any) -> list[bytes]:
    return [record.value for record in DefaultRecordBatch(bytes(batch.get_data_buffer()))]


# ---- records in batches


async def test_who_finds_the_batch_full_waits_for_nothing_and_keeps_the_order() -> None:
    sender = Sender()
    expected = [b"%03d" % n for n in range(100)]
    futures = [sender.append(value) for value in expected]
    batches = sender.take_all()
    assert len(batches) > 2
    assert [value for batch in batches for value in values(batch)] == expected
    for offset, batch in enumerate(batches):
        batch.done(base_offset=1000 * offset)
    metadata = [await future for future in futures]
    assert [each.offset for each in metadata] == sorted(each.offset for each in metadata)


async def test_the_short_way_and_the_long_way_are_one_line() -> None:
    sender = Sender()
    for n in range(40):
        if n % 2:
            await sender.accumulator.add_message(TP, None, b"%03d" % n, 1.0)
        else:
            sender.append(b"%03d" % n)
    assert [value for batch in sender.take_all() for value in values(batch)] == [
        b"%03d" % n for n in range(40)
    ]


async def test_a_record_may_have_no_headers() -> None:
    sender = Sender()
    await sender.accumulator.add_message(TP, b"k", b"v", 1.0)
    assert [values(batch) for batch in sender.take()] == [[b"v"]]


async def test_a_record_that_is_larger_than_a_batch_goes_alone() -> None:
    sender = Sender()
    for value in (b"small", b"x" * 5 * BATCH, b"small"):
        sender.append(value)
    assert [len(values(batch)) for batch in sender.take_all()] == [1, 1, 1]


@pytest.mark.skipif(
    not hasattr(MessageAccumulator, "waiter"), reason="until 0.13 it is the sender who lingers"
)
async def test_a_full_batch_does_not_linger() -> None:
    sender = Sender(linger_ms=60_000)
    sender.append(b"first")
    assert sender.take() == []
    waiter = sender.accumulator.waiter()
    while not sender.accumulator._behind:
        assert not waiter.done()
        sender.append(b"more")
    assert waiter.done()
    assert len(sender.take_all()) == 1


async def test_a_record_whose_future_is_cancelled_is_sent_all_the_same() -> None:
    sender = Sender()
    sender.append(b"1").cancel()
    other = sender.append(b"2")
    (batch,) = sender.take()
    batch.done(base_offset=5)
    assert values(batch) == [b"1", b"2"]
    assert (await other).offset == 6
    assert sender.counted() == (2, 2, 0, 0)


async def test_what_is_no_bytes_is_refused_and_harms_nobody() -> None:
    sender = Sender()
    with pytest.raises(TypeError):
        sender.append("text")  # type: ignore[arg-type]
    future = sender.append(b"fine")
    (batch,) = sender.take()
    batch.done(base_offset=0)
    assert (await future).offset == 0
    assert sender.counted() == (1, 4, 0, 0)


async def test_a_batch_that_is_sent_once_more_stays_before_those_behind_it() -> None:
    sender = Sender()
    expected = [b"%03d" % n for n in range(40)]
    for value in expected:
        sender.append(value)
    (first,) = sender.take()
    sender.accumulator.reenqueue(first)
    assert [value for batch in sender.take_all() for value in values(batch)] == expected


async def test_it_is_crowded_while_many_batches_wait_for_the_sender() -> None:
    sender = Sender()
    calls: list[str] = []
    sender.accumulator.filled = lambda: calls.append("filled")
    sender.accumulator.drained = lambda: calls.append("drained")
    while not sender.accumulator.crowded():
        sender.append(b"value")
        assert len(calls) < 2
    assert calls == ["filled"]
    for batch in sender.take_all():
        batch.done(base_offset=0)
    assert not sender.accumulator.crowded()
    assert set(calls[1:]) == {"drained"}


# ---- batches of the application


def built(accumulator: Any, *records: bytes) -> Any:
    builder = accumulator.create_builder()
    for value in records:
        assert builder.append(timestamp=None, key=None, value=value) is not None
    return builder


async def test_batches_of_the_application_go_one_after_the_other() -> None:
    sender = Sender()
    tasks = [
        asyncio.ensure_future(sender.accumulator.add_batch(built(sender.accumulator, b"%d" % n), TP, 5.0))
        for n in range(3)
    ]
    sent = []
    while len(sent) < 3:
        await asyncio.sleep(0)
        for batch in sender.take():
            sent += values(batch)
            batch.done(base_offset=len(sent))
    assert sent == [b"0", b"1", b"2"]
    assert [(await (await task)).offset for task in tasks] == [1, 2, 3]
    assert sender.counted()[0] == 3


async def test_a_batch_that_finds_no_place_times_out() -> None:
    sender = Sender()
    await sender.accumulator.add_batch(built(sender.accumulator, b"1"), TP, 5.0)
    with pytest.raises(KafkaTimeoutError):
        await sender.accumulator.add_batch(built(sender.accumulator, b"2"), TP, 0.001)
    assert [values(batch) for batch in sender.take_all()] == [[b"1"]]


async def test_a_batch_that_is_cancelled_in_the_line_lets_the_next_one_go() -> None:
    sender = Sender()
    accumulator = sender.accumulator
    await accumulator.add_batch(built(accumulator, b"1"), TP, 5.0)
    second = asyncio.ensure_future(accumulator.add_batch(built(accumulator, b"2"), TP, 5.0))
    third = asyncio.ensure_future(accumulator.add_batch(built(accumulator, b"3"), TP, 5.0))
    await asyncio.sleep(0)
    second.cancel()
    sender.take()
    await third
    assert [values(batch) for batch in sender.take_all()] == [[b"3"]]


async def test_a_batch_of_the_application_is_weighed_as_it_is() -> None:
    sender = Sender()
    builder = built(sender.accumulator, b"value", b"value")
    size = builder.size()
    await sender.accumulator.add_batch(builder, TP, 5.0)
    (batch,) = sender.take()
    batch.done(base_offset=0)
    assert sender.counted() == (2, size, 0, 0)
    assert sender.meter.brief(SimpleNamespace(ticket=2)).admitted_bytes == size


async def test_the_records_of_a_batch_can_be_taken_out() -> None:
    builder = Sender().accumulator.create_builder()
    builder.append(timestamp=1234, key=b"k", value=b"v", headers=[("h", b"x"), ("n", None)])
    builder.append(timestamp=5678, key=None, value=None)
    assert [
        (key, value, timestamp, list(headers)) for key, value, timestamp, headers in records_of(builder)
    ] == [(b"k", b"v", 1234, [("h", b"x"), ("n", None)]), (None, None, 5678, [])]


# ---- the end


async def test_who_comes_after_the_end_is_refused() -> None:
    sender = Sender()
    await sender.accumulator.close()
    with pytest.raises(ProducerClosed):
        sender.append(b"late")
    with pytest.raises(ProducerClosed):
        await sender.accumulator.add_batch(built(sender.accumulator, b"late"), TP, 1.0)


async def test_when_the_sender_has_failed_everybody_is_told_so() -> None:
    sender = Sender()
    futures = [sender.append(b"%03d" % n, tp) for n in range(40) for tp in (TP, OTHER)]
    sender.accumulator.fail_all(KeyError("lost"))
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {KeyError}
    with pytest.raises(KeyError):
        sender.append(b"late")
    assert sender.counted() == (80, 240, 80, 0)


async def test_what_was_given_up_is_never_sent() -> None:
    sender = Sender()
    for n in range(40):
        sender.append(b"%03d" % n).add_done_callback(lambda future: future.exception())
    (sent,) = sender.take()
    (again,) = sender.take()
    sender.accumulator.reenqueue(again)
    sender.accumulator.fail_all(ProducerClosed())
    sender.accumulator.reenqueue(sent)  # its request has failed at that moment
    await asyncio.sleep(0)
    assert sender.take_all() == []
    assert sender.accumulator._pending_batches == set()
    del sent, again
    gc.collect()
    assert sender.problems == []
    await sender.accumulator.flush()


async def test_what_was_never_sent_is_failed_and_what_was_may_be_written() -> None:
    sender = Sender()
    futures = [sender.append(b"sent")]
    sender.take()
    futures += [sender.append(b"not sent")]
    sender.accumulator.fail_all(ProducerClosed())
    errors = [as_kafka_error(problem) for problem in await asyncio.gather(*futures, return_exceptions=True)]  # type: ignore[arg-type]
    assert [error.name() for error in errors] == ["_PURGE_INFLIGHT", "_PURGE_QUEUE"]
    assert sender.counted() == (2, 12, 1, 1)


async def test_a_flush_waits_for_all_that_is_there() -> None:
    sender = Sender()
    futures = [sender.append(b"%03d" % n) for n in range(40)]
    flushed = asyncio.ensure_future(sender.accumulator.flush())
    await asyncio.sleep(0)
    for batch in sender.take_all():
        assert not flushed.done()
        batch.done(base_offset=0)
    await flushed
    assert all(future.done() for future in futures)


# ---- what is counted


async def test_a_batch_is_counted_once_whatever_is_said_of_it_afterwards() -> None:
    sender = Sender()
    sender.append(b"value", key=b"key")
    reports: list[int] = []
    sender.meter.reported = lambda: reports.append(1)
    (batch,) = sender.take()
    batch.done(base_offset=0)
    batch.done_noack()
    batch.failure(KafkaTimeoutError())
    assert (sender.counted(), reports) == ((1, 8, 0, 0), [1])


async def test_delays_are_those_of_records_that_came_evenly_until_their_batch_was_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sender = Sender()
    sender.append(b"value")
    (batch,) = sender.take()
    batch._ctime, batch._closed_at = 100.0, 110.0
    monkeypatch.setattr(time, "monotonic", lambda: 115.0)
    batch.done(base_offset=0)
    delays = sender.meter.reading(SimpleNamespace(ticket=1)).delays
    assert (sum(delays.counts), delays.samples, delays.total) == (1, 1, 10.0)


# ---- the producer's settings, and its connection


async def test_what_bounds_a_producer() -> None:
    producer = aiokafka.AIOKafkaProducer(
        client_id="app", linger_ms=20, request_timeout_ms=2000, max_request_size=5000
    )
    settings = settings_of(producer)
    assert (settings.client_id, settings.linger, settings.message_timeout) == ("app", 0.02, 6.0)
    assert (settings.max_message_bytes, settings.buffer_bytes) == (5000, 32 << 20)
    await producer.stop()


async def test_values_are_serialized_as_the_producer_does() -> None:
    producer = aiokafka.AIOKafkaProducer(value_serializer=str.encode, max_request_size=100)
    producer._producer_magic = 1  # as start() sets it, until 0.12
    assert serialized(producer, "orders", b"k", "text", None) == (b"k", b"text")
    with pytest.raises(aiokafka.errors.MessageSizeTooLargeError):
        serialized(producer, "orders", None, "x" * 200, None)
    await producer.stop()


class Connection:
    """In the place of aiokafka's client: answers requests."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.answer: Any = SimpleNamespace(throttle_time_ms=0)

    async def send(self, node_id: int, request: Any, *, group: int = 0) -> Any:
        self.sent.append((node_id, request, group))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def requests(meter: BatchMeter) -> tuple[int, int]:
    reading = meter.reading(SimpleNamespace(ticket=0))
    return reading.requests, reading.responses


def produce_request() -> Any:
    kinds: Any = ProduceRequest
    kind = kinds[0] if isinstance(kinds, (list, tuple)) else kinds
    return kind.__new__(kind)


async def test_produce_requests_are_counted_and_the_brokers_throttle_is_told() -> None:
    connection, meter, throttled = Connection(), BatchMeter(), []
    watch_requests(SimpleNamespace(client=connection), meter, throttled.append)  # type: ignore[arg-type]
    other = SimpleNamespace(API_KEY=3)
    assert await connection.send(1, other, group=2) is connection.answer
    assert (connection.sent, requests(meter)) == ([(1, other, 2)], (0, 0))
    await connection.send(1, produce_request())
    connection.answer = SimpleNamespace(throttle_time_ms=250)
    await connection.send(1, produce_request())
    assert (requests(meter), throttled) == ((2, 2), [0.25])


async def test_a_request_without_a_response_stays_open() -> None:
    connection, meter = Connection(), BatchMeter()
    watch_requests(SimpleNamespace(client=connection), meter, lambda seconds: None)  # type: ignore[arg-type]
    connection.answer = aiokafka.errors.RequestTimedOutError()
    with pytest.raises(aiokafka.errors.RequestTimedOutError):
        await connection.send(1, produce_request())
    assert requests(meter) == (1, 0)


async def test_to_watch_a_connection_keeps_it_from_nothing() -> None:
    connection = Connection()
    gone = weakref.ref(connection)
    watch_requests(SimpleNamespace(client=connection), BatchMeter(), lambda seconds: None)  # type: ignore[arg-type]
    gc.disable()
    try:
        del connection
        assert gone() is None
    finally:
        gc.enable()
