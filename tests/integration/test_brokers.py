"""LocalKafka is real Kafka: it keeps records, throttles, stalls, crashes, recovers, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, ThrottleEvent

from kafka_throttle.brokers import BrokerUnavailable, KafkaCluster, LocalKafka, local
from kafka_throttle.brokers._admin import Administration
from kafka_throttle.brokers._properties import NodePorts, free_ports
from kafka_throttle.brokers.pytest_plugin import start_or_skip
from kafka_throttle.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

DEADLINE = 30.0
# A node that was killed is let in again when its old session has ended: after 9 s by default.
QUICK_SESSIONS = {"broker.session.timeout.ms": "2000", "broker.heartbeat.interval.ms": "500"}
SMALL = "256m"


@pytest.fixture(scope="module")
def kafka() -> Iterator[LocalKafka]:
    """One node that tests may disturb, as long as they put it right again."""
    cluster = LocalKafka(heap=SMALL, server_properties=QUICK_SESSIONS)
    start_or_skip(cluster)
    with cluster:
        yield cluster


@pytest.fixture
def topic() -> str:
    """A name that no other test uses."""
    return f"topic-{uuid.uuid4().hex}"


def producer(kafka: KafkaCluster, config: dict[str, Any] | None = None) -> Producer:
    """A producer that reconnects quickly and is silent about brokers that are down on purpose."""
    quick = {
        "log_level": 0,
        "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 200,
        "retry.backoff.ms": 50,
    }
    return Producer({**kafka.client_config(), **quick, **(config or {})})


def consume(kafka: KafkaCluster, topic: str, count: int) -> list[bytes | None]:
    """The values of a topic's first records."""
    config = {"group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({**kafka.client_config(), **config})
    consumer.subscribe([topic])
    try:
        messages: list[Message] = consumer.consume(count, timeout=DEADLINE)
        return [message.value() for message in messages]
    finally:
        consumer.close()


def send(
    client: Producer, topic: str, values: list[bytes], timeout: float = DEADLINE
) -> list[KafkaError | None]:
    """What was reported within the timeout for records with these values."""
    reports: list[KafkaError | None] = []
    for value in values:
        client.produce(topic, value, on_delivery=lambda error, _message: reports.append(error))
    client.flush(timeout)
    return reports


def test_records_come_back_as_they_were_sent(local_kafka: KafkaCluster, topic: str) -> None:
    local_kafka.create_topic(topic)
    values = [b"%d" % number for number in range(100)]
    assert send(producer(local_kafka), topic, values) == [None] * 100
    assert local_kafka.end_offsets(topic) == {0: 100}
    assert consume(local_kafka, topic, 100) == values


def test_a_created_topic_has_leaders_and_its_settings(kafka: LocalKafka, topic: str) -> None:
    kafka.create_topic(topic, partitions=4, config={"max.message.bytes": "1000"})
    assert kafka.end_offsets(topic) == dict.fromkeys(range(4), 0)
    (report,) = send(producer(kafka), topic, [bytes(5000)])
    assert report is not None
    assert report.code() == KafkaError.MSG_SIZE_TOO_LARGE


def test_a_topic_that_exists_or_cannot_be_is_refused(kafka: LocalKafka, topic: str) -> None:
    kafka.create_topic(topic)
    with pytest.raises(BrokerUnavailable, match=f"topic '{topic}' cannot be created.*already exists"):
        kafka.create_topic(topic)
    with pytest.raises(BrokerUnavailable, match=r"cannot be created.*replication factor"):
        kafka.create_topic(f"{topic}-2", replication_factor=2)


def test_asking_for_a_missing_topic_does_not_create_it(kafka: LocalKafka, topic: str) -> None:
    for _ in range(2):
        with pytest.raises(BrokerUnavailable, match="does not exist"):
            kafka.end_offsets(topic)


def test_a_quota_throttles_until_it_is_lifted(kafka: LocalKafka, topic: str) -> None:
    kafka.create_topic(topic)
    client_id = f"client-{topic}"
    events: list[ThrottleEvent] = []
    kafka.set_producer_quota(client_id, 50_000)
    limited = producer(kafka, {"client.id": client_id, "throttle_cb": events.append})
    for _ in range(50):
        send(limited, topic, [bytes(1000)] * 50)
        if events:
            break
    assert events[0].throttle_time > 0
    kafka.set_producer_quota(client_id, None)
    events.clear()
    free = producer(kafka, {"client.id": client_id, "throttle_cb": events.append})
    assert send(free, topic, [bytes(1000)] * 1000) == [None] * 1000
    assert events == []


def test_a_transaction_commits(kafka: LocalKafka, topic: str) -> None:
    kafka.create_topic(topic)
    client = producer(kafka, {"transactional.id": topic})
    client.init_transactions(DEADLINE)
    client.begin_transaction()
    client.produce(topic, b"kept")
    client.commit_transaction(DEADLINE)
    assert consume(kafka, topic, 1) == [b"kept"]


def test_a_paused_node_holds_records_back_and_a_resumed_one_takes_them(kafka: LocalKafka, topic: str) -> None:
    kafka.create_topic(topic)
    client = producer(kafka)
    assert send(client, topic, [b"before"]) == [None]
    kafka.pause()
    try:
        assert send(client, topic, [b"meanwhile"], timeout=0.5) == []
    finally:
        kafka.resume()
    assert client.flush(DEADLINE) == 0
    assert kafka.end_offsets(topic) == {0: 2}


def test_a_killed_node_comes_back_with_its_records(kafka: LocalKafka, topic: str) -> None:
    kafka.create_topic(topic)
    assert send(producer(kafka, {"acks": "all"}), topic, [b"kept"]) == [None]
    bootstrap = kafka.bootstrap
    kafka.kill()
    assert "0/1 nodes" in repr(kafka)
    kafka.start(node=0)
    assert kafka.bootstrap == bootstrap
    assert consume(kafka, topic, 1) == [b"kept"]


def test_a_node_that_does_not_exist_is_refused(kafka: LocalKafka) -> None:
    with pytest.raises(ConfigurationError, match="node=1: this cluster has the nodes 0 to 0"):
        kafka.pause(1)


def test_starting_a_started_cluster_changes_nothing(kafka: LocalKafka) -> None:
    bootstrap = kafka.bootstrap
    kafka.start()
    assert kafka.bootstrap == bootstrap


def test_three_nodes_go_on_while_one_is_down_and_take_it_back(topic: str) -> None:
    cluster = LocalKafka(nodes=3, heap=SMALL, server_properties=QUICK_SESSIONS)
    start_or_skip(cluster)
    with cluster as kafka:
        kafka.create_topic(topic, partitions=3, config={"min.insync.replicas": "2"})
        client = producer(kafka, {"acks": "all"})
        assert send(client, topic, [b"all are here"]) == [None]
        kafka.kill(1)
        assert send(client, topic, [b"%d" % number for number in range(300)]) == [None] * 300
        kafka.start(1)
        assert "3/3 nodes" in repr(kafka)
        assert sum(kafka.end_offsets(topic).values()) == 301


@pytest.mark.parametrize(
    ("listeners", "mechanism"),
    [("SSL", "PLAIN"), ("SASL_PLAINTEXT", "PLAIN"), ("SASL_SSL", "SCRAM-SHA-512")],
)
def test_records_pass_a_secured_listener(listeners: Any, mechanism: Any, topic: str) -> None:
    users = {"alice": "a-secret", "bob": "b-secret"}
    cluster = LocalKafka(listeners=listeners, sasl_mechanism=mechanism, users=users, heap=SMALL)
    start_or_skip(cluster)
    with cluster as kafka:
        kafka.create_topic(topic)
        assert kafka.client_config()["bootstrap.servers"] != kafka.bootstrap
        assert kafka.client_config()["security.protocol"] == listeners
        assert send(producer(kafka), topic, [b"secret"]) == [None]
        assert consume(kafka, topic, 1) == [b"secret"]


def test_a_wrong_password_is_not_let_in(topic: str) -> None:
    cluster = LocalKafka(listeners="SASL_PLAINTEXT", users={"alice": "right"}, heap=SMALL)
    start_or_skip(cluster)
    errors: list[KafkaError] = []
    with cluster as kafka:
        kafka.create_topic(topic)
        stranger = producer(kafka, {"sasl.password": "wrong", "error_cb": errors.append})
        stranger.produce(topic, b"x")
        while not errors:
            stranger.poll(DEADLINE)
        assert errors[0].code() == KafkaError._AUTHENTICATION
        assert kafka.end_offsets(topic) == {0: 0}
        stranger.purge()
        stranger.flush(0)


def test_stop_leaves_no_process_and_no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(local.tempfile, "tempdir", str(tmp_path))
    kafka = LocalKafka(heap=SMALL)
    start_or_skip(kafka)
    family = psutil.Process().children(recursive=True)
    ours = [process for process in family if str(tmp_path) in " ".join(process.cmdline())]
    assert len(ours) == 2
    kafka.pause()
    kafka.stop()
    kafka.stop()
    assert psutil.wait_procs(ours, timeout=DEADLINE)[1] == []
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BrokerUnavailable, match="not started"):
        _ = kafka.bootstrap


PARENT = """
import sys, tempfile
tempfile.tempdir = sys.argv[1]
from kafka_throttle.brokers import LocalKafka
kafka = LocalKafka(heap="256m")
kafka.start()
{extra}
print("started", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize(
    ("extra", "end"),
    [
        pytest.param("", psutil.Process.kill, id="killed"),
        pytest.param("kafka.pause()", psutil.Process.kill, id="killed while the broker is paused"),
        pytest.param("", lambda parent: None, id="ended without a stop"),
    ],
)
def test_nothing_outlives_the_parent(
    kafka: LocalKafka, tmp_path: Path, extra: str, end: Callable[[psutil.Process], None]
) -> None:
    command = [sys.executable, "-W", "error", "-c", PARENT.format(extra=extra), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(family) == 2
        end(psutil.Process(parent.pid))
        parent.communicate()
        assert psutil.wait_procs(family, timeout=DEADLINE)[1] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("properties", "problem", "cause"),
    [
        ({"log.retention.bytes": "abc"}, "the storage of node 0 cannot be formatted", "Invalid value abc"),
        ({"metric.reporters": "no.such.Reporter"}, "Kafka node 0 ended while starting", "no.such.Reporter"),
    ],
)
def test_a_start_that_fails_shows_the_log(
    kafka: LocalKafka, properties: dict[str, str], problem: str, cause: str
) -> None:
    with pytest.raises(BrokerUnavailable) as caught:
        LocalKafka(heap=SMALL, server_properties=properties).start()
    first, *log = str(caught.value).splitlines()
    assert first == f"{problem}; its log ends:"
    assert cause in "\n".join(log)


def test_a_cluster_that_does_not_answer_in_time_says_so(kafka: LocalKafka) -> None:
    with pytest.raises(BrokerUnavailable, match=r"Kafka node 0 does not answer after 0\.01 s; its log ends:"):
        LocalKafka(heap=SMALL, startup_timeout=0.01).start()


def test_a_port_that_somebody_took_meanwhile_is_replaced(
    kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = int(kafka.bootstrap.rpartition(":")[2])
    picks = [[NodePorts(taken, ports.controller, ports.secured)] for ports in free_ports(1)]
    monkeypatch.setattr(local, "free_ports", lambda nodes: picks.pop() if picks else free_ports(nodes))
    with LocalKafka(heap=SMALL) as other:
        assert picks == []
        assert other.bootstrap != kafka.bootstrap


def test_an_interrupted_start_leaves_nothing(
    kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local.tempfile, "tempdir", str(tmp_path))

    def interrupted(*_: object, **__: object) -> set[int]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Administration, "live_nodes", interrupted)
    other = LocalKafka(heap=SMALL)
    with pytest.raises(KeyboardInterrupt):
        other.start()
    assert repr(other) == "<LocalKafka 4.3.1 stopped>"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("nodes", [0, 10])
def test_a_number_of_nodes_out_of_range_is_refused(nodes: int) -> None:
    with pytest.raises(ConfigurationError, match=f"nodes={nodes}: must be 1 to 9"):
        LocalKafka(nodes)
