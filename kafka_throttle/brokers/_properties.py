"""The configuration of a small KRaft cluster on one machine, as data."""

from __future__ import annotations

import random
import socket
from typing import TYPE_CHECKING

from attrs import frozen

from kafka_throttle.brokers._errors import BrokerUnavailable
from kafka_throttle.brokers._security import SECURED_LISTENER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kafka_throttle.brokers._security import Security

__all__ = ["NodePorts", "format_properties", "free_ports", "node_properties"]

_FIRST_PORT, _LAST_PORT = 20_000, 32_000
"""Below what Linux and macOS give to outgoing connections, one of which would else take the port of a killed node."""


@frozen
class NodePorts:
    """Where one node listens on 127.0.0.1."""

    broker: int
    controller: int
    secured: int


def free_ports(nodes: int) -> list[NodePorts]:
    """Picks ports that nobody listens on at the moment.

    Args:
        nodes: For how many nodes.

    Returns:
        The ports of each node.

    Raises:
        BrokerUnavailable: The range has no free ports left.
    """
    wanted = 3 * nodes
    # Random, so that several processes that start brokers at the same time seldom pick the same.
    candidates = random.sample(range(_FIRST_PORT, _LAST_PORT), _LAST_PORT - _FIRST_PORT)
    found: list[int] = []
    for port in candidates:
        if _is_free(port):
            found.append(port)
        if len(found) == wanted:
            return [NodePorts(*found[start : start + 3]) for start in range(0, wanted, 3)]
    raise BrokerUnavailable(f"fewer than {wanted} free ports between {_FIRST_PORT} and {_LAST_PORT}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def node_properties(node: int, ports: Sequence[NodePorts], data: Path, security: Security) -> dict[str, str]:
    """The server properties of one node that is broker and controller at once.

    Args:
        node: The node id, an index of ports.
        ports: The ports of each node of the cluster.
        data: Where the node keeps its data.
        security: Whether there is another listener beside the plaintext one, and which.

    Returns:
        The properties.
    """
    mine, nodes = ports[node], len(ports)
    brokers = {"BROKER": (mine.broker, "PLAINTEXT")}
    if security.listens:
        brokers[SECURED_LISTENER] = (mine.secured, security.protocol)
    everything = {**brokers, "CONTROLLER": (mine.controller, "PLAINTEXT")}
    replicas, in_sync = min(3, nodes), min(2, nodes)
    return {
        "process.roles": "broker,controller",
        "node.id": str(node),
        "controller.quorum.voters": ",".join(f"{i}@127.0.0.1:{p.controller}" for i, p in enumerate(ports)),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "BROKER",
        "listeners": _addresses(everything),
        "advertised.listeners": _addresses(brokers),
        "listener.security.protocol.map": ",".join(f"{name}:{used[1]}" for name, used in everything.items()),
        "log.dirs": str(data),
        # Internal topics that fit the cluster, small enough to be there at once.
        "offsets.topic.replication.factor": str(replicas),
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": str(replicas),
        "transaction.state.log.min.isr": str(in_sync),
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": str(replicas),
        "share.coordinator.state.topic.min.isr": str(in_sync),
        "share.coordinator.state.topic.num.partitions": "4",
        "default.replication.factor": str(replicas),
        # Consumers of a test should not wait for others, and the cleaner need not reserve 128 MB of the heap.
        "group.initial.rebalance.delay.ms": "0",
        "log.cleaner.dedupe.buffer.size": str(4 * 1024 * 1024),
    }


def _addresses(listeners: Mapping[str, tuple[int, str]]) -> str:
    return ",".join(f"{name}://127.0.0.1:{port}" for name, (port, _) in listeners.items())


def format_properties(properties: Mapping[str, str]) -> str:
    """A Java properties file.

    Args:
        properties: Names and values.

    Returns:
        Its text, with what Java would read as an escape written as one.
    """
    return "".join(f"{name}={_escape(str(value))}\n" for name, value in properties.items())


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")
