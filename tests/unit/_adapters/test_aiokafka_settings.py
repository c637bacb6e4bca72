"""The settings that aiokafka and librdkafka share."""

from __future__ import annotations

import pytest

from kafka_throttle import ConfigurationError
from kafka_throttle._adapters.aiokafka_settings import conf_of, kwargs_of


def test_settings_are_translated_both_ways() -> None:
    kwargs = {"bootstrap_servers": ["a:1", "b:2"], "client_id": "app", "sasl_plain_username": "me", "acks": 1}
    conf = conf_of(kwargs)
    assert conf == {"bootstrap.servers": "a:1,b:2", "client.id": "app", "sasl.username": "me"}
    assert conf_of({}) == {"bootstrap.servers": "localhost"}
    assert kwargs_of(conf) == {
        "bootstrap_servers": "a:1,b:2", "client_id": "app", "sasl_plain_username": "me"
    }  # fmt: skip
    with pytest.raises(ConfigurationError, match=r"compression\.type: has no counterpart"):
        kwargs_of({"compression.type": "lz4"})
