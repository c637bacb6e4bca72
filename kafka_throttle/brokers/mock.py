"""librdkafka's mock cluster: instant, offline, with faults on demand; no substitute for the real one."""

from __future__ import annotations

import difflib
import os
import weakref
from enum import IntEnum
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError

from kafka_throttle.brokers._admin import Administration
from kafka_throttle.brokers._cluster import BROKER_DEFAULT, KafkaCluster
from kafka_throttle.brokers._errors import BrokerUnavailable
from kafka_throttle.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kafka_throttle.brokers._librdkafka import MockClusterHandle

__all__ = ["ApiKey", "MockKafka"]

_ALL = -1


class ApiKey(IntEnum):
    """The kinds of requests whose failures a test may want."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    FIND_COORDINATOR = 10
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    END_TXN = 26


class MockKafka(KafkaCluster):
    """A mock cluster inside this process that any Kafka client, in any process, can connect to.

    It keeps at most 5 MiB or 100 000 batches a partition, gives every record the timestamp 1234, detects no
    duplicates, fences nobody, and knows no quotas: good for wiring and faults, not for figures.

    Args:
        nodes: How many brokers. Numbered from 0 here, and from 1 in what clients see.
    """

    _why_not = "the mock cluster knows kill(), start(), set_rtt() and errors instead"

    def __init__(self, nodes: int = 1) -> None:
        if nodes < 1:
            raise ConfigurationError(f"nodes={nodes!r}: must be at least 1")
        self._size = nodes
        self._started: MockClusterHandle | None = None
        self._administration: Administration | None = None
        self._finalizer: weakref.finalize[..., MockKafka] | None = None

    def __repr__(self) -> str:
        return f"<MockKafka {'stopped' if self._started is None else f'at {self._started.bootstrap}'}>"

    @property
    def bootstrap(self) -> str:
        """``host:port`` of each node, separated by commas."""
        return self._handle.bootstrap

    def start(self, node: int | None = None) -> None:
        """Starts the cluster, or brings a node back that was killed.

        Args:
            node: Which node; None for the cluster, which does nothing when it is started already.

        Raises:
            BrokerUnavailable: There is no librdkafka with a mock cluster.
        """
        if node is not None:
            self.broker_up(node)
        elif self._started is None:
            from kafka_throttle.brokers._librdkafka import MockClusterHandle  # noqa: PLC0415 - loads ctypes

            self._started = MockClusterHandle(self._size)
            self._finalizer = weakref.finalize(self, _destroy, self._started, os.getpid())

    def stop(self) -> None:
        """Ends the cluster and forgets its records; does nothing when stopped already."""
        self._administration = None
        if self._finalizer is not None:
            self._finalizer()
        self._finalizer = self._started = None

    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        replication_factor: int = BROKER_DEFAULT,
        config: Mapping[str, str] | None = None,
    ) -> None:
        """Creates a topic; producing to one that does not exist creates it as well, with four partitions.

        Args:
            name: The topic.
            partitions: How many partitions.
            replication_factor: How many replicas; by default all nodes, at most three.
            config: Must be empty: the mock cluster has no topic settings.

        Raises:
            BrokerUnavailable: It exists already.
        """
        if config:
            raise ConfigurationError(f"config={dict(config)!r}: the mock cluster has no topic settings")
        replicas = min(3, self._size) if replication_factor == BROKER_DEFAULT else replication_factor
        self._handle.call("topic_create", name.encode(), partitions, replicas)

    def set_producer_quota(self, client_id: str, bytes_per_second: float | None) -> None:
        """Refused: the mock cluster never throttles.

        Raises:
            BrokerUnavailable: Always.
        """
        raise BrokerUnavailable(
            f"quota of {bytes_per_second} for {client_id!r}: the mock cluster never throttles; use LocalKafka"
        )

    def kill(self, node: int = 0) -> None:
        """Makes a node vanish, as broker_down() does; ``start(node)`` brings it back.

        Args:
            node: Which node.
        """
        self.broker_down(node)

    def broker_down(self, node: int = 0) -> None:
        """Cuts a node's connections and lets it refuse new ones; its partitions keep it as their leader.

        Args:
            node: Which node.
        """
        self._handle.call("broker_set_down", self._broker_id(node))

    def broker_up(self, node: int = 0) -> None:
        """Lets a node accept connections again.

        Args:
            node: Which node.
        """
        self._handle.call("broker_set_up", self._broker_id(node))

    def set_rtt(self, seconds: float, node: int | None = None) -> None:
        """Delays each response to requests from now on.

        Args:
            seconds: By how much.
            node: Of which node; None for all.
        """
        broker = _ALL if node is None else self._broker_id(node)
        self._handle.call("broker_set_rtt", broker, round(seconds * 1000))

    def push_errors(self, api_key: int, *errors: str | int) -> None:
        """Lets the next requests of a kind fail, one for each error, in this order.

        Args:
            api_key: Which kind of request, such as ``ApiKey.PRODUCE``.
            *errors: Names of KafkaError's constants, such as "NOT_ENOUGH_REPLICAS", or their codes;
                "_TRANSPORT" cuts the connection, 0 lets one request pass.
        """
        self._handle.push_request_errors(api_key, [_error_code(error) for error in errors])

    def clear_errors(self, api_key: int) -> None:
        """Forgets the errors that were pushed and are still to come.

        Args:
            api_key: Of which kind of request.
        """
        self._handle.call("clear_request_errors", api_key)

    def topic_error(self, topic: str, error: str | int = 0) -> None:
        """Lets metadata requests for a topic fail until told otherwise.

        Args:
            topic: The topic.
            error: The error's name or code, as for push_errors(); 0 for none.
        """
        self._handle.call("topic_set_error", topic.encode(), _error_code(error))

    def set_leader(self, topic: str, partition: int, node: int | None) -> None:
        """Moves a partition to another leader.

        Args:
            topic: The topic, created where it does not exist.
            partition: The partition.
            node: The new leader; None leaves the partition without one.
        """
        broker = -1 if node is None else self._broker_id(node)
        self._handle.call("partition_set_leader", topic.encode(), partition, broker)

    @property
    def _handle(self) -> MockClusterHandle:
        if self._started is None:
            raise BrokerUnavailable(
                "this MockKafka is not started: use it in a with statement, or call start()"
            )
        return self._started

    @property
    def _admin(self) -> Administration:
        if self._administration is None:
            self._administration = Administration(self.bootstrap)
        return self._administration

    def _broker_id(self, node: int) -> int:
        if not 0 <= node < self._size:
            raise ConfigurationError(f"node={node!r}: this cluster has the nodes 0 to {self._size - 1}")
        return node + 1


def _error_code(error: str | int) -> int:
    if isinstance(error, int):
        return error
    code = getattr(KafkaError, error, None)
    if isinstance(code, int):
        return code
    names = [name for name in vars(KafkaError) if name.lstrip("_").isupper()]
    near = difflib.get_close_matches(error, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigurationError(f"error {error!r}: not a constant of confluent_kafka.KafkaError{hint}")


def _destroy(handle: MockClusterHandle, owner: int) -> None:
    """Ends the cluster; not in a fork, which has none of its threads."""
    if os.getpid() == owner:
        handle.destroy()
