"""`AIOProducer`: what can be produced, what its futures and callbacks are told, and how its callers wait."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import confluent_kafka.aio
import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from kafka_throttle import Block, Fixed, Reject, Rejected, Rule, Throttle
from kafka_throttle.aio import AIOProducer

if TYPE_CHECKING:
    from collections.abc import Callable

NOWHERE = "127.0.0.1:1"
NARROW = Throttle(limit=Fixed(1), burst=0)


async def settled(producer: AIOProducer, *forms: Callable[[AIOProducer], Any]) -> list[Any]:
    """Return what the futures of some records come to: results, or exceptions."""
    futures = [await form(producer) for form in forms]
    return await asyncio.gather(*futures, return_exceptions=True)


# ---- the class


def test_it_is_a_subclass_with_every_public_name(loops: Any) -> None:
    stock = confluent_kafka.aio.AIOProducer
    names = {name for name, value in vars(stock).items() if not name.startswith("_") and callable(value)}
    assert issubclass(AIOProducer, stock)
    assert names - set(vars(AIOProducer)) == set()  # nothing is left to what is under the other class
    assert all(inspect.iscoroutinefunction(getattr(AIOProducer, name)) for name in names)


def test_the_constructor_takes_what_the_clients_takes() -> None:
    stock = list(inspect.signature(confluent_kafka.aio.AIOProducer).parameters.values())
    ours = list(inspect.signature(AIOProducer).parameters.values())
    assert [(each.name, each.default) for each in ours] == [
        *((each.name, each.default) for each in stock),
        ("throttle", None),
    ]


def test_produce_has_the_parameters_of_the_blocking_class() -> None:
    names = ["self", "topic", "value", "key", "partition", "callback", "on_delivery", "timestamp", "headers"]
    assert list(inspect.signature(AIOProducer.produce).parameters) == names


def test_every_method_is_documented() -> None:
    undocumented = [
        name
        for name, value in vars(AIOProducer).items()
        if not name.startswith("_") and callable(value) and not value.__doc__
    ]
    assert undocumented == []


def test_the_configuration_has_to_be_a_dict(loops: Any) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="producer_conf: expected a dict, got None"):
            AIOProducer(None)  # type: ignore[arg-type]

    loops.run(main())


def test_the_configuration_is_not_changed(loops: Any) -> None:
    async def main() -> None:
        conf = {"bootstrap.servers": loops.bootstrap, "on_delivery": print, "throttle.burst": 0}
        async with AIOProducer(conf):
            assert conf == {"bootstrap.servers": loops.bootstrap, "on_delivery": print, "throttle.burst": 0}

    loops.run(main())


def test_it_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        AIOProducer({"bootstrap.servers": NOWHERE})


# ---- produce, in every form

FORMS = {
    "topic alone": (lambda p: p.produce("topic"), (None, None, None)),
    "positional": (lambda p: p.produce("topic", b"v", b"k", 1), (b"v", b"k", 1)),
    "with a positional callback": (lambda p: p.produce("topic", b"v", b"k", 1, None), (b"v", b"k", 1)),
    "all by position": (
        lambda p: p.produce("topic", b"v", b"k", 1, None, None, 1234567, [("a", b"1")]),
        (b"v", b"k", 1),
    ),
    "keywords": (lambda p: p.produce(topic="topic", value=b"v", key=b"k", partition=1), (b"v", b"k", 1)),
    "text": (lambda p: p.produce("topic", "v", "k"), (b"v", b"k", None)),
    "headers": (lambda p: p.produce("topic", b"v", headers={"a": b"1"}), (b"v", None, None)),
    "headers in order": (
        lambda p: p.produce("topic", b"v", headers=[("a", "1"), ("a", None)]),
        (b"v", None, None),
    ),
    "a timestamp": (lambda p: p.produce("topic", b"v", timestamp=1234567), (b"v", None, None)),
}


@pytest.mark.parametrize(("form", "expected"), [pytest.param(*each, id=name) for name, each in FORMS.items()])
def test_the_future_of_a_record_has_its_message(loops: Any, form: Any, expected: tuple[Any, ...]) -> None:
    async def main() -> None:
        async with loops.producer() as producer:
            (message,) = await settled(producer, form)
        value, key, partition = expected
        assert (message.topic(), message.value(), message.key()) == ("topic", value, key)
        assert partition is None or message.partition() == partition
        assert (message.error(), message.offset() >= 0) == (None, True)

    loops.run(main())


def test_headers_and_timestamps_reach_the_broker(loops: Any) -> None:
    async def main() -> Message:
        async with loops.producer() as producer:
            headers = [("a", b"1"), ("a", None), ("b", b"text")]
            (message,) = await settled(producer, lambda p: p.produce("topic", b"v", headers=headers))
        return message

    written = loops.run(main())
    read = loops.read(written)
    assert read.headers() == [("a", b"1"), ("a", None), ("b", b"text")]


WRONG = {
    "an unknown argument": (lambda p: p.produce("topic", b"v", nonsense=1), TypeError, "nonsense"),
    "too many arguments": (
        lambda p: p.produce("topic", b"v", *[None] * 8),
        TypeError,
        "positional arguments",
    ),
    "no topic": (lambda p: p.produce(), TypeError, "topic"),
    "no text as a topic": (lambda p: p.produce(5), TypeError, "must be str"),
    "no bytes as a value": (lambda p: p.produce("topic", bytearray(b"v")), TypeError, "bytearray"),
    "no number as a partition": (lambda p: p.produce("topic", b"v", partition=None), TypeError, "integer"),
    "no number as a timestamp": (lambda p: p.produce("topic", b"v", timestamp=None), TypeError, "integer"),
    "no headers": (lambda p: p.produce("topic", b"v", headers=5), TypeError, "dict or list"),
}


@pytest.mark.parametrize(
    ("form", "error", "words"), [pytest.param(*each, id=name) for name, each in WRONG.items()]
)
def test_wrong_arguments_raise(loops: Any, form: Any, error: type[Exception], words: str) -> None:
    async def main() -> None:
        async with loops.producer() as producer:
            with pytest.raises(error, match=words):
                await form(producer)

    loops.run(main())


def test_what_the_client_refuses_fails_in_the_future(loops: Any) -> None:
    async def main() -> None:
        async with loops.producer(**{"message.max.bytes": 1000}) as producer:
            (error,) = await settled(producer, lambda p: p.produce("topic", bytes(2000)))
            assert isinstance(error, KafkaException)
            assert error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE
            assert producer.statistics().rejected == 1

    loops.run(main())


def test_a_failed_delivery_raises_the_clients_exception(loops: Any) -> None:
    async def main() -> None:
        producer = loops.producer(bootstrap=NOWHERE, **{"message.timeout.ms": 1000})
        (error,) = await settled(producer, lambda p: p.produce("topic", b"v"))
        assert isinstance(error, KafkaException)
        assert error.args[0].code() == KafkaError._MSG_TIMED_OUT
        await producer.close()

    loops.run(main())


def test_a_record_is_told_when_it_is_delivered_and_not_when_others_are(loops: Any) -> None:
    async def main() -> list[bytes]:
        async with loops.producer() as producer:
            return [(await (await producer.produce("topic", b"%d" % n))).value() for n in range(5)]

    assert loops.run(main()) == [b"0", b"1", b"2", b"3", b"4"]


# ---- callbacks


def test_callbacks_run_on_the_loops_thread_in_the_order_of_the_records(loops: Any) -> None:
    told: list[Any] = []

    async def main() -> None:
        async with loops.producer() as producer:
            for n in range(1000):
                await producer.produce(
                    "topic",
                    b"%d" % n,
                    partition=0,
                    on_delivery=lambda e, m: told.append((e, m.value(), _here())),
                )
            assert await producer.flush(10) == 0
            assert len(told) == 1000  # flush() has told them

    def _here() -> int:
        return threading.get_ident()

    loops.run(main())
    assert told == [(None, b"%d" % n, _here()) for n in range(1000)]


@pytest.mark.parametrize("how", ["callback", "on_delivery", "both", "position"])
def test_a_callback_is_told_beside_the_future(loops: Any, how: str) -> None:
    told: list[Any] = []

    def take(error: Any, message: Any) -> None:
        told.append((error, message.value()))

    def other(error: Any, message: Any) -> None:
        told.append("the wrong one")

    forms: dict[str, Any] = {
        "callback": lambda p: p.produce("topic", b"v", callback=take),
        "on_delivery": lambda p: p.produce("topic", b"v", callback=None, on_delivery=take),
        "both": lambda p: p.produce("topic", b"v", callback=take, on_delivery=other),
        "position": lambda p: p.produce("topic", b"v", None, -1, take),
    }

    async def main() -> None:
        async with loops.producer() as producer:
            (message,) = await settled(producer, forms[how])
            assert message.value() == b"v"
            assert told == [(None, b"v")]

    loops.run(main())


def test_a_callback_is_told_of_a_failure(loops: Any) -> None:
    told: list[Any] = []

    async def main() -> None:
        producer = loops.producer(bootstrap=NOWHERE)
        future = await producer.produce(
            "topic", b"v", on_delivery=lambda e, m: told.append((e.code(), m.value()))
        )
        await producer.close(0)
        assert isinstance(future.exception(), KafkaException)

    loops.run(main())
    assert told == [(KafkaError._PURGE_QUEUE, b"v")]


def test_a_callback_may_be_a_coroutine_function(loops: Any) -> None:
    told: list[Any] = []

    async def main() -> None:
        done = asyncio.Event()

        async def take(error: Any, message: Any) -> None:
            await asyncio.sleep(0)
            told.append((error, message.value()))
            done.set()

        async with loops.producer() as producer:
            await producer.produce("topic", b"v", on_delivery=take)
            await done.wait()

    loops.run(main())
    assert told == [(None, b"v")]


def test_a_callback_of_the_configuration_is_told_of_records_without_their_own(loops: Any) -> None:
    told: list[Any] = []

    async def main() -> None:
        async with loops.producer(on_delivery=lambda e, m: told.append(("default", m.value()))) as producer:
            await settled(
                producer,
                lambda p: p.produce("topic", b"1", partition=0),
                lambda p: p.produce(
                    "topic", b"2", partition=0, on_delivery=lambda e, m: told.append(("own", m.value()))
                ),
            )

    loops.run(main())
    assert told == [("default", b"1"), ("own", b"2")]


def test_only_errors_are_told_where_the_configuration_says_so_but_every_future(loops: Any) -> None:
    told: list[Any] = []

    async def main() -> None:
        async with loops.producer(**{"delivery.report.only.error": True}) as producer:
            (message,) = await settled(producer, lambda p: p.produce("topic", b"1", on_delivery=told.append))
            assert message.value() == b"1"
        producer = loops.producer(bootstrap=NOWHERE, **{"delivery.report.only.error": True})
        future = await producer.produce("topic", b"2", on_delivery=lambda e, m: told.append(m.value()))
        await producer.close(0)
        assert isinstance(future.exception(), KafkaException)

    loops.run(main())
    assert told == [b"2"]


@pytest.mark.parametrize("coroutine", [False, True])
def test_what_a_callback_raises_goes_to_the_loops_handler(loops: Any, coroutine: bool) -> None:
    def fail(error: Any, message: Any) -> None:
        raise ValueError("a callback's")

    async def fail_later(error: Any, message: Any) -> None:
        raise ValueError("a callback's")

    async def main() -> None:
        async with loops.producer() as producer:
            callback = fail_later if coroutine else fail
            messages = await settled(
                producer,
                lambda p: p.produce("topic", b"1", partition=0, on_delivery=callback),
                lambda p: p.produce("topic", b"2", partition=0),
            )
            assert [message.value() for message in messages] == [b"1", b"2"]
            await loops.until(lambda: len(loops.complaints) == 1)

    loops.run(main())
    assert [str(each["exception"]) for each in loops.expected()] == ["a callback's"]


@pytest.mark.parametrize("coroutine", [False, True])
def test_the_clients_callbacks_run_on_the_loop(loops: Any, coroutine: bool) -> None:
    told: dict[str, Any] = {}

    async def main() -> None:
        def take(name: str) -> Any:
            def call(argument: Any) -> None:
                told[name] = (argument, threading.get_ident())

            async def call_later(argument: Any) -> None:
                await asyncio.sleep(0)
                call(argument)

            return call_later if coroutine else call

        producer = loops.producer(
            bootstrap=NOWHERE,
            stats_cb=take("statistics"),
            error_cb=take("error"),
            **{"statistics.interval.ms": 50},
        )
        await loops.until(lambda: {"statistics", "error"} <= told.keys())
        await producer.close(0)

    loops.run(main())
    (text, where), (error, there) = told["statistics"], told["error"]
    assert (json.loads(text)["type"], where) == ("producer", threading.get_ident())
    assert (isinstance(error, KafkaError), there) == (True, threading.get_ident())


def test_a_logger_is_told_on_the_loop(loops: Any) -> None:
    told: list[Any] = []

    class Taking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(threading.get_ident())

    async def main() -> None:
        logger = logging.getLogger("kafka_throttle.of_a_test")
        logger.addHandler(Taking())
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        producer = loops.producer(bootstrap=NOWHERE, logger=logger, log_level=7, debug="broker")
        await loops.until(lambda: bool(told))
        await producer.close(0)

    loops.run(main())
    assert set(told) == {threading.get_ident()}


def test_many_reports_leave_the_loop_to_others_in_between(loops: Any) -> None:
    async def main() -> None:
        async with loops.producer(**{"linger.ms": 100}) as producer:
            rounds = 0
            told: list[int] = []

            async def count() -> None:
                nonlocal rounds
                while True:
                    rounds += 1
                    await asyncio.sleep(0)

            for _ in range(5000):
                await producer.produce(
                    "topic", b"v", partition=0, on_delivery=lambda e, m: told.append(rounds)
                )
            counting = asyncio.ensure_future(count())
            await producer.flush(20)
            counting.cancel()
        most = max(told.count(each) for each in set(told))
        assert (len(told), most <= 256) == (5000, True)

    loops.run(main())


def test_poll_waits_for_callbacks(loops: Any) -> None:
    told: list[Any] = []

    async def main() -> None:
        async with loops.producer() as producer:
            assert await producer.poll(0) >= 0
            await producer.produce("topic", b"v", on_delivery=lambda e, m: told.append(m.value()))
            while not told:
                assert await producer.poll(10) >= 1
            assert await producer.poll() == 0
            assert await producer.poll(0.01) == 0
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(producer.poll(-1), 0.01)

    loops.run(main())
    assert told == [b"v"]


# ---- waiting


def test_callers_wait_in_the_order_in_which_they_came(loops: Any) -> None:
    async def main() -> list[bytes]:
        async with loops.producer(throttle=NARROW) as producer:
            order: list[bytes] = []
            take = lambda error, message: order.append(message.value())  # noqa: E731
            tasks = [
                asyncio.ensure_future(producer.produce("topic", b"%d" % n, partition=0, on_delivery=take))
                for n in range(100)
            ]
            await asyncio.gather(*[await task for task in tasks])
            return order

    assert loops.run(main()) == [b"%d" % n for n in range(100)]


def test_a_cancelled_caller_has_not_produced_and_costs_no_room(loops: Any) -> None:
    async def main() -> None:
        producer = loops.producer(bootstrap=NOWHERE, throttle=Throttle(limit=Fixed(2), burst=0))
        first = [await producer.produce("topic", b"%d" % n) for n in range(2)]
        waiting = [asyncio.ensure_future(producer.produce("topic", b"w%d" % n)) for n in range(4)]
        await loops.until(lambda: producer.statistics().waiting == 4)
        assert len(producer) == 6
        for task in waiting[:2]:
            task.cancel()
        await producer.purge()
        then = [await task for task in waiting[2:]]
        assert [task.cancelled() for task in waiting] == [True, True, False, False]
        assert producer.statistics().waiting == 0
        await producer.purge()
        outcomes = await asyncio.gather(*first, *then, return_exceptions=True)
        assert [error.args[0].code() for error in outcomes] == [KafkaError._PURGE_QUEUE] * 4
        assert producer.statistics().offered == 4
        assert await producer.flush(5) == 0

    loops.run(main())


def test_a_callers_own_time_is_kept(loops: Any) -> None:
    async def main() -> None:
        producer = loops.producer(bootstrap=NOWHERE, throttle=NARROW)
        first = await producer.produce("topic", b"1")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(producer.produce("topic", b"2"), 0.01)
        now = producer.statistics()
        assert (now.offered, now.waiting, now.in_flight) == (1, 0, 1)
        await producer.close(0)
        assert isinstance(first.exception(), KafkaException)

    loops.run(main())


def test_a_future_that_was_cancelled_is_delivered_all_the_same(loops: Any) -> None:
    told: list[Any] = []

    async def main() -> None:
        async with loops.producer() as producer:
            future = await producer.produce("topic", b"v", on_delivery=lambda e, m: told.append(m.value()))
            future.cancel()
        assert producer.statistics().delivered == 1

    loops.run(main())
    assert told == [b"v"]


@pytest.mark.parametrize(("policy", "reason"), [(Block(0.01), "deadline"), (Reject(), "limit")])
def test_what_finds_no_room_is_rejected_as_its_rule_says(loops: Any, policy: Any, reason: str) -> None:
    async def main() -> None:
        throttle = Throttle(rules=[Rule("*", policy)], limit=Fixed(1), burst=0)
        producer = loops.producer(bootstrap=NOWHERE, throttle=throttle)
        first = await producer.produce("topic", b"1")
        with pytest.raises(BufferError, match="not accepted") as caught:
            await producer.produce("topic", b"2")
        assert isinstance(caught.value, Rejected)
        assert (caught.value.reason, producer.statistics().rejected) == (reason, 1)
        await producer.close(0)
        assert isinstance(first.exception(), KafkaException)

    loops.run(main())


def test_a_full_client_makes_its_callers_wait(loops: Any) -> None:
    async def main() -> None:
        # More than the client holds, from one that leaves the loop no time and from many at once.
        async with loops.producer(
            throttle=Throttle(limit=Fixed(90)), **{"queue.buffering.max.messages": 100}
        ) as producer:
            futures = [await producer.produce("topic", b"%d" % n) for n in range(2000)]

            async def one(n: int) -> Any:
                return await producer.produce("topic", b"%d" % n)

            futures += await asyncio.gather(*map(one, range(2000)))
            messages = await asyncio.gather(*futures)
            assert (len(messages), {message.error() for message in messages}) == (4000, {None})
            assert producer.statistics().rejected == 0

    loops.run(main())


def test_a_full_client_changes_no_order(loops: Any) -> None:
    async def main() -> list[bytes]:
        order: list[bytes] = []
        conf = {"queue.buffering.max.messages": 10}
        async with loops.producer(**conf) as producer:
            tasks = [
                asyncio.ensure_future(
                    producer.produce(
                        "topic", b"%d" % n, partition=0, on_delivery=lambda e, m: order.append(m.value())
                    )
                )
                for n in range(500)
            ]
            await asyncio.gather(*[await task for task in tasks])
        return order

    assert loops.run(main()) == [b"%d" % n for n in range(500)]


def test_a_value_that_can_never_fit_is_refused_at_once(loops: Any) -> None:
    async def main() -> None:
        conf = {"queue.buffering.max.kbytes": 1, "message.max.bytes": 10_000}
        async with loops.producer(throttle=NARROW, **conf) as producer:
            with pytest.raises(Rejected, match="can never fit"):
                await producer.produce("topic", bytes(2000))

    loops.run(main())


def test_a_subclass_may_stand_before_produce(loops: Any) -> None:
    class Loud(AIOProducer):
        async def produce(self, topic: str, value: Any = None, *args: Any, **kwargs: Any) -> Any:
            return await super().produce(topic, value.upper(), *args, **kwargs)

    async def main() -> None:
        async with loops.producer(cls=Loud) as producer:
            (message,) = await settled(producer, lambda p: p.produce("topic", b"v"))
            assert (message.value(), type(producer).__name__ in repr(producer)) == (b"V", True)

    loops.run(main())
