"""The topic sink: its own client, its bound, one report for each letter, and its end in every circumstance."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from confluent_kafka import KafkaError, KafkaException

from kafka_throttle._dead_letter import Letter, open_sink
from kafka_throttle._dead_letter.dialects import headers_of
from kafka_throttle._dead_letter.topic_sink import TopicSink, client_conf
from kafka_throttle.exceptions import DeadLetterError
from kafka_throttle.policies.dead_letter import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Iterator

CONF = {"bootstrap.servers": "broker:9092"}


class FakeClient:
    """Reports what it is told to, in poll()."""

    def __init__(self, conf: dict[str, Any]) -> None:
        self.conf = conf
        self.produced: list[dict[str, Any]] = []
        self.refuse_with: BaseException | None = None
        self.reports: queue.Queue[Any] = queue.Queue()
        self.reported: set[int] = set()
        self.purged = False

    def produce(self, topic: str, value: Any, key: Any, *, headers: Any, on_delivery: Any) -> None:
        if self.refuse_with is not None:
            raise self.refuse_with
        self.produced.append(
            {"topic": topic, "value": value, "key": key, "headers": headers, "on_delivery": on_delivery}
        )

    def report(self, number: int, error: int | None = None) -> None:
        self.reported.add(number)
        known = None if error is None else KafkaError(error)
        self.reports.put((self.produced[number]["on_delivery"], known))

    def poll(self, timeout: float) -> int:
        try:
            on_delivery, error = self.reports.get(timeout=timeout)
        except queue.Empty:
            return 0
        on_delivery(error, None)
        return 1

    def purge(self) -> None:
        self.purged = True
        for number in set(range(len(self.produced))) - self.reported:
            self.report(number, KafkaError._PURGE_QUEUE)


class Stage:
    """A sink with its fake client, and the reports that arrived."""

    def __init__(self, **options: Any) -> None:
        self.clients: list[FakeClient] = []
        self.arrived: queue.Queue[BaseException | None] = queue.Queue()
        self.sink = TopicSink(CONF, "dead", make_client=self.make, **options)

    def make(self, conf: dict[str, Any]) -> FakeClient:
        self.clients.append(FakeClient(conf))
        return self.clients[-1]

    @property
    def client(self) -> FakeClient:
        return self.clients[-1]

    def write(self, letter: Letter) -> None:
        self.sink.write(letter, self.arrived.put)

    def refusal(self, letter: Letter) -> str:
        with pytest.raises(DeadLetterError) as caught:
            self.write(letter)
        return str(caught.value)

    def next(self) -> BaseException | None:
        return self.arrived.get(timeout=30)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage(max_records=2)
    yield stage
    stage.sink.close(0)


def test_client_and_thread_come_with_the_first_letter_and_go_with_close(letter: Letter) -> None:
    before = threading.active_count()
    stage = Stage()
    assert (stage.clients, threading.active_count()) == ([], before)

    stage.write(letter)
    stage.write(letter)
    thread = next(t for t in threading.enumerate() if t.name == "kafka_throttle-dead-letters")
    assert (len(stage.clients), threading.active_count(), thread.daemon) == (1, before + 1, False)

    stage.client.report(0)
    stage.client.report(1)
    assert (stage.sink.close(30), thread.is_alive()) == (0, False)
    assert stage.sink.close() == 0


def test_a_letter_is_a_message_in_its_dialect(letter: Letter) -> None:
    stage = Stage(dialect="spring")
    stage.write(letter)
    sent = stage.client.produced[0]
    stage.client.report(0)

    assert stage.next() is None
    assert (sent["topic"], sent["key"], sent["value"]) == ("dead", letter.key, letter.value)
    assert sent["headers"] == headers_of(letter, "spring")
    stage.sink.close()


def test_the_topic_may_have_the_records_own_in_it(letter: Letter) -> None:
    stage = Stage()
    stage.sink = TopicSink(CONF, "{topic}-dlt", make_client=stage.make)
    stage.write(letter)

    assert stage.client.produced[0]["topic"] == "orders-dlt"
    stage.sink.close(0)


def test_a_letter_that_fails_is_reported_with_the_clients_error(stage: Stage, letter: Letter) -> None:
    stage.write(letter)
    stage.client.report(0, KafkaError._MSG_TIMED_OUT)

    error = stage.next()
    assert isinstance(error, KafkaException)
    assert error.args[0].code() == KafkaError._MSG_TIMED_OUT
    assert (stage.sink.flush(30), stage.sink.pending) == (0, 0)


def test_no_more_letters_wait_than_are_allowed(stage: Stage, letter: Letter) -> None:
    stage.write(letter)
    stage.write(letter)

    assert stage.refusal(letter) == (
        "the dead letter of topic 'orders' cannot go to 'dead': 2 wait already (max_records)"
    )
    assert (stage.sink.pending, stage.sink.flush(0)) == (2, 2)

    stage.client.report(0)
    assert stage.next() is None
    stage.client.report(1)
    assert stage.sink.flush(30) == 0
    stage.write(letter)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BufferError("Local: Queue full"), "Local: Queue full"),
        (KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT)), "_MSG_TIMED_OUT"),
        (TypeError("header"), "header"),
    ],
)
def test_what_the_client_refuses_is_refused_and_forgotten(
    stage: Stage, letter: Letter, error: BaseException, words: str
) -> None:
    stage.write(letter)
    stage.client.refuse_with = error

    said = stage.refusal(letter)

    assert said.startswith("the dead letter of topic 'orders' cannot go to 'dead': ")
    assert words in said
    assert stage.sink.pending == 1
    assert stage.arrived.empty()


def test_a_client_that_cannot_be_made_refuses_the_letter(letter: Letter) -> None:
    sink = TopicSink({"bootstrap.servers": "broker:1", "no.such.setting": 1}, "dead")

    with pytest.raises(DeadLetterError, match=r"cannot go to 'dead': .*no\.such\.setting"):
        sink.write(letter, print)

    assert (sink.pending, sink.close()) == (0, 0)


def test_text_that_is_no_unicode_is_refused(stage: Stage, letter: Letter) -> None:
    assert "surrogates not allowed" in stage.refusal(attrs.evolve(letter, reason="\ud800"))


def test_a_report_that_raises_is_logged_and_disturbs_no_other(
    stage: Stage, letter: Letter, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(error: BaseException | None) -> None:
        raise LookupError("mine")

    stage.sink.write(letter, fail)
    stage.write(letter)
    stage.client.report(0)
    stage.client.report(1)

    assert stage.next() is None
    assert stage.sink.flush(30) == 0
    assert [(r.name, r.message) for r in caplog.records] == [
        ("kafka_throttle", "the report of a dead letter raised")
    ]


def test_close_gives_up_what_does_not_arrive_in_time_and_says_so(stage: Stage, letter: Letter) -> None:
    stage.write(letter)
    stage.write(letter)

    assert stage.sink.close(0) == 2

    codes = [stage.next().args[0].code() for _ in range(2)]  # type: ignore[union-attr]
    assert (codes, stage.client.purged) == ([KafkaError._PURGE_QUEUE] * 2, True)
    assert stage.refusal(letter) == (
        "the dead letter of topic 'orders' cannot go to 'dead': the sink is closed"
    )
    assert repr(stage.sink) == "<TopicSink 'dead', 0 pending, closed>"


def test_the_client_gets_the_producers_settings_without_what_is_the_producers_alone() -> None:
    conf = {
        "bootstrap.servers": "broker:9092",
        "sasl.password": "hunter2",
        "oauth_cb": print,
        "client.id": "shop",
        "acks": 0,
        "request.required.acks": 0,
        "enable.idempotence": True,
        "transactional.id": "t",
        "transaction.timeout.ms": 5,
        "error_cb": print,
        "stats_cb": print,
        "throttle_cb": print,
        "on_delivery": print,
        "logger": object(),
        "plugin.library.paths": "x",
        "statistics.interval.ms": 1000,
        "delivery.report.only.error": True,
        "throttle": {},
        "throttle.burst": 5,
        "key.serializer": print,
        "value.serializer": print,
    }
    given = dict(conf)

    assert client_conf(conf) == {
        "bootstrap.servers": "broker:9092",
        "sasl.password": "hunter2",
        "oauth_cb": print,
        "client.id": "shop-dead-letters",
        "acks": "all",
        "enable.idempotence": True,
    }
    assert conf == given
    assert client_conf({})["client.id"] == "rdkafka-dead-letters"


@pytest.mark.parametrize("client", [None, {"bootstrap.servers": "other:9092"}])
def test_the_sink_that_a_policy_with_a_topic_means_has_its_settings(client: dict[str, Any] | None) -> None:
    policy = DeadLetter("{topic}-dlt", client=client, headers="connect", max_records=7)

    sink = open_sink(policy, CONF)

    assert isinstance(sink, TopicSink)
    assert sink._conf["bootstrap.servers"] == (client or CONF)["bootstrap.servers"]
    assert (sink._topic, sink._dialect, sink._max_records) == ("{topic}-dlt", "connect", 7)


SCRIPT = """
import os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of fork in a process with threads, which is what is tested
from kafka_throttle._dead_letter import Letter
from kafka_throttle._dead_letter.topic_sink import TopicSink
from kafka_throttle.exceptions import DeadLetterError
letter = Letter(topic="t", value=b"v", policy="p", reason="r", first_seen=1.0)
# Nobody answers there.
sink = TopicSink({"bootstrap.servers": "127.0.0.1:1", "message.timeout.ms": 300, "log_level": 0}, "dead")
"""


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + script], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_an_application_that_ends_without_close_gets_its_reports_and_ends() -> None:
    output = run("sink.write(letter, lambda error: print(error.args[0].name()))")

    assert output == "_MSG_TIMED_OUT\n"


def test_the_real_client_reports_what_close_gives_up() -> None:
    output = run("sink.write(letter, lambda error: print(error.args[0].name()))\nprint(sink.close(0))")

    assert output == "_PURGE_QUEUE\n1\n"


def test_a_forked_child_neither_uses_the_sink_nor_hangs_and_the_parent_goes_on() -> None:
    output = run(
        """
sink.write(letter, lambda error: print(error.args[0].name(), flush=True))
child = os.fork()
if child == 0:
    signal.alarm(30)
    try:
        sink.write(letter, print)
    except DeadLetterError as error:
        print(error, flush=True)
    print(sink.flush(), sink.close(), sink.pending, flush=True)
    del sink
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
print(sink.close(30), flush=True)
"""
    )

    lines = output.splitlines()
    assert "the dead letter of topic 't' cannot go to 'dead': the sink belongs to the parent process" in lines
    assert {"0 0 0", "7", "_MSG_TIMED_OUT", "0"} <= set(lines)
    assert len(lines) == 5
