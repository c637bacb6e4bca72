"""The shape of the machine and the versions that a figure depends on; nothing that names the machine."""

from __future__ import annotations

import os
import platform
from typing import Any

import confluent_kafka
import psutil

from kafka_throttle import __version__
from kafka_throttle.brokers import KAFKA_VERSION

__all__ = ["describe_machine"]


def describe_machine() -> dict[str, Any]:
    """Return cores, memory, system and versions."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "confluent_kafka": confluent_kafka.__version__,
        "librdkafka": confluent_kafka.libversion()[0],
        "kafka": KAFKA_VERSION,
        "kafka_throttle": __version__,
    }
