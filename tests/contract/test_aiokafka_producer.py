"""`AIOKafkaProducer`: what frameworks and aiokafka's own users lean on, with the stock class beside it."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import threading
import warnings
import weakref
from typing import TYPE_CHECKING, Any

import aiokafka
import pytest
from aiokafka.errors import (
    IllegalOperation,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerClosed,
)
from aiokafka.producer.message_accumulator import MessageAccumulator

from kafka_throttle import (
    Block,
    ConfigurationError,
    DropNewest,
    DropOldest,
    Fixed,
    Reject,
    Rejected,
    Rule,
    Spill,
    Throttle,
)
from kafka_throttle.aio import AIOKafkaProducer, Spilled
from kafka_throttle.exceptions import Shed

if TYPE_CHECKING:
    from pathlib import Path

STOCK = aiokafka.AIOKafkaProducer
NOWHERE = "127.0.0.1:1"
APPROVED = "data team, OPS-123"
lingering = pytest.mark.skipif(
    not hasattr(MessageAccumulator, "waiter"),
    reason="until 0.13 the first record of aiokafka does not linger",
)


def tight(policy: Any, limit: int = 1) -> Throttle:
    return Throttle(rules=[Rule("*", policy, loss_approved_by=APPROVED)], limit=Fixed(limit), burst=0)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "aiokafka")  # it says so for each try


async def started(loops: Any, **settings: Any) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(bootstrap_servers=loops.bootstrap, retry_backoff_ms=10, **settings)
    await producer.start()
    return producer


def adds_up(producer: AIOKafkaProducer) -> dict[str, int]:
    now = producer.statistics()
    assert now.offered == sum(now.places().values())
    assert now.offered_bytes == sum(now.places("bytes").values())
    return {place: count for place, count in now.places().items() if count}


# ---- the class


def test_it_is_a_subclass_whose_methods_take_what_aiokafkas_take() -> None:
    assert issubclass(AIOKafkaProducer, STOCK)
    for name, method in vars(STOCK).items():
        if not name.startswith("_") and inspect.isfunction(method):
            theirs = inspect.signature(method).parameters
            ours = inspect.signature(getattr(AIOKafkaProducer, name)).parameters
            assert list(ours)[: len(theirs)] == list(theirs), name
            assert inspect.iscoroutinefunction(
                getattr(AIOKafkaProducer, name)
            ) == inspect.iscoroutinefunction(method)


def test_every_keyword_of_aiokafkas_class_is_taken(loops: Any) -> None:
    names = set(inspect.signature(STOCK.__init__).parameters) - {"self", "loop", "api_version"}
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(STOCK.__init__).parameters.items()
        if name in names
    }

    async def main() -> None:
        await AIOKafkaProducer(**defaults).stop()
        with pytest.raises(TypeError, match="nonsense"):
            AIOKafkaProducer(nonsense=1)

    loops.run(main())


@pytest.mark.parametrize(
    "wrong", [{"acks": 122}, {"compression_type": "my_own"}, {"acks": 1, "enable_idempotence": True}]
)
def test_what_aiokafka_refuses_is_refused_in_its_words(loops: Any, wrong: dict[str, Any]) -> None:
    async def main() -> list[str]:
        words = []
        for kind in (STOCK, AIOKafkaProducer):
            with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are compared
                kind(**wrong)
            words.append(str(caught.value))
        gc.collect()  # half of a producer warns of nothing
        return words

    theirs, ours = loops.run(main())
    assert ours == theirs


def test_a_configuration_that_cannot_be_used_leaves_nothing_to_be_closed(loops: Any, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError):
            AIOKafkaProducer(transactional_id="t", throttle=tight(Spill(tmp_path)))
        gc.collect()

    loops.run(main())


def test_its_own_keys_may_stand_among_aiokafkas(loops: Any) -> None:
    async def main() -> None:
        producer = await started(loops, **{"throttle.limit.type": "fixed", "throttle.limit.records": 7})
        await producer.send_and_wait("topic", b"value")
        assert producer.statistics().limit_records == 7
        await producer.stop()

    loops.run(main())


def test_a_loop_may_be_given_where_none_runs(loops: Any) -> None:
    with pytest.warns(DeprecationWarning, match="loop"):
        producer = AIOKafkaProducer(bootstrap_servers=loops.bootstrap, loop=loops._loop)

    def in_a_thread() -> None:
        loops.run(producer.start())
        metadata = loops.run(producer.send_and_wait("topic", b"value", partition=0))
        assert metadata.topic == "topic"
        loops.run(producer.stop())

    raised: list[BaseException] = []

    def caught() -> None:
        try:
            in_a_thread()
        except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
            raised.append(error)

    thread = threading.Thread(target=caught)
    thread.start()
    thread.join()
    assert raised == []


def test_switched_off_it_is_aiokafkas_own(loops: Any) -> None:
    async def main() -> None:
        async with AIOKafkaProducer(
            bootstrap_servers=loops.bootstrap, throttle=Throttle(enabled=False)
        ) as producer:
            assert (await producer.send_and_wait("topic", b"value")).topic == "topic"
            assert (await producer.flush(), await producer.drain()) == (0, 0)
            with pytest.raises(RuntimeError, match="switched off"):
                producer.statistics()
        assert producer._closed

    loops.run(main())


# ---- one that is forgotten


@pytest.mark.parametrize("policy", [Block(), DropOldest(10)], ids=["wait", "keep"])
def test_a_producer_that_is_forgotten_warns_and_goes_at_once(loops: Any, policy: Any) -> None:
    words: list[str] = []
    loops._loop.set_exception_handler(lambda _, context: words.append(context["message"]))

    async def main() -> None:
        producer = await started(loops, throttle=tight(policy, 100))
        await producer.send_and_wait("topic", b"value")
        client, sender = producer.client, producer._sender
        gone = weakref.ref(producer)
        held = [producer]
        del producer
        with pytest.warns(ResourceWarning, match="Unclosed AIOKafkaProducer"):
            held.clear()
        assert gone() is None
        await sender.close()
        await client.close()

    loops.run(main())
    assert words == ["Unclosed AIOKafkaProducer"]


def test_one_that_was_never_started_goes_without_the_collector(loops: Any) -> None:
    async def main() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=NOWHERE)
        await producer.stop()
        gone = weakref.ref(producer)
        gc.disable()
        try:
            del producer
            assert gone() is None
        finally:
            gc.enable()

    loops.run(main())


# ---- sending


def test_records_are_sent_with_all_they_have(loops: Any) -> None:
    async def main() -> None:
        producer = await started(loops, key_serializer=str.encode, value_serializer=str.encode)
        metadata = await producer.send_and_wait(
            "topic", "välue", "key", partition=1, timestamp_ms=1234, headers=[("h", b"x")]
        )
        assert (metadata.topic, metadata.partition) == ("topic", 1)
        with pytest.raises(AssertionError):
            await producer.send("topic")
        with pytest.raises(AssertionError, match="Unrecognized partition"):
            await producer.send("topic", "v", "k", partition=99)
        await producer.stop()
        assert adds_up(producer) == {"delivered": 1}
        assert producer.statistics().offered_bytes == 9

    loops.run(main())


@pytest.mark.parametrize("policy", [Block(), DropOldest(10)], ids=["wait", "keep"])
def test_what_is_wrong_with_a_record_is_raised_by_send_and_counts_nowhere(loops: Any, policy: Any) -> None:
    async def main() -> None:
        producer = await started(loops, max_request_size=100, throttle=tight(policy, 100))
        for wrong in ("text", b"x" * 200, 7):
            with pytest.raises((TypeError, MessageSizeTooLargeError, AttributeError)):
                await producer.send("topic", wrong)
        await producer.stop()
        assert adds_up(producer) == {}

    loops.run(main())


@lingering
def test_a_rejection_is_a_timeout_of_aiokafka(loops: Any) -> None:
    async def main() -> None:
        producer = await started(loops, throttle=tight(Reject()), linger_ms=10_000)
        first = await producer.send("topic", b"first", partition=0)
        with pytest.raises(KafkaTimeoutError) as caught:
            await producer.send_and_wait("topic", b"second", partition=0)
        assert isinstance(caught.value, Rejected)
        await producer.stop(0)
        assert isinstance(first.exception(), ProducerClosed)

    loops.run(main())


@lingering
def test_what_is_shed_is_an_error_of_aiokafka_and_what_is_spilled_a_result(
    loops: Any, tmp_path: Path
) -> None:
    async def main() -> None:
        producer = await started(loops, throttle=tight(DropNewest()), linger_ms=10_000)
        first = await producer.send("topic", b"first", partition=0)
        with pytest.raises(KafkaError) as caught:
            await producer.send_and_wait("topic", b"second", partition=0)
        assert isinstance(caught.value, Shed)
        await producer.stop(0)
        assert isinstance(first.exception(), ProducerClosed)
        producer = await started(loops, throttle=tight(Spill(tmp_path, when="always")))
        assert isinstance(await producer.send_and_wait("topic", b"third"), Spilled)
        await producer.stop()
        assert adds_up(producer) == {"delivered": 1}

    loops.run(main())


def test_batches_of_the_application_are_counted_by_their_records(loops: Any) -> None:
    async def main() -> None:
        producer = await started(loops)
        batch = producer.create_batch()
        for n in range(10):
            batch.append(key=b"k", value=b"%d" % n, timestamp=None)
        metadata = await (await producer.send_batch(batch, "topic", partition=0))
        assert metadata.partition == 0
        await producer.stop()
        assert adds_up(producer) == {"delivered": 10}
        with pytest.raises(ProducerClosed):
            await producer.send_batch(batch, "topic", partition=0)

    loops.run(main())


@lingering
def test_a_batch_of_a_topic_whose_records_are_kept_is_offered_one_by_one(loops: Any) -> None:
    async def main() -> None:
        producer = await started(loops, throttle=tight(DropNewest(), 5), linger_ms=10_000)
        batch = producer.create_batch()
        for n in range(8):
            batch.append(key=None, value=b"%d" % n, timestamp=None)
        future = await producer.send_batch(batch, "topic", partition=0)
        with pytest.raises(Shed):
            await future
        await producer.stop(0)
        assert adds_up(producer)["shed"] == 3

    loops.run(main())


# ---- transactions, and idempotence


def test_records_are_refused_outside_a_transaction_as_aiokafka_does(loops: Any) -> None:
    async def main() -> None:
        producer = await started(loops, transactional_id="ours")
        for _ in range(2):
            with pytest.raises(IllegalOperation):
                await producer.send("topic", b"value")
        async with producer.transaction():
            await producer.send_and_wait("topic", b"value")
        with pytest.raises(IllegalOperation):
            await producer.send_batch(producer.create_batch(), "topic", partition=0)
        await producer.stop()
        assert adds_up(producer) == {"delivered": 1}

    loops.run(main())


def test_a_tight_limit_and_idempotence_go_together(loops: Any) -> None:
    async def main() -> None:
        producer = await started(loops, enable_idempotence=True, throttle=tight(Block(), 5))
        futures = await asyncio.gather(*(producer.send("topic", b"%d" % n, partition=0) for n in range(200)))
        offsets = [metadata.offset for metadata in await asyncio.gather(*futures)]
        assert offsets == sorted(offsets)
        await producer.stop()
        assert adds_up(producer) == {"delivered": 200}

    loops.run(main())


# ---- the end


def test_nothing_is_accepted_after_stop_and_to_stop_again_does_nothing(loops: Any) -> None:
    async def main() -> None:
        producer = await started(loops)
        await producer.send("topic", b"value")
        await producer.stop()
        await producer.stop()
        assert producer._closed
        for _ in range(2):
            with pytest.raises(ProducerClosed):
                await producer.send("topic", b"late")
        assert await producer.flush() == 0
        assert adds_up(producer) == {"delivered": 1}
        assert producer.statistics().state == "closed"

    loops.run(main())


@pytest.mark.parametrize("policy", [Block(), DropOldest(1000)], ids=["wait", "keep"])
def test_a_stop_without_a_time_delivers_what_was_accepted(loops: Any, policy: Any) -> None:
    async def main() -> None:
        producer = await started(loops, throttle=tight(policy, 10))
        tasks = [asyncio.ensure_future(producer.send_and_wait("topic", b"%d" % n)) for n in range(300)]
        await asyncio.sleep(0)
        await producer.stop()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [result for result in results if isinstance(result, Exception)] == []
        assert adds_up(producer) == {"delivered": 300}

    loops.run(main())


@lingering
def test_a_stop_in_the_middle_of_an_outage_ends_in_its_time_and_tells_everybody(
    loops: Any, tmp_path: Path
) -> None:
    rules = [
        Rule("topic", Block()),
        Rule("spilled", Spill(tmp_path)),
        Rule("held", DropOldest(10), loss_approved_by=APPROVED),
    ]

    async def main() -> None:
        producer = await started(
            loops, throttle=Throttle(rules=rules, limit=Fixed(1), burst=0), linger_ms=60_000
        )
        await producer.partitions_for("topic")
        sends = [
            asyncio.ensure_future(producer.send_and_wait(topic, b"value", partition=0))
            for topic in ("topic", "topic", "spilled", "held")
        ]
        while producer.statistics().offered + producer.statistics().waiting < 4:
            await asyncio.sleep(0.001)
        await producer.stop(0.01)
        first, waiting, spilled, held = await asyncio.gather(*sends, return_exceptions=True)
        assert isinstance(first, ProducerClosed)
        assert isinstance(waiting, (ProducerClosed, Rejected))
        assert isinstance(spilled, Spilled)
        assert isinstance(held, Shed)
        places = adds_up(producer)
        assert (places["spooled"], places["shed"]) == (1, 1)

    loops.run(main())


def test_nothing_is_left_to_the_collector_in_debug_mode(loops: Any) -> None:
    async def main() -> None:
        producer = await started(loops, throttle=tight(DropOldest(10), 5))
        await asyncio.gather(*(producer.send("topic", b"%d" % n) for n in range(50)))
        await producer.stop()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loops.run(main())
        gc.collect()
