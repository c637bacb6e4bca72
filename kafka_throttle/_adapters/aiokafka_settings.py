"""The settings that aiokafka and librdkafka share, from the one's words into the other's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka_throttle.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["conf_of", "kwargs_of"]

_SAME_SETTINGS = {
    "bootstrap_servers": "bootstrap.servers",
    "client_id": "client.id",
    "transactional_id": "transactional.id",
    "enable_idempotence": "enable.idempotence",
    "security_protocol": "security.protocol",
    "sasl_mechanism": "sasl.mechanism",
    "sasl_plain_username": "sasl.username",
    "sasl_plain_password": "sasl.password",
}


def conf_of(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a librdkafka client for the same cluster: for dead letters, and to be checked.

    Args:
        kwargs: What aiokafka was constructed with; an SSL context cannot be taken over.
    """
    conf = {theirs: kwargs[ours] for ours, theirs in _SAME_SETTINGS.items() if kwargs.get(ours) is not None}
    servers = conf.get("bootstrap.servers", "localhost")
    conf["bootstrap.servers"] = servers if isinstance(servers, str) else ",".join(servers)
    return conf


def kwargs_of(conf: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords for aiokafka that a configuration of librdkafka means.

    Args:
        conf: The configuration of a client.

    Raises:
        ConfigurationError: Something in it has no keyword that means the same.
    """
    keywords = {theirs: ours for ours, theirs in _SAME_SETTINGS.items()}
    problems = [
        f"{key}: has no counterpart in aiokafka; allowed: {', '.join(sorted(keywords))}"
        for key in conf
        if key not in keywords
    ]
    if problems:
        raise ConfigurationError(*problems)
    return {keywords[key]: value for key, value in conf.items()}
