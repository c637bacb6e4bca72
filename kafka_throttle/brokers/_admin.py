"""What every kind of broker shares: administration through confluent-kafka."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # documented there, yet not marked as exported
    AdminClient,
    NewTopic,  # pyright: ignore[reportPrivateImportUsage]
    OffsetSpec,  # pyright: ignore[reportPrivateImportUsage]
    TopicDescription,  # pyright: ignore[reportPrivateImportUsage]
)

from kafka_throttle.brokers._errors import BrokerUnavailable
from kafka_throttle.brokers._wire import alter_producer_quota

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Administration"]

_POLL_INTERVAL = 0.02


class Administration:
    """Talks to a cluster over one administrative connection, opened when first needed.

    Args:
        bootstrap: Addresses of the brokers.
        config: Further client settings, such as those of a TLS listener.
    """

    def __init__(self, bootstrap: str, config: Mapping[str, str] | None = None) -> None:
        self._bootstrap = bootstrap
        self._config = dict(config or {})
        self._opened: AdminClient | None = None

    @property
    def _client(self) -> AdminClient:
        if self._opened is None:
            self._opened = AdminClient(
                {
                    # Brokers are down by design here: reconnect quickly, and do not write about it.
                    "reconnect.backoff.ms": 50,
                    "reconnect.backoff.max.ms": 250,
                    "log_level": 0,
                    **self._config,
                    "bootstrap.servers": self._bootstrap,
                }
            )
        return self._opened

    def live_nodes(self, timeout: float) -> set[int]:
        """The nodes that the cluster itself takes for alive.

        Args:
            timeout: How long to wait for an answer, in seconds.

        Returns:
            Their node ids; empty when nobody answers.
        """
        try:
            return set(self._client.list_topics(timeout=timeout).brokers)
        except KafkaException:
            return set()

    def create_topic(
        self, name: str, partitions: int, replication_factor: int, config: Mapping[str, str], timeout: float
    ) -> None:
        """Creates a topic and waits until each partition has a leader.

        Args:
            name: The topic.
            partitions: How many partitions.
            replication_factor: How many replicas of each.
            config: Topic settings, such as ``{"min.insync.replicas": "2"}``.
            timeout: How long to wait, in seconds.

        Raises:
            BrokerUnavailable: The topic exists, the broker refuses it, or a partition gets no leader in time.
        """
        deadline = time.monotonic() + timeout
        topic = NewTopic(name, partitions, replication_factor, config=dict(config))
        try:
            self._client.create_topics([topic], operation_timeout=timeout)[name].result(timeout)
        except (KafkaException, TimeoutError) as error:
            raise BrokerUnavailable(f"topic {name!r} cannot be created: {error}") from error
        while self._leaders(name) < partitions:
            if time.monotonic() > deadline:
                raise BrokerUnavailable(
                    f"topic {name!r} has no leader for each partition after {timeout:g} s"
                )
            time.sleep(_POLL_INTERVAL)

    def _leaders(self, name: str) -> int:
        try:
            return sum(partition.leader is not None for partition in self._describe(name).partitions)
        except KafkaException:  # the broker that answers has not heard of the topic yet
            return 0

    def _describe(self, name: str) -> TopicDescription:
        """Unlike list_topics(), which creates the topic that it asks for."""
        described: TopicDescription = self._client.describe_topics(
            TopicCollection([name]), request_timeout=10
        )[name].result()
        return described

    def end_offsets(self, topic: str) -> dict[int, int]:
        """How far each partition of a topic reaches.

        Args:
            topic: The topic.

        Returns:
            Partition to the offset that its next record will get.

        Raises:
            BrokerUnavailable: The topic does not exist, or its leaders do not answer.
        """
        try:
            partitions = [
                TopicPartition(topic, partition.id) for partition in self._describe(topic).partitions
            ]
            latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call] # returns one, always
            asked = self._client.list_offsets(dict.fromkeys(partitions, latest), request_timeout=10)
            return {partition.partition: future.result().offset for partition, future in asked.items()}
        except KafkaException as error:
            raise BrokerUnavailable(f"the end offsets of {topic!r} cannot be read: {error}") from error

    def set_producer_quota(self, client_id: str, bytes_per_second: float | None) -> None:
        """Limits what a client may produce, on each broker, or lifts the limit.

        Args:
            client_id: The client's ``client.id``.
            bytes_per_second: The limit, or None for none.

        Raises:
            BrokerUnavailable: No broker takes it.
        """
        alter_producer_quota(self._bootstrap, client_id, bytes_per_second)

    def close(self) -> None:
        """Closes the connection; the next call opens another."""
        self._opened = None
