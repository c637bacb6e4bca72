"""Real Apache Kafka as child processes of this one."""

from __future__ import annotations

import base64
import logging
import os
import shutil
import tempfile
import time
import uuid
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kafka_throttle.brokers._admin import Administration
from kafka_throttle.brokers._cluster import KafkaCluster
from kafka_throttle.brokers._errors import BrokerUnavailable
from kafka_throttle.brokers._java import class_path, find_java
from kafka_throttle.brokers._node import Java, KafkaNode
from kafka_throttle.brokers._properties import NodePorts, free_ports, node_properties
from kafka_throttle.brokers._security import Protocol, SaslMechanism, Security
from kafka_throttle.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kafka_throttle.brokers._process import ChildProcess

__all__ = ["KAFKA_VERSION", "LocalKafka"]

KAFKA_VERSION = "4.3.1"
"""The version that is started when none is named."""

_STOP_GRACE = 3.0
_PORT_ATTEMPTS = 3
_PORT_TAKEN = "Address already in use"
_POLL_INTERVAL = 0.02

_log = logging.getLogger(__name__)


class _PortTaken(BrokerUnavailable):
    """Another try, with other ports, may succeed."""


class LocalKafka(KafkaCluster):
    """A cluster of real Kafka nodes on 127.0.0.1, alive for the length of a ``with`` block.

    Each node is broker and controller at once (KRaft) and keeps its data in a temporary directory that is
    removed at the end. No process and no data outlive this process, however it ends.

    Args:
        nodes: How many, 1 to 9. Internal topics are replicated to at most three.
        version: The Kafka version.
        server_properties: Broker settings to add or to replace on each node.
        listeners: The security protocol that client_config() is for: "PLAINTEXT", "SSL", "SASL_PLAINTEXT" or
            "SASL_SSL". The latter three are an extra listener; ``bootstrap`` stays the plaintext one.
        sasl_mechanism: "SCRAM-SHA-256", "SCRAM-SHA-512" or "PLAIN".
        users: User names and passwords for SASL; by default one user with a random password.
        heap: Memory for the objects of each node, in Java's notation.
        startup_timeout: How long the cluster may take to answer, in seconds; downloads not counted.
        log_level: What the brokers log: "trace", "debug", "info", "warn" or "error".
        log: Called with a line before each step that takes long; by default they go to the logger
            ``kafka_throttle.brokers.local``.
    """

    def __init__(
        self,
        nodes: int = 1,
        version: str = KAFKA_VERSION,
        server_properties: Mapping[str, str] | None = None,
        *,
        listeners: Protocol = "PLAINTEXT",
        sasl_mechanism: SaslMechanism = "SCRAM-SHA-256",
        users: Mapping[str, str] | None = None,
        heap: str = "512m",
        startup_timeout: float = 60.0,
        log_level: str = "warn",
        log: Callable[[str], None] = _log.info,
    ) -> None:
        if not 1 <= nodes <= 9:
            raise ConfigurationError(f"nodes={nodes!r}: must be 1 to 9")
        self._size = nodes
        self._version = version
        self._server_properties = dict(server_properties or {})
        self._security = Security(listeners, sasl_mechanism, *([] if users is None else [users]))
        self._heap = heap
        self._startup_timeout = startup_timeout
        self._log_level = log_level
        self._say = log
        self._nodes: list[KafkaNode] = []
        self._ports: list[NodePorts] = []
        self._bootstrap = ""
        self._cluster_id = ""
        self._administration: Administration | None = None
        self._finalizer: weakref.finalize[..., LocalKafka] | None = None

    def __repr__(self) -> str:
        if not self._nodes:
            return f"<LocalKafka {self._version} stopped>"
        running = sum(node.process is not None and node.process.running for node in self._nodes)
        return f"<LocalKafka {self._version} {running}/{self._size} nodes at {self._bootstrap}>"

    @property
    def bootstrap(self) -> str:
        """``host:port`` of each node's plaintext listener, separated by commas."""
        self._require_started()
        return self._bootstrap

    def client_config(self) -> dict[str, str]:
        """What a client needs to connect to the listener that was asked for; a new dict on each call."""
        self._require_started()
        if not self._security.listens:
            return {"bootstrap.servers": self._bootstrap}
        return {
            **self._security.client_config(self._nodes[0].cluster),
            "bootstrap.servers": ",".join(f"127.0.0.1:{port.secured}" for port in self._ports),
        }

    def start(self, node: int | None = None) -> None:
        """Starts the cluster, or one node again that was killed, and waits until it answers.

        Args:
            node: Which node; None for the cluster, which does nothing when it is started already.

        Raises:
            BrokerUnavailable: It cannot be had or does not answer in time; the message has the log's end.
        """
        if node is not None:
            self._start_again(self._node(node))
        elif not self._nodes:
            self._start_cluster()

    def stop(self) -> None:
        """Ends all nodes within a few seconds and removes their data; does nothing when stopped already."""
        if self._finalizer is not None:
            self._finalizer()
        self._finalizer = None
        self._administration = None
        self._nodes = []

    def _start_cluster(self) -> None:
        java = Java(find_java(), class_path(self._version, self._say), self._log_level)
        for _ in range(_PORT_ATTEMPTS - 1):
            # Somebody else may take one of the ports after we found it free.
            with suppress(_PortTaken):
                self._try_to_start(java)
                return
        self._try_to_start(java)

    def _try_to_start(self, java: Java) -> None:
        try:
            self._set_up(java)
        except BrokerUnavailable as error:
            self.stop()
            if _PORT_TAKEN in str(error):
                raise _PortTaken(str(error)) from error
            raise
        except BaseException:  # Ctrl-C is the usual one
            self.stop()
            raise

    def _set_up(self, java: Java) -> None:
        directory = Path(tempfile.mkdtemp(prefix="kafka-throttle-"))
        self._nodes = [
            KafkaNode(number, directory / f"node-{number}", directory, java, self._heap)
            for number in range(self._size)
        ]
        self._finalizer = weakref.finalize(self, _clean_up, self._nodes, directory, os.getpid())
        self._ports = free_ports(self._size)
        self._bootstrap = ",".join(f"127.0.0.1:{port.broker}" for port in self._ports)
        self._cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        self._administration = Administration(self._bootstrap)
        self._prepare(directory)
        self._say(f"starting Apache Kafka {self._version}, {self._size} node(s)")
        for node in self._nodes:
            node.start()
        for node in self._nodes:
            self._await(node, set(range(self._size)))

    def _prepare(self, directory: Path) -> None:
        security = self._security
        security.write_certificates(directory)
        for node in self._nodes:
            properties = node_properties(node.number, self._ports, node.directory / "data", security)
            node.configure({**properties, **security.server_properties(directory), **self._server_properties})
        arguments = security.format_arguments()
        formatting = [(node, node.begin_format(self._cluster_id, arguments)) for node in self._nodes]
        for node, tool in formatting:
            node.finish_format(tool)

    def _start_again(self, node: KafkaNode) -> None:
        if node.process is None or not node.process.running:
            node.start()
        self._await(node, {node.number})

    def _await(self, node: KafkaNode, alive: set[int]) -> None:
        """Waits until a node counts others, and itself, among the living; the others may take long to notice."""
        probe = Administration(f"127.0.0.1:{self._ports[node.number].broker}")
        deadline = time.monotonic() + self._startup_timeout
        # By its id, because somebody else's Kafka may have taken the port.
        while not alive <= probe.live_nodes(0.5, self._cluster_id):
            if node.process is not None and not node.process.running:
                raise BrokerUnavailable(node.describe(f"Kafka node {node.number} ended while starting"))
            if time.monotonic() > deadline:
                problem = f"Kafka node {node.number} does not answer after {self._startup_timeout:g} s"
                raise BrokerUnavailable(node.describe(problem))
            time.sleep(_POLL_INTERVAL)

    def pause(self, node: int = 0) -> None:
        """Stalls a node where it stands (SIGSTOP): its connections stay open, and nothing is answered.

        Args:
            node: Which node.
        """
        self._process(node).pause()

    def resume(self, node: int = 0) -> None:
        """Lets a paused node go on.

        Args:
            node: Which node.
        """
        self._process(node).resume()

    def kill(self, node: int = 0) -> None:
        """Crashes a node (SIGKILL) and waits until it is gone; ``start(node)`` brings it back with its data.

        Args:
            node: Which node.
        """
        self._process(node).kill()

    def log_text(self, node: int = 0) -> str:
        """What a node has logged so far.

        Args:
            node: Which node.
        """
        return self._node(node).log_text()

    @property
    def _admin(self) -> Administration:
        self._require_started()
        assert self._administration is not None  # noqa: S101 - set together with the nodes
        return self._administration

    def _require_started(self) -> None:
        if not self._nodes:
            raise BrokerUnavailable(
                "this LocalKafka is not started: use it in a with statement, or call start()"
            )

    def _node(self, number: int) -> KafkaNode:
        self._require_started()
        if not 0 <= number < self._size:
            raise ConfigurationError(f"node={number!r}: this cluster has the nodes 0 to {self._size - 1}")
        return self._nodes[number]

    def _process(self, number: int) -> ChildProcess:
        process = self._node(number).process
        assert process is not None  # noqa: S101 - start() returns with all nodes running, or raises
        return process


def _clean_up(nodes: Iterable[KafkaNode], directory: Path, owner: int) -> None:
    """Ends the nodes and removes their directory; not in a fork, which holds copies of all this."""
    if os.getpid() != owner:
        return
    processes = [node.process for node in nodes if node.process is not None]
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _STOP_GRACE
    for process in processes:
        if not process.wait(max(0.0, deadline - time.monotonic())):
            process.kill()
    shutil.rmtree(directory, ignore_errors=True)
