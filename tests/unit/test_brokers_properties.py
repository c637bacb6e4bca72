"""The configuration of a small cluster fits its size and its listeners."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from kafka_throttle.brokers._properties import NodePorts, format_properties, free_ports, node_properties
from kafka_throttle.brokers._security import Security

PORTS = [NodePorts(1, 2, 3), NodePorts(4, 5, 6), NodePorts(7, 8, 9)]
DATA = Path("data")


@pytest.mark.parametrize(("nodes", "replicas", "in_sync"), [(1, "1", "1"), (2, "2", "2"), (3, "3", "2")])
def test_internal_topics_fit_the_number_of_nodes(nodes: int, replicas: str, in_sync: str) -> None:
    properties = node_properties(0, PORTS[:nodes], DATA, Security())
    assert {properties[name] for name in properties if name.endswith("replication.factor")} == {replicas}
    assert {properties[name] for name in properties if name.endswith("min.isr")} == {in_sync}


def test_every_node_knows_the_controllers_of_all() -> None:
    voters = {node_properties(node, PORTS, DATA, Security())["controller.quorum.voters"] for node in range(3)}
    assert voters == {"0@127.0.0.1:2,1@127.0.0.1:5,2@127.0.0.1:8"}


def test_without_security_there_is_one_broker_listener() -> None:
    properties = node_properties(1, PORTS, DATA, Security())
    assert properties["listeners"] == "BROKER://127.0.0.1:4,CONTROLLER://127.0.0.1:5"
    assert properties["advertised.listeners"] == "BROKER://127.0.0.1:4"
    assert properties["listener.security.protocol.map"] == "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT"


def test_a_secured_listener_stands_beside_the_plaintext_one() -> None:
    properties = node_properties(1, PORTS, DATA, Security("SASL_SSL"))
    assert properties["advertised.listeners"] == "BROKER://127.0.0.1:4,SECURED://127.0.0.1:6"
    assert "SECURED:SASL_SSL" in properties["listener.security.protocol.map"].split(",")


def test_a_properties_file_escapes_what_java_would_interpret() -> None:
    assert format_properties({"a": "x\\y", "b": "1\n2", "c": "3"}) == "a=x\\\\y\nb=1\\n2\nc=3\n"


def test_free_ports_are_distinct_and_nobody_listens_on_them() -> None:
    ports = [port for node in free_ports(3) for port in (node.broker, node.controller, node.secured)]
    assert len(set(ports)) == 9
    for port in ports:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
