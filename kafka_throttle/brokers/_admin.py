"""What every kind of broker shares: administration through confluent-kafka."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # documented there, yet not marked as exported
    AdminClient,
    NewTopic,  # pyright: ignore[reportPrivateImportUsage]
    OffsetSpec,  # pyright: ignore[reportPrivateImportUsage]
)

from kafka_throttle.brokers._errors import BrokerUnavailable
from kafka_throttle.brokers._wire import alter_producer_quota

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["Administration"]

_POLL_INTERVAL = 0.02
_TIMEOUT = 15.0


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

    def live_nodes(self, timeout: float, cluster_id: str | None = None) -> set[int]:
        """The nodes that the cluster itself takes for alive.

        Args:
            timeout: How long to wait for an answer, in seconds.
            cluster_id: Which cluster must answer; None for any.

        Returns:
            Their node ids; empty when nobody answers, or another cluster.
        """
        try:
            found = self._client.list_topics(timeout=timeout)
        except KafkaException:
            return set()
        return set(found.brokers) if cluster_id in {None, found.cluster_id} else set()

    def create_topic(
        self, name: str, partitions: int, replication_factor: int, config: Mapping[str, str]
    ) -> None:
        """Creates a topic and waits until each partition has a leader.

        Args:
            name: The topic.
            partitions: How many partitions.
            replication_factor: How many replicas of each.
            config: Topic settings, such as ``{"min.insync.replicas": "2"}``.

        Raises:
            BrokerUnavailable: The topic exists, the broker refuses it, or a partition gets no leader in time.
        """
        deadline = time.monotonic() + _TIMEOUT
        topic = NewTopic(name, partitions, replication_factor, config=dict(config))
        try:
            self._client.create_topics([topic], operation_timeout=_TIMEOUT)[name].result(_TIMEOUT)
        except (KafkaException, TimeoutError) as error:
            raise BrokerUnavailable(f"topic {name!r} cannot be created: {error}") from error
        while not self._is_served(name, partitions):
            if time.monotonic() > deadline:
                raise BrokerUnavailable(
                    f"topic {name!r} has no leader for each partition after {_TIMEOUT:g} s"
                )
            time.sleep(_POLL_INTERVAL)

    def _is_served(self, name: str, partitions: int) -> bool:
        """Whether the leaders answer: metadata names them a moment before they know it themselves."""
        try:
            return len(self._read_end_offsets(name)) == partitions
        except KafkaException:
            return False

    def delete_topics(self, names: Collection[str]) -> None:
        """Deletes topics; one that is gone already is none of our business.

        Args:
            names: The topics.
        """
        if not names:
            return
        for future in self._client.delete_topics(list(names), operation_timeout=_TIMEOUT).values():
            with suppress(KafkaException):
                future.result(_TIMEOUT)

    def end_offsets(self, topic: str) -> dict[int, int]:
        """How far each partition of a topic reaches.

        Args:
            topic: The topic.

        Returns:
            Partition to the offset that its next record will get.

        Raises:
            BrokerUnavailable: The topic does not exist, or its leaders do not answer.
        """
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                offsets = self._read_end_offsets(topic)
            except KafkaException as error:  # an election, most likely
                if time.monotonic() > deadline:
                    raise BrokerUnavailable(
                        f"the end offsets of {topic!r} cannot be read: {error}"
                    ) from error
                time.sleep(_POLL_INTERVAL)
                continue
            if not offsets:
                raise BrokerUnavailable(f"topic {topic!r} does not exist")
            return offsets

    def _read_end_offsets(self, topic: str) -> dict[int, int]:
        """One attempt; empty for a topic that does not exist."""
        # All topics, because asking for one creates it.
        found = self._client.list_topics(timeout=_TIMEOUT).topics.get(topic)
        if found is None:
            return {}
        latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call] # returns one, always
        asked = self._client.list_offsets(
            {TopicPartition(topic, partition): latest for partition in found.partitions},
            request_timeout=_TIMEOUT,
        )
        return {partition.partition: future.result().offset for partition, future in asked.items()}

    def set_producer_quota(self, client_id: str, bytes_per_second: float | None) -> None:
        """Limits what a client may produce, on each broker, or lifts the limit.

        Args:
            client_id: The client's ``client.id``.
            bytes_per_second: The limit, or None for none.

        Raises:
            BrokerUnavailable: No broker takes it.
        """
        alter_producer_quota(self._bootstrap, client_id, bytes_per_second)
