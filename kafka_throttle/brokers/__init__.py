"""Brokers for demonstrations, tests and benchmarks: real Apache Kafka as a child process, and librdkafka's mock.

```
with LocalKafka(nodes=3) as kafka:
    kafka.create_topic("orders", partitions=6)
    producer = Producer(kafka.client_config())
    kafka.pause(node=1)
```

LocalKafka, ExternalKafka and MockKafka have one shape, KafkaCluster.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kafka_throttle.brokers._cluster import KafkaCluster
    from kafka_throttle.brokers._errors import BrokerUnavailable
    from kafka_throttle.brokers.external import ExternalKafka, bootstrap_from_environment
    from kafka_throttle.brokers.local import KAFKA_VERSION, LocalKafka
    from kafka_throttle.brokers.mock import ApiKey, MockKafka

__all__ = [
    "KAFKA_VERSION",
    "ApiKey",
    "BrokerUnavailable",
    "ExternalKafka",
    "KafkaCluster",
    "LocalKafka",
    "MockKafka",
    "bootstrap_from_environment",
]

# Loaded on first use, because the pytest plugin, which is in this package, is imported by every pytest run.
_HOMES = {
    "ApiKey": "mock",
    "BrokerUnavailable": "_errors",
    "ExternalKafka": "external",
    "KAFKA_VERSION": "local",
    "KafkaCluster": "_cluster",
    "LocalKafka": "local",
    "MockKafka": "mock",
    "bootstrap_from_environment": "external",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
