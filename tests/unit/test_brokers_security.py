"""Secured listeners: what broker, storage tool and client are told."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from kafka_throttle.brokers import BrokerUnavailable
from kafka_throttle.brokers._security import Security
from kafka_throttle.exceptions import ConfigurationError

HERE = Path("here")
USERS = {"alice": "a-secret", "bob": "b-secret"}


def test_plaintext_needs_nothing() -> None:
    security = Security("PLAINTEXT", users=USERS)
    assert not security.listens
    assert security.server_properties(HERE) == {}
    assert security.format_arguments() == []


def test_scram_users_are_created_with_the_storage() -> None:
    security = Security("SASL_PLAINTEXT", "SCRAM-SHA-512", USERS)
    assert security.format_arguments() == [
        "--add-scram",
        "SCRAM-SHA-512=[name=alice,password=a-secret]",
        "--add-scram",
        "SCRAM-SHA-512=[name=bob,password=b-secret]",
    ]
    assert security.server_properties(HERE) == {
        "listener.name.secured.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.secured.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
    }


def test_plain_users_stand_in_the_listeners_configuration() -> None:
    security = Security("SASL_PLAINTEXT", "PLAIN", USERS)
    assert security.format_arguments() == []
    assert security.server_properties(HERE)["listener.name.secured.plain.sasl.jaas.config"] == (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'user_alice="a-secret" user_bob="b-secret";'
    )


def test_the_client_gets_the_authority_and_the_first_user() -> None:
    assert Security("SASL_SSL", users=USERS).client_config(HERE) == {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(HERE / "ca.pem"),
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "alice",
        "sasl.password": "a-secret",
    }


def test_by_default_there_is_one_user_whose_password_nobody_can_guess() -> None:
    first, second = Security(), Security()
    assert list(first.users) == ["client"]
    assert first.users != second.users


def test_certificates_come_in_the_form_that_kafka_reads(tmp_path: Path) -> None:
    Security("SSL").write_certificates(tmp_path)
    node = (tmp_path / "node.pem").read_text()
    assert node.startswith("-----BEGIN PRIVATE KEY-----")
    assert "-----BEGIN CERTIFICATE-----" in node
    assert "PRIVATE KEY" not in (tmp_path / "ca.pem").read_text()


def test_without_tls_no_certificates_are_written(tmp_path: Path) -> None:
    Security("SASL_PLAINTEXT").write_certificates(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_tls_without_trustme_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(BrokerUnavailable, match="pip install trustme"):
        Security("SSL").write_certificates(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"protocol": "TLS"}, "listeners='TLS': must be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        (
            {"mechanism": "GSSAPI"},
            "sasl_mechanism='GSSAPI': must be one of SCRAM-SHA-256, SCRAM-SHA-512, PLAIN",
        ),
        ({"users": {}}, "users={}: must name at least one user"),
        ({"users": {"a": 'x"y'}}, "users: 'x\"y' must consist of letters, digits and ._~!@#%^&*+- only"),
    ],
)
def test_bad_values_are_named_with_what_is_allowed(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Security(**arguments)
    assert caught.value.problems == (problem,)
