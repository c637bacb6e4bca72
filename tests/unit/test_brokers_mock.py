"""The mock cluster's shape and its faults, seen by a real client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, Producer

from kafka_throttle.brokers import ApiKey, BrokerUnavailable, MockKafka
from kafka_throttle.brokers import _librdkafka as librdkafka
from kafka_throttle.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

TOPIC = "orders"


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    """Three nodes and a topic with one partition."""
    with MockKafka(nodes=3) as cluster:
        cluster.create_topic(TOPIC)
        yield cluster


class Client:
    """A producer that keeps the outcome of each record."""

    def __init__(self, kafka: MockKafka, **config: Any) -> None:
        self.outcomes: list[int | None] = []
        self.producer = Producer(
            {
                **kafka.client_config(),
                "log_level": 0,
                "retry.backoff.ms": 10,
                "topic.metadata.refresh.interval.ms": 200,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 100,
                **config,
            }
        )

    def send(self, timeout: float = 20.0) -> int | None:
        """The error code of one record, or None for delivered."""
        self.producer.produce(TOPIC, b"x", on_delivery=self._report)
        self.producer.flush(timeout)
        return self.outcomes[-1] if self.outcomes else -1

    def _report(self, error: KafkaError | None, _message: object) -> None:
        self.outcomes.append(None if error is None else error.code())


def test_a_record_arrives_and_counts(kafka: MockKafka) -> None:
    assert Client(kafka).send() is None
    assert kafka.end_offsets(TOPIC) == {0: 1}


def test_each_node_has_an_address(kafka: MockKafka) -> None:
    assert len(kafka.bootstrap.split(",")) == 3


def test_a_topic_has_the_partitions_that_were_asked_for(kafka: MockKafka) -> None:
    kafka.create_topic("many", partitions=5)
    assert kafka.end_offsets("many") == dict.fromkeys(range(5), 0)


def test_an_existing_topic_cannot_be_created(kafka: MockKafka) -> None:
    with pytest.raises(BrokerUnavailable, match=r"refuses topic_create.*already exists"):
        kafka.create_topic(TOPIC)


def test_asking_for_a_missing_topic_does_not_create_it(kafka: MockKafka) -> None:
    for _ in range(2):
        with pytest.raises(BrokerUnavailable, match="topic 'missing' does not exist"):
            kafka.end_offsets("missing")


def test_a_pushed_error_fails_one_record_and_no_more(kafka: MockKafka) -> None:
    client = Client(kafka)
    kafka.push_errors(ApiKey.PRODUCE, "MSG_SIZE_TOO_LARGE")
    assert [client.send(), client.send()] == [KafkaError.MSG_SIZE_TOO_LARGE, None]


def test_errors_may_be_codes_and_may_be_forgotten(kafka: MockKafka) -> None:
    client = Client(kafka)
    kafka.push_errors(ApiKey.PRODUCE, 0, KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.MSG_SIZE_TOO_LARGE)
    outcomes = [client.send(), client.send()]
    kafka.clear_errors(ApiKey.PRODUCE)
    assert [*outcomes, client.send()] == [None, KafkaError.MSG_SIZE_TOO_LARGE, None]


def test_a_transient_error_is_retried_by_the_client(kafka: MockKafka) -> None:
    kafka.push_errors(ApiKey.PRODUCE, "NOT_ENOUGH_REPLICAS", "_TRANSPORT")
    assert Client(kafka).send() is None


def test_a_misspelt_error_names_the_nearest(kafka: MockKafka) -> None:
    with pytest.raises(ConfigurationError, match=r"'NOT_ENUGH_REPLICAS'.*did you mean 'NOT_ENOUGH_REPLICAS'"):
        kafka.push_errors(ApiKey.PRODUCE, "NOT_ENUGH_REPLICAS")


def test_a_topic_error_lasts_until_it_is_lifted(kafka: MockKafka) -> None:
    client = Client(kafka)
    kafka.topic_error(TOPIC, "TOPIC_AUTHORIZATION_FAILED")
    assert client.send() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    kafka.topic_error(TOPIC)
    assert Client(kafka).send() is None


def test_nothing_is_delivered_while_the_leader_is_down(kafka: MockKafka) -> None:
    kafka.set_leader(TOPIC, 0, 1)
    client = Client(kafka)
    assert client.send() is None
    kafka.kill(1)
    assert client.send(timeout=0.3) is None
    assert len(client.outcomes) == 1
    kafka.start(1)
    client.producer.flush(20)
    assert client.outcomes == [None, None]


def test_a_partition_without_a_leader_holds_its_records_back(kafka: MockKafka) -> None:
    client = Client(kafka)
    kafka.set_leader(TOPIC, 0, None)
    client.send(timeout=0.3)
    assert client.outcomes == []
    kafka.set_leader(TOPIC, 0, 2)
    client.producer.flush(20)
    assert client.outcomes == [None]


def test_a_round_trip_delays_the_report(kafka: MockKafka) -> None:
    client = Client(kafka)
    client.send()
    kafka.set_rtt(60)
    client.send(timeout=0.3)
    assert client.outcomes == [None]


def test_a_round_trip_may_be_set_for_one_node_and_taken_back(kafka: MockKafka) -> None:
    kafka.set_leader(TOPIC, 0, 2)
    kafka.set_rtt(60, node=0)
    kafka.set_rtt(0)
    assert Client(kafka).send() is None


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_a_mock_node_cannot_be_stalled(kafka: MockKafka, action: str) -> None:
    with pytest.raises(BrokerUnavailable, match=f"cannot {action} node 0: the mock cluster knows kill"):
        getattr(kafka, action)()


def test_the_mock_cluster_knows_no_quotas(kafka: MockKafka) -> None:
    with pytest.raises(BrokerUnavailable, match="quota of 5 for 'me': the mock cluster never throttles"):
        kafka.set_producer_quota("me", 5)


def test_the_mock_cluster_knows_no_topic_settings(kafka: MockKafka) -> None:
    with pytest.raises(ConfigurationError, match="has no topic settings"):
        kafka.create_topic("other", config={"min.insync.replicas": "2"})


def test_a_node_that_does_not_exist_is_refused(kafka: MockKafka) -> None:
    with pytest.raises(ConfigurationError, match="node=3: this cluster has the nodes 0 to 2"):
        kafka.kill(3)


def test_starting_and_stopping_twice_is_once() -> None:
    kafka = MockKafka()
    kafka.start()
    address = kafka.bootstrap
    kafka.start()
    assert kafka.bootstrap == address
    kafka.stop()
    kafka.stop()
    assert repr(kafka) == "<MockKafka stopped>"
    with pytest.raises(BrokerUnavailable, match="not started"):
        _ = kafka.bootstrap


def test_no_nodes_are_no_cluster() -> None:
    with pytest.raises(ConfigurationError, match="nodes=0: must be at least 1"):
        MockKafka(0)


def test_without_librdkafka_the_reason_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(
        librdkafka.confluent_kafka, "__file__", str(tmp_path / "confluent_kafka" / "__init__.py")
    )
    monkeypatch.setattr(librdkafka.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(BrokerUnavailable, match="no mock cluster: there is no librdkafka beside"):
        MockKafka().start()


def test_a_librdkafka_without_mock_cluster_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(librdkafka._SIGNATURES, "rd_kafka_no_such_function", (None, []))
    with pytest.raises(BrokerUnavailable, match="has no rd_kafka_no_such_function"):
        MockKafka().start()
