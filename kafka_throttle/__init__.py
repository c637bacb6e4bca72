"""Keeps applications alive, honest and fast while Apache Kafka cannot keep up.

    from kafka_throttle import Producer            # was: from confluent_kafka import Producer

See `Producer`, and `Throttle` for what can be chosen.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kafka_throttle._core.limits import AIMD, Fixed
    from kafka_throttle._sync import Producer, SerializingProducer
    from kafka_throttle._throttle import Rule, Throttle
    from kafka_throttle.exceptions import (
        CallbackReentryError,
        ConfigurationError,
        DeadLetterError,
        ForkedProducerError,
        LossNotApproved,
        Rejected,
        Shed,
        SpoolCorrupt,
        SpoolError,
        SpoolFull,
        SpoolLocked,
        ThrottleError,
    )
    from kafka_throttle.policies import (
        Block,
        DeadLetter,
        DropNewest,
        DropOldest,
        Policy,
        Reject,
        Sample,
        Spill,
    )
    from kafka_throttle.statistics import Statistics

    __version__: str

__all__ = [
    "AIMD",
    "Block",
    "CallbackReentryError",
    "ConfigurationError",
    "DeadLetter",
    "DeadLetterError",
    "DropNewest",
    "DropOldest",
    "Fixed",
    "ForkedProducerError",
    "LossNotApproved",
    "Policy",
    "Producer",
    "Reject",
    "Rejected",
    "Rule",
    "Sample",
    "SerializingProducer",
    "Shed",
    "Spill",
    "SpoolCorrupt",
    "SpoolError",
    "SpoolFull",
    "SpoolLocked",
    "Statistics",
    "Throttle",
    "ThrottleError",
    "__version__",
]

# Names are loaded when they are used (PEP 562): kafka_throttle.brokers, the pytest plugin or the command line need
# neither the client nor the configuration classes.
_HOME = {
    "AIMD": "_core.limits",
    "Fixed": "_core.limits",
    "Producer": "_sync",
    "SerializingProducer": "_sync",
    "Rule": "_throttle",
    "Throttle": "_throttle",
    "CallbackReentryError": "exceptions",
    "ConfigurationError": "exceptions",
    "DeadLetterError": "exceptions",
    "ForkedProducerError": "exceptions",
    "LossNotApproved": "exceptions",
    "Rejected": "exceptions",
    "Shed": "exceptions",
    "SpoolCorrupt": "exceptions",
    "SpoolError": "exceptions",
    "SpoolFull": "exceptions",
    "SpoolLocked": "exceptions",
    "ThrottleError": "exceptions",
    "Block": "policies",
    "DeadLetter": "policies",
    "DropNewest": "policies",
    "DropOldest": "policies",
    "Policy": "policies",
    "Reject": "policies",
    "Sample": "policies",
    "Spill": "policies",
    "Statistics": "statistics",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = import_module("importlib.metadata").version("kafka-throttle")
    elif name in _HOME:
        value = getattr(import_module(f"kafka_throttle.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
