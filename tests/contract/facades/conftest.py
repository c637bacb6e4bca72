"""A broker with faults on demand, and facades of each kind in turn."""

from __future__ import annotations

import logging
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from kafka_throttle import Fixed, Policy, Rule, Throttle
from kafka_throttle.brokers import MockKafka
from kafka_throttle.brokers.mock import ApiKey

sys.path.insert(0, str(Path(__file__).parent))  # the drivers are no part of any package

from facade_drivers import DRIVERS, NEVER, Driver

if TYPE_CHECKING:
    from collections.abc import Iterator

APPROVED = "data team, OPS-123"
# Requests that fail while the broker is stalled, which are some minutes of tries.
_STALLED = 20_000


class Broker:
    """A broker that can be away, with topics of one partition for one test.

    Attributes:
        topics: Their names in the cluster.
    """

    def __init__(self, cluster: MockKafka) -> None:
        self.cluster = cluster
        number = uuid.uuid4().hex[:8]
        self.topics = {name: f"{name}-{number}" for name in ("kept", "other", "third")}
        for topic in self.topics.values():
            cluster.create_topic(topic)
            cluster.set_leader(topic, 0, 0)

    def refuse(self, error: str, times: int = 1) -> None:
        """Have produce requests fail."""
        self.cluster.push_errors(ApiKey.PRODUCE, *[error] * times)

    def stall(self, error: str = "NOT_ENOUGH_REPLICAS") -> None:
        """Write nothing for the time being; clients try again and again, and go on at once when it resumes."""
        self.refuse(error, _STALLED)

    def resume(self) -> None:
        """Write again."""
        self.cluster.clear_errors(ApiKey.PRODUCE)

    def vanish(self) -> None:
        """Be gone."""
        self.cluster.broker_down()

    def values(self, topic: str = "kept") -> list[str]:
        """Return the values in a topic, in order."""
        return [message.value().decode() for message in self._read(self.topics[topic])]

    def by_key(self, topic: str = "kept") -> dict[str, list[str]]:
        """Return the values in a topic, by their keys, in order."""
        found: dict[str, list[str]] = {}
        for message in self._read(self.topics[topic]):
            found.setdefault(message.key().decode(), []).append(message.value().decode())
        return found

    def _read(self, topic: str) -> Iterator[Any]:
        reader = consumer_of(self.cluster)
        try:
            reader.assign([TopicPartition(topic, 0, 0)])
            while (message := reader.poll(NEVER)) is not None and message.error() is None:
                yield message
            assert message is not None
            assert message.error().code() == KafkaError._PARTITION_EOF
        finally:
            reader.close()


def consumer_of(cluster: MockKafka) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": "facades",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 5,
            "log_level": 0,
        }
    )


@pytest.fixture(scope="session")
def cluster() -> Iterator[MockKafka]:
    """Two brokers, of which the first is that of the tests; the second is always there."""
    with MockKafka(nodes=2) as cluster:
        cluster.create_topic("pulse")
        cluster.set_leader("pulse", 0, 1)
        # A cluster without requests may take a second to notice what it is told.
        pulse = consumer_of(cluster)
        pulse.assign([TopicPartition("pulse", 0, 0)])
        yield cluster
        pulse.close()


@pytest.fixture
def broker(cluster: MockKafka, caplog: pytest.LogCaptureFixture) -> Iterator[Broker]:
    caplog.set_level(logging.CRITICAL, "aiokafka")  # it says so for each try
    yield Broker(cluster)
    cluster.broker_up()
    cluster.clear_errors(ApiKey.PRODUCE)


class Facades:
    """Makes drivers of one kind."""

    def __init__(self, kind: str, broker: Broker) -> None:
        self._make, self._broker = DRIVERS[kind], broker
        self.made: list[Driver] = []

    def __call__(
        self,
        policy: Policy | None = None,
        limit: int = 1,
        on_failure: Policy | None = None,
        patience: float = 60.0,
        **throttle: Any,
    ) -> Driver:
        """Return a driver with a rule for the topic "kept", or with the rules given."""
        if policy is not None:
            throttle["rules"] = [Rule("kept*", policy, on_failure=on_failure, loss_approved_by=APPROVED)]
        driver = self._make()
        driver.topics = self._broker.topics
        self.made.append(driver)
        settings = {"limit": Fixed(limit), "burst": 0, **throttle}
        driver.open(self._broker.cluster.bootstrap, Throttle(**settings), patience)
        return driver

    def settle(self) -> None:
        for driver in self.made:
            driver.settle()


@pytest.fixture(params=list(DRIVERS))
def make(request: pytest.FixtureRequest, broker: Broker) -> Iterator[Facades]:
    """Make facades of each kind in turn, and settle them when the test is over."""
    facades = Facades(request.param, broker)
    yield facades
    facades.settle()


@pytest.fixture(params=[kind for kind in DRIVERS if kind != "Producer"])
def on_loop(request: pytest.FixtureRequest, broker: Broker) -> Iterator[Facades]:
    """The same for those on an event loop alone."""
    facades = Facades(request.param, broker)
    yield facades
    facades.settle()
