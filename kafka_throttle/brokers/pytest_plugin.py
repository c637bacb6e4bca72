"""Fixtures for tests that need a broker: ``local_kafka`` and ``mock_kafka``.

A project that has kafka-throttle installed has them without further ado::

    def test_orders_arrive(local_kafka):
        local_kafka.create_topic("orders", partitions=3)
        producer = Producer(local_kafka.client_config())

``local_kafka`` is one cluster for the whole session: give each test topics of its own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from kafka_throttle.brokers._errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kafka_throttle.brokers._cluster import KafkaCluster
    from kafka_throttle.brokers.mock import MockKafka

__all__ = ["local_kafka", "mock_kafka", "start_or_skip"]


@pytest.fixture(scope="session")
def local_kafka() -> Iterator[KafkaCluster]:
    """Real Apache Kafka, one node: the cluster that KAFKA_THROTTLE_BOOTSTRAP names, else a LocalKafka.

    Where neither can be had, the tests that need it are skipped with the reason; with ``CI=true`` they fail.
    """
    cluster = _choose_cluster()
    start_or_skip(cluster)
    yield cluster
    cluster.stop()


@pytest.fixture
def mock_kafka() -> Iterator[MockKafka]:
    """A mock cluster of one node inside this process, new for each test."""
    from kafka_throttle.brokers.mock import MockKafka  # noqa: PLC0415 - every pytest run imports this plugin

    with MockKafka() as cluster:
        yield cluster


def start_or_skip(cluster: KafkaCluster) -> None:
    """Starts a cluster for a test or a fixture of one's own, by the same rule as ``local_kafka``.

    Args:
        cluster: The cluster; the caller stops it.
    """
    try:
        cluster.start()
    except BrokerUnavailable as error:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(f"no Kafka: {error}", pytrace=False)
        pytest.skip(f"no Kafka: {error}")


def _choose_cluster() -> KafkaCluster:
    # Imported here because every pytest run imports this plugin.
    from kafka_throttle.brokers.external import ExternalKafka, bootstrap_from_environment  # noqa: PLC0415
    from kafka_throttle.brokers.local import LocalKafka  # noqa: PLC0415

    bootstrap = bootstrap_from_environment()
    return ExternalKafka(bootstrap) if bootstrap else LocalKafka()
