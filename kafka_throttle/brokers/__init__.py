"""Brokers for demonstrations, tests and benchmarks: real Apache Kafka as a child process, and librdkafka's mock."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kafka_throttle.brokers._errors import BrokerUnavailable
    from kafka_throttle.brokers.local import KAFKA_VERSION, LocalKafka

__all__ = ["KAFKA_VERSION", "BrokerUnavailable", "LocalKafka"]

# Loaded on first use, because the pytest plugin, which is in this package, is imported by every pytest run.
_HOMES = {
    "BrokerUnavailable": "_errors",
    "KAFKA_VERSION": "local",
    "LocalKafka": "local",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
