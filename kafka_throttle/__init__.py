"""Keeps applications alive, honest and fast while Apache Kafka cannot keep up.

    from kafka_throttle import Producer            # was: from confluent_kafka import Producer

See `Producer`, and `Throttle` for what can be chosen.
"""

from importlib.metadata import version as _version

from kafka_throttle._core.limits import AIMD, Fixed
from kafka_throttle._sync import Producer, SerializingProducer
from kafka_throttle._throttle import Rule, Throttle
from kafka_throttle.exceptions import (
    CallbackReentryError,
    ConfigurationError,
    ForkedProducerError,
    LossNotApproved,
    Rejected,
    ThrottleError,
)
from kafka_throttle.policies import Block, Policy, Reject
from kafka_throttle.statistics import Statistics

__all__ = [
    "AIMD",
    "Block",
    "CallbackReentryError",
    "ConfigurationError",
    "Fixed",
    "ForkedProducerError",
    "LossNotApproved",
    "Policy",
    "Producer",
    "Reject",
    "Rejected",
    "Rule",
    "SerializingProducer",
    "Statistics",
    "Throttle",
    "ThrottleError",
    "__version__",
]

__version__ = _version("kafka-throttle")
