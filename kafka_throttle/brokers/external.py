"""A cluster that exists already and belongs to somebody else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kafka_throttle.brokers._admin import Administration
from kafka_throttle.brokers._cluster import BROKER_DEFAULT, KafkaCluster
from kafka_throttle.brokers._errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BOOTSTRAP_VARIABLE", "ExternalKafka", "bootstrap_from_environment"]

BOOTSTRAP_VARIABLE = "KAFKA_THROTTLE_BOOTSTRAP"
"""The environment variable that names an existing cluster."""


def bootstrap_from_environment() -> str | None:
    """The existing cluster that the environment names.

    Returns:
        ``host:port`` of one or more brokers separated by commas, or None when none is named.
    """
    return os.environ.get(BOOTSTRAP_VARIABLE, "").strip() or None


class ExternalKafka(KafkaCluster):
    """An existing cluster: topics created and quotas set through it are removed at the end, nothing else changes.

    Args:
        bootstrap: ``host:port`` of one or more brokers, separated by commas.
        config: What clients need besides, such as ``{"security.protocol": "SSL"}``.
        startup_timeout: How long the cluster may take to answer, in seconds.
    """

    _why_not = "it is an existing cluster; only the nodes of a LocalKafka can be disturbed"

    def __init__(
        self, bootstrap: str, config: Mapping[str, str] | None = None, *, startup_timeout: float = 10.0
    ) -> None:
        self._bootstrap = bootstrap
        self._config = dict(config or {})
        self._startup_timeout = startup_timeout
        self._administration: Administration | None = None
        self._topics: set[str] = set()
        self._limited: set[str] = set()

    def __repr__(self) -> str:
        return f"<ExternalKafka at {self._bootstrap}>"

    @property
    def bootstrap(self) -> str:
        """The addresses that were given."""
        return self._bootstrap

    def client_config(self) -> dict[str, str]:
        """What a client needs to connect; a new dict on each call."""
        return {**self._config, "bootstrap.servers": self._bootstrap}

    def start(self, node: int | None = None) -> None:
        """Makes sure that the cluster answers.

        Args:
            node: Must be None: the nodes of an existing cluster cannot be started.

        Raises:
            BrokerUnavailable: It does not answer, or a node was named.
        """
        if node is not None:
            self._refuse("start", node)
        if self._administration is not None:
            return
        administration = Administration(self._bootstrap, self._config)
        if not administration.live_nodes(self._startup_timeout):
            raise BrokerUnavailable(
                f"no broker answers at {self._bootstrap} within {self._startup_timeout:g} s"
            )
        self._administration = administration

    def stop(self) -> None:
        """Removes the topics and quotas that came through this object; does nothing when stopped already."""
        if self._administration is None:
            return
        for client_id in self._limited:
            self._administration.set_producer_quota(client_id, None)
        self._administration.delete_topics(self._topics)
        self._limited, self._topics, self._administration = set(), set(), None

    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        replication_factor: int = BROKER_DEFAULT,
        config: Mapping[str, str] | None = None,
    ) -> None:
        """As for every cluster; the topic is deleted at the end."""
        super().create_topic(name, partitions, replication_factor, config)
        self._topics.add(name)

    def set_producer_quota(self, client_id: str, bytes_per_second: float | None) -> None:
        """As for every cluster; the limit is lifted at the end."""
        self._limited.add(client_id)
        super().set_producer_quota(client_id, bytes_per_second)

    @property
    def _admin(self) -> Administration:
        if self._administration is None:
            raise BrokerUnavailable(f"{self!r} is not started: use it in a with statement, or call start()")
        return self._administration
