"""Who calls the application's callbacks, when, and what happens when they raise or call back."""

from __future__ import annotations

import contextvars
import logging
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import confluent_kafka
import pytest

from kafka_throttle import CallbackReentryError, Fixed, Throttle
from kafka_throttle.brokers.mock import ApiKey, MockKafka

NARROW = Throttle(limit=Fixed(2))
SOON = 30.0  # seconds; reached only when something is wrong


def wait_for(producer: Any, condition: Any) -> None:
    deadline = time.monotonic() + SOON
    while not condition() and time.monotonic() < deadline:
        producer.poll(0.05)


FORMS: dict[str, Any] = {
    "poll": lambda p: p.poll(0),
    "poll by name": lambda p: p.poll(timeout=0),
    "poll float": lambda p: p.poll(0.001),
    "poll none": lambda p: p.poll(None),
    "poll text": lambda p: p.poll("x"),
    "poll two": lambda p: p.poll(0, 1),
    "poll unknown name": lambda p: p.poll(nonsense=1),
    "poll unbound": lambda p: type(p).poll(p, 0),
    "poll kept": lambda p: [f(0) for f in [p.poll] * 3],
    "flush": lambda p: p.flush(),
    "flush zero": lambda p: p.flush(0),
    "flush by name": lambda p: p.flush(timeout=1),
    "flush none": lambda p: p.flush(None),
    "flush text": lambda p: p.flush("x"),
    "flush two": lambda p: p.flush(0, 1),
    "flush unknown name": lambda p: p.flush(nonsense=1),
    "len": len,
    "bool": bool,
    "purge": lambda p: p.purge(),
    "purge by name": lambda p: p.purge(in_queue=False, in_flight=False, blocking=False),
    "purge text": lambda p: p.purge("x"),
    "purge unknown name": lambda p: p.purge(nonsense=1),
    "list_topics": lambda p: sorted(p.list_topics(timeout=10).brokers),
    "list_topics of one": lambda p: sorted(p.list_topics("topic", 10).topics),
    "list_topics text": lambda p: p.list_topics(timeout="x"),
    "list_topics unknown name": lambda p: p.list_topics(nonsense=1),
    "set_sasl_credentials": lambda p: p.set_sasl_credentials("user", "password"),
    "set_sasl_credentials none": lambda p: p.set_sasl_credentials(None, None),
    "set_sasl_credentials nothing": lambda p: p.set_sasl_credentials(),
    "init_transactions": lambda p: p.init_transactions(1),
    "init_transactions text": lambda p: p.init_transactions("x"),
    "begin_transaction": lambda p: p.begin_transaction(),
    "begin_transaction one": lambda p: p.begin_transaction(1),
    "commit_transaction": lambda p: p.commit_transaction(1),
    "abort_transaction": lambda p: p.abort_transaction(1),
    "send_offsets_to_transaction": lambda p: p.send_offsets_to_transaction([], None, 1),
    "send_offsets_to_transaction nothing": lambda p: p.send_offsets_to_transaction(),
}


@pytest.mark.parametrize("form", [pytest.param(form, id=name) for name, form in FORMS.items()])
def test_every_form_comes_to_the_same(sides: Any, form: Any) -> None:
    sides.compare(form)


def test_transactions_take_no_names(make: Any) -> None:
    with pytest.raises(TypeError, match=r"init_transactions\(\) takes no keyword arguments"):
        make().init_transactions(timeout=1)


def test_transactions_work(make: Any) -> None:
    producer = make(**{"transactional.id": "test"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce("topic", b"value")
    producer.commit_transaction(30)
    producer.begin_transaction()
    producer.produce("topic", b"value")
    producer.abort_transaction(30)
    assert producer.flush(30) == 0


def test_poll_says_whether_it_ran_something(sides: Any) -> None:
    # The client counts batches of reports, not reports.
    for producer in (sides.stock(), sides.facade(), sides.facade(throttle=NARROW)):
        told: list[Any] = []
        for _ in range(5):
            producer.produce("topic", b"v", on_delivery=lambda *report, told=told: told.append(report))
        assert producer.poll(SOON) >= 1
        producer.flush(SOON)
        assert (len(told), producer.poll(0)) == (5, 0)


# ---- exceptions


def raising(told: list[int], which: int) -> Any:
    def report(error: Any, message: Any) -> None:
        told.append(which)
        raise LookupError(which)

    return report


def test_poll_stops_at_a_callback_that_raises(make: Any) -> None:
    told: list[int] = []
    producer = make()
    for i in range(3):
        producer.produce("topic", b"v", partition=0, on_delivery=raising(told, i))
    for i in range(3):
        with pytest.raises(LookupError, match=str(i)):
            producer.poll(SOON)
    assert (told, producer.flush(SOON)) == ([0, 1, 2], 0)


def test_flush_serves_the_rest_and_raises_one(make: Any) -> None:
    told: list[int] = []
    producer = make()
    for i in range(3):
        producer.produce("topic", b"v", partition=0, on_delivery=raising(told, i))
    with pytest.raises(LookupError):
        producer.flush(SOON)
    assert (told, len(producer), producer.flush(SOON)) == ([0, 1, 2], 0, 0)


def test_close_raises_and_closes(sides: Any) -> None:
    seen: list[list[int]] = []
    for make in (sides.stock, sides.facade):
        told: list[int] = []
        producer = make()
        for i in range(3):
            producer.produce("topic", b"v", partition=0, on_delivery=raising(told, i))
        with pytest.raises(LookupError, match="0"):
            producer.close()
        with pytest.raises(RuntimeError, match="Producer has been closed"):
            producer.produce("topic", b"v")
        seen.append(told)
    assert seen[1] == seen[0]


def test_what_was_put_off_raises_where_the_client_would_have_raised(sides: Any) -> None:
    told: list[int] = []
    producer = sides.facade(throttle=NARROW)
    for i in range(6):  # waits, and so puts off what is reported meanwhile
        producer.produce("topic", b"v", partition=0, on_delivery=raising(told, i))
    assert (told, producer.statistics().deferred_callbacks >= 3) == ([], True)
    with pytest.raises(LookupError, match="0"):
        producer.poll(0)
    assert told == [0]
    with pytest.raises(LookupError):
        producer.flush(SOON)
    assert told == [0, 1, 2, 3, 4, 5]


def test_what_was_put_off_still_counts_as_queued(sides: Any) -> None:
    producer = sides.facade(throttle=NARROW)
    for _ in range(6):
        producer.produce("topic", b"v", on_delivery=lambda *report: None)
    assert len(producer) >= 6


# ---- callbacks run in the application's own calls alone


class Calls:
    """Writes down whether a callback runs inside one of the application's polls, and in which thread."""

    def __init__(self) -> None:
        self.polling = False
        self.seen: dict[str, list[tuple[bool, int]]] = {}

    def note(self, name: str) -> Any:
        def callback(*args: Any) -> None:
            self.seen.setdefault(name, []).append((self.polling, threading.get_ident()))

        return callback


class Log(logging.Handler):
    def __init__(self, note: Any) -> None:
        super().__init__()
        self.emit = note  # type: ignore[method-assign]


def test_every_callback_waits_for_the_applications_poll(sides: Any) -> None:
    calls = Calls()
    logger = logging.getLogger("tests.contract")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    handler = Log(calls.note("logger"))
    logger.addHandler(handler)
    producer = sides.facade(
        throttle=NARROW,
        error_cb=calls.note("error_cb"),
        stats_cb=calls.note("stats_cb"),
        throttle_cb=calls.note("throttle_cb"),
        on_delivery=calls.note("on_delivery"),
        logger=logger,
        debug="msg",
        **{"statistics.interval.ms": 5, "log_level": 7},
    )
    for i in range(300):
        kwargs = {"callback": calls.note("callback")} if i % 2 else {}
        producer.produce("topic", b"v", **kwargs)
    assert calls.seen == {}
    calls.polling = True
    producer.flush(SOON)
    wait_for(producer, lambda: {"stats_cb", "logger"} <= set(calls.seen))
    assert {"stats_cb", "logger", "on_delivery", "callback"} <= set(calls.seen)
    assert {place for places in calls.seen.values() for place in places} == {(True, threading.get_ident())}
    assert (len(calls.seen["callback"]), len(calls.seen["on_delivery"])) == (150, 150)


@pytest.mark.parametrize("timeout", [0.1, 0.0])
def test_callbacks_run_in_the_order_of_the_reports_whoever_polls_beside(sides: Any, timeout: float) -> None:
    told: list[int] = []
    ended = threading.Event()
    producer = sides.facade(throttle=Throttle(limit=Fixed(20)), **{"linger.ms": 0})

    def poll() -> None:
        while not ended.is_set():
            producer.poll(timeout)

    with ThreadPoolExecutor(1) as other:
        polling = other.submit(poll)
        for i in range(5000):  # waits again and again, and would poll
            producer.produce("topic", b"v", partition=0, on_delivery=lambda *_, i=i: told.append(i))
        ended.set()
        polling.result(SOON)
    assert producer.flush(SOON) == 0
    assert told == list(range(5000))


# cluster_id() is not in every version of the client that is allowed.
CALLS_WITHOUT = [
    name
    for name in ("list_topics", "cluster_id", "set_sasl_credentials")
    if hasattr(confluent_kafka.Producer, name)
]


@pytest.mark.parametrize("call", CALLS_WITHOUT)
def test_calls_without_callbacks_run_none_that_were_put_off(sides: Any, call: str) -> None:
    told: list[int] = []
    producer = sides.facade(throttle=NARROW)
    for i in range(6):
        producer.produce("topic", b"v", on_delivery=lambda *_, i=i: told.append(i))
    getattr(producer, call)(*{"set_sasl_credentials": ("user", "password")}.get(call, ()))
    assert told == []
    assert producer.flush(SOON) == 0
    assert sorted(told) == list(range(6))


def test_error_callbacks_arrive(make: Any) -> None:
    told: list[Any] = []
    producer = make(**{"bootstrap.servers": "127.0.0.1:1", "error_cb": told.append})
    wait_for(producer, lambda: told)
    assert told[0].name() in {"_TRANSPORT", "_ALL_BROKERS_DOWN"}


def test_callbacks_run_in_the_context_of_the_poll(make: Any) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody")
    told: list[str] = []
    producer = make()
    produce = contextvars.copy_context()
    produce.run(variable.set, "producing")
    for _ in range(4):
        produce.run(producer.produce, "topic", b"v", on_delivery=lambda *_: told.append(variable.get()))
    poll = contextvars.copy_context()
    poll.run(variable.set, "polling")
    poll.run(producer.flush, SOON)
    assert told == ["polling"] * 4


# ---- calls from inside callbacks


def test_producing_counting_and_purging_are_possible_in_a_callback(make: Any) -> None:
    told: list[Any] = []
    producer = make()

    def again(error: Any, message: Any) -> None:
        told.append(message.value())
        if len(told) < 5:
            producer.produce("topic", str(len(told)), on_delivery=again)
        assert len(producer) >= 0
        assert producer
        producer.purge(in_queue=False, in_flight=False)

    producer.produce("topic", b"0", on_delivery=again)
    wait_for(producer, lambda: len(told) == 5)
    assert told == [b"0", b"1", b"2", b"3", b"4"]


def test_a_batch_is_possible_in_a_callback(make: Any) -> None:
    told: list[Any] = []
    producer = make()
    producer.produce(
        "topic", b"0", on_delivery=lambda *_: told.append(producer.produce_batch("topic", [{"value": b"1"}]))
    )
    assert (producer.flush(SOON), told) == (0, [1])


def test_a_callback_never_waits_for_room(sides: Any) -> None:
    producer = sides.facade(throttle=NARROW)
    produced: list[int] = []

    def many(error: Any, message: Any) -> None:
        for i in range(50):  # far more than the limit
            producer.produce("topic", b"v")
            produced.append(i)

    producer.produce("topic", b"v", on_delivery=many)
    assert (producer.flush(SOON), len(produced)) == (0, 50)


REENTRANT: dict[str, Any] = {
    "poll": lambda p: p.poll(0),
    "flush": lambda p: p.flush(0),
    "list_topics": lambda p: p.list_topics(timeout=1),
    "close": lambda p: p.close(),
    "__exit__": lambda p: p.__exit__(None, None, None),
    "init_transactions": lambda p: p.init_transactions(1),
    "commit_transaction": lambda p: p.commit_transaction(1),
    "abort_transaction": lambda p: p.abort_transaction(1),
    "send_offsets_to_transaction": lambda p: p.send_offsets_to_transaction([], None, 1),
}


@pytest.mark.parametrize("waited", [False, True])
@pytest.mark.parametrize("name", REENTRANT)
def test_a_call_that_would_abort_the_process_is_refused(sides: Any, name: str, waited: bool) -> None:
    producer = sides.facade(throttle=NARROW)
    caught: list[str] = []

    def callback(error: Any, message: Any) -> None:
        try:
            REENTRANT[name](producer)
        except CallbackReentryError as refused:
            caught.append(str(refused))

    for _ in range(5 if waited else 1):
        producer.produce("topic", b"v", on_delivery=callback)
    assert producer.flush(SOON) == 0
    expected = (
        f"{name}() was called from inside a callback of the same producer, where the client would abort the process: "
        "only produce(), purge() and len() are possible there"
    )
    assert caught == [expected] * (5 if waited else 1)
    producer.produce("topic", b"still open")
    assert producer.statistics().state != "closed"


def test_another_producer_can_be_polled_in_a_callback(sides: Any) -> None:
    told: list[Any] = []
    first, second = sides.facade(), sides.facade()
    second.produce("topic", b"v", on_delivery=lambda *_: told.append("second"))
    first.produce("topic", b"v", on_delivery=lambda *_: told.append(second.flush(SOON)))
    assert (first.flush(SOON), told) == (0, ["second", 0])


def test_another_thread_can_poll_while_one_is_in_a_callback(sides: Any) -> None:
    told: list[Any] = []
    producer = sides.facade()
    with ThreadPoolExecutor(1) as other:
        producer.produce(
            "topic", b"v", on_delivery=lambda *_: told.append(other.submit(producer.poll, 0).result(SOON))
        )
        producer.flush(SOON)
    assert told == [0]


# ---- signal handlers are no callbacks


@pytest.fixture
def in_a_moment() -> Any:
    """Have something called by a signal handler, in the main thread, while it waits."""
    before = signal.getsignal(signal.SIGALRM)

    def arrange(call: Any, seconds: float = 0.1) -> None:
        signal.signal(signal.SIGALRM, lambda *_: call())
        signal.setitimer(signal.ITIMER_REAL, seconds)

    yield arrange
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def produce_many(producer: Any, records: int) -> None:
    for _ in range(records):
        producer.produce("topic", b"v")


class Stop(Exception):
    pass


@pytest.mark.parametrize("wait", ["poll", "flush"])
def test_a_signal_handler_may_flush_and_leave(
    mock_kafka: MockKafka, sides: Any, in_a_moment: Any, wait: str
) -> None:
    mock_kafka.set_rtt(0.3)
    for make in (sides.stock, sides.facade):
        told: list[Any] = []
        producer = make(**{"bootstrap.servers": mock_kafka.bootstrap})

        def leave(producer: Any = producer, told: list[Any] = told) -> None:
            told.append(producer.flush(SOON))
            raise Stop

        producer.produce("topic", b"v", on_delivery=lambda *_, told=told: told.append("reported"))
        in_a_moment(leave)
        with pytest.raises(Stop):
            getattr(producer, wait)(SOON)
        assert told == ["reported", 0]


def test_a_signal_handler_may_produce_while_the_client_polls(
    mock_kafka: MockKafka, sides: Any, in_a_moment: Any
) -> None:
    # Were the facade to poll here, the client would crash at its next callback.
    mock_kafka.set_rtt(0.3)
    told: list[int] = []
    producer = sides.facade(throttle=NARROW, **{"bootstrap.servers": mock_kafka.bootstrap})

    def produce() -> None:
        for i in range(10):
            producer.produce("topic", b"v", on_delivery=lambda *_, i=i: told.append(i))

    producer.produce("topic", b"v", on_delivery=lambda *_: told.append(-1))
    in_a_moment(produce)
    producer.flush(SOON)
    assert sorted(told) == list(range(-1, 10))


def test_a_signal_handler_may_produce_while_produce_waits(
    mock_kafka: MockKafka, sides: Any, in_a_moment: Any
) -> None:
    # Behind the call that it interrupts, it would wait for ever.
    mock_kafka.set_rtt(0.3)
    told: list[str] = []
    producer = sides.facade(throttle=NARROW, **{"bootstrap.servers": mock_kafka.bootstrap})
    in_a_moment(lambda: producer.produce("topic", b"v", on_delivery=lambda *_: told.append("handler")))
    for _ in range(6):
        producer.produce("topic", b"v", on_delivery=lambda *_: told.append("main"))
    assert producer.flush(SOON) == 0
    assert sorted(told) == ["handler", *["main"] * 6]


def test_an_interrupted_produce_leaves_nothing_behind(
    mock_kafka: MockKafka, sides: Any, in_a_moment: Any
) -> None:
    mock_kafka.set_rtt(0.3)
    producer = sides.facade(throttle=NARROW, **{"bootstrap.servers": mock_kafka.bootstrap})

    def leave() -> None:
        raise Stop

    in_a_moment(leave)
    with pytest.raises(Stop):
        produce_many(producer, 100)
    assert producer.statistics().waiting == 0


def test_broker_errors_reach_the_callback_with_the_record(mock_kafka: MockKafka, make: Any) -> None:
    told: list[Any] = []
    producer = make(**{"bootstrap.servers": mock_kafka.bootstrap})
    mock_kafka.push_errors(ApiKey.PRODUCE, "TOPIC_AUTHORIZATION_FAILED")
    producer.produce(
        "topic", b"value", b"key", on_delivery=lambda e, m: told.append((e.name(), m.value(), m.key()))
    )
    assert producer.flush(SOON) == 0
    assert told == [("TOPIC_AUTHORIZATION_FAILED", b"value", b"key")]
