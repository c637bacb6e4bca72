"""The asyncio facades: `AIOKafkaProducer` over aiokafka, `AIOProducer` over confluent_kafka.

    from kafka_throttle.aio import AIOKafkaProducer     # was: from aiokafka import AIOKafkaProducer
    from kafka_throttle.aio import AIOProducer          # was: from confluent_kafka.aio import AIOProducer

Each needs its own client alone: they are loaded when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kafka_throttle._aio.aiokafka_producer import AIOKafkaProducer
    from kafka_throttle._aio.confluent_producer import AIOProducer
    from kafka_throttle._shedding.untold import Spilled

__all__ = ["AIOKafkaProducer", "AIOProducer", "Spilled"]

_HOME = {
    "AIOKafkaProducer": "_aio.aiokafka_producer",
    "AIOProducer": "_aio.confluent_producer",
    "Spilled": "_shedding.untold",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"kafka_throttle.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
