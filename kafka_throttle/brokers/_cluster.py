"""The shape that every kind of broker has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NoReturn

from kafka_throttle.brokers._errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from confluent_kafka import Message
    from typing_extensions import Self

    from kafka_throttle.brokers._admin import Administration

__all__ = ["BROKER_DEFAULT", "KafkaCluster"]

BROKER_DEFAULT = -1
"""A replication factor that leaves the choice to the brokers."""


class KafkaCluster(ABC):
    """One or more brokers, available for the length of a ``with`` block.

    Nodes are numbered from 0. What a kind of broker cannot do raises BrokerUnavailable with the reason.
    """

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    @abstractmethod
    def bootstrap(self) -> str:
        """``host:port`` of each node, separated by commas, for ``bootstrap.servers``."""

    @property
    @abstractmethod
    def _admin(self) -> Administration:
        """The administrative connection of a started cluster."""

    @abstractmethod
    def start(self, node: int | None = None) -> None:
        """Starts the cluster, or one node again that was killed, and waits until it answers.

        Args:
            node: Which node; None for the cluster, which does nothing when it is started already.

        Raises:
            BrokerUnavailable: It cannot be had or does not answer in time.
        """

    @abstractmethod
    def stop(self) -> None:
        """Ends what start() started; does nothing when stopped already."""

    def client_config(self) -> dict[str, str]:
        """What a client needs to connect; a new dict on each call."""
        return {"bootstrap.servers": self.bootstrap}

    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        replication_factor: int = BROKER_DEFAULT,
        config: Mapping[str, str] | None = None,
    ) -> None:
        """Creates a topic and waits until each of its partitions has a leader.

        Args:
            name: The topic.
            partitions: How many partitions.
            replication_factor: How many replicas; by default the brokers' choice (LocalKafka: all nodes, at
                most three).
            config: Topic settings, such as ``{"min.insync.replicas": "2"}``.

        Raises:
            BrokerUnavailable: It exists already, the brokers refuse it, or a partition gets no leader.
        """
        self._admin.create_topic(name, partitions, replication_factor, config or {})

    def end_offsets(self, topic: str) -> dict[int, int]:
        """How far each partition of a topic reaches.

        Args:
            topic: The topic.

        Returns:
            Partition to the offset that its next record will get.

        Raises:
            BrokerUnavailable: The topic does not exist, or its leaders do not answer.
        """
        return self._admin.end_offsets(topic)

    def messages(
        self, topic: str, *, isolation_level: str = "read_uncommitted", timeout: float = 60.0
    ) -> Iterator[Message]:
        """Reads a topic from its beginning to its end, one partition after the other.

        Args:
            topic: The topic.
            isolation_level: "read_committed" leaves out what aborted transactions have written.
            timeout: Longest wait for the next message, in seconds.

        Yields:
            Its messages, in order within each partition.

        Raises:
            BrokerUnavailable: The topic does not exist, its leaders do not answer, or nothing came in time.
        """
        from kafka_throttle.brokers._reading import read_partition  # noqa: PLC0415 - what starts brokers needs no client

        for partition in sorted(self.end_offsets(topic)):
            yield from read_partition(self.client_config(), topic, partition, isolation_level, timeout)

    def set_producer_quota(self, client_id: str, bytes_per_second: float | None) -> None:
        """Limits what a client may produce, on each broker, or lifts the limit.

        Args:
            client_id: The client's ``client.id``.
            bytes_per_second: The limit, or None for none.

        Raises:
            BrokerUnavailable: No broker takes it.
        """
        self._admin.set_producer_quota(client_id, bytes_per_second)

    def pause(self, node: int = 0) -> None:
        """Stalls a node: its connections stay open, and nothing is answered.

        Args:
            node: Which node.

        Raises:
            BrokerUnavailable: This kind of broker cannot be stalled.
        """
        self._refuse("pause", node)

    def resume(self, node: int = 0) -> None:
        """Lets a paused node go on.

        Args:
            node: Which node.

        Raises:
            BrokerUnavailable: This kind of broker cannot be stalled.
        """
        self._refuse("resume", node)

    def kill(self, node: int = 0) -> None:
        """Makes a node vanish; ``start(node)`` brings it back.

        Args:
            node: Which node.

        Raises:
            BrokerUnavailable: This kind of broker cannot be killed.
        """
        self._refuse("kill", node)

    def _refuse(self, action: str, node: int) -> NoReturn:
        raise BrokerUnavailable(f"{self!r} cannot {action} node {node}: {self._why_not}")

    _why_not = "only a LocalKafka can"
