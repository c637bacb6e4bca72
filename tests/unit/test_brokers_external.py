"""An existing cluster is used as it is, and left as it was."""

from __future__ import annotations

import pytest

from kafka_throttle.brokers import BrokerUnavailable, ExternalKafka, MockKafka, bootstrap_from_environment
from kafka_throttle.brokers._admin import Administration


class RecordingAdministration(Administration):
    """Notes what would be asked of the cluster."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def create_topic(self, name: str, *_: object) -> None:
        self.asked.append(("create", name))

    def delete_topics(self, names: object) -> None:
        self.asked.append(("delete", names))

    def set_producer_quota(self, client_id: str, bytes_per_second: float | None) -> None:
        self.asked.append(("quota", client_id, bytes_per_second))


@pytest.mark.parametrize(
    ("value", "expected"), [("", None), ("  ", None), ("a:1,b:2", "a:1,b:2"), (" a:1 ", "a:1")]
)
def test_the_environment_names_a_cluster_or_none(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: str | None
) -> None:
    monkeypatch.setenv("KAFKA_THROTTLE_BOOTSTRAP", value)
    assert bootstrap_from_environment() == expected


def test_a_cluster_that_answers_is_taken(mock_kafka: MockKafka) -> None:
    with ExternalKafka(mock_kafka.bootstrap, {"client.id": "me"}) as kafka:
        kafka.start()
        assert kafka.client_config() == {"bootstrap.servers": mock_kafka.bootstrap, "client.id": "me"}
        with pytest.raises(BrokerUnavailable, match="topic 'missing' does not exist"):
            kafka.end_offsets("missing")


def test_a_cluster_that_does_not_answer_is_named(mock_kafka: MockKafka) -> None:
    mock_kafka.kill()
    kafka = ExternalKafka(mock_kafka.bootstrap, startup_timeout=0.2)
    with pytest.raises(
        BrokerUnavailable, match=rf"no broker answers at {mock_kafka.bootstrap} within 0\.2 s"
    ):
        kafka.start()


def test_what_was_created_and_limited_is_undone_once() -> None:
    administration = RecordingAdministration()
    kafka = ExternalKafka("a:1")
    kafka._administration = administration
    kafka.create_topic("orders")
    kafka.set_producer_quota("me", 5)
    kafka.stop()
    kafka.stop()
    assert administration.asked == [
        ("create", "orders"),
        ("quota", "me", 5),
        ("quota", "me", None),
        ("delete", {"orders"}),
    ]


@pytest.mark.parametrize("action", ["pause", "resume", "kill", "start"])
def test_the_nodes_of_others_are_left_alone(action: str) -> None:
    with pytest.raises(BrokerUnavailable) as caught:
        getattr(ExternalKafka("a:1"), action)(1)
    assert str(caught.value) == (
        f"<ExternalKafka at a:1> cannot {action} node 1: "
        "it is an existing cluster; only the nodes of a LocalKafka can be disturbed"
    )


def test_before_the_start_nothing_can_be_asked() -> None:
    with pytest.raises(BrokerUnavailable, match="not started"):
        ExternalKafka("a:1").end_offsets("orders")
