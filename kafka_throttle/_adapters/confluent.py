"""What the facade needs to know of confluent_kafka: its settings, and which errors pass."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from attrs import frozen
from confluent_kafka import KafkaError, KafkaException

from kafka_throttle._core.limits import Bounds
from kafka_throttle._records import ShedError
from kafka_throttle.exceptions import Shed, known_as

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "MAY_BE_WRITTEN",
    "TRANSIENT",
    "ClientSettings",
    "ShedHere",
    "as_exception",
    "count_transient",
    "error_names",
    "is_refusal",
    "is_unknown",
    "may_pass",
]

# Errors that time or another broker can heal: they speak of congestion or outage, not of the record.
TRANSIENT: frozenset[int] = frozenset(
    getattr(KafkaError, name)
    for name in (
        "_MSG_TIMED_OUT",
        "_TIMED_OUT",
        "_TIMED_OUT_QUEUE",
        "_TRANSPORT",
        "_ALL_BROKERS_DOWN",
        "_QUEUE_FULL",
        "_WAIT_COORD",
        "_LEADER",
        "LEADER_NOT_AVAILABLE",
        "NOT_LEADER_FOR_PARTITION",
        "REQUEST_TIMED_OUT",
        "BROKER_NOT_AVAILABLE",
        "REPLICA_NOT_AVAILABLE",
        "NETWORK_EXCEPTION",
        "NOT_ENOUGH_REPLICAS",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        "KAFKA_STORAGE_ERROR",
        "THROTTLING_QUOTA_EXCEEDED",
        "COORDINATOR_NOT_AVAILABLE",
        "COORDINATOR_LOAD_IN_PROGRESS",
        "NOT_COORDINATOR",
        "UNKNOWN_LEADER_EPOCH",
        "FENCED_LEADER_EPOCH",
    )
    if hasattr(KafkaError, name)
)

# Python is not told whether such a record was written.
MAY_BE_WRITTEN: frozenset[int] = frozenset(
    getattr(KafkaError, name)
    for name in (
        "_MSG_TIMED_OUT",
        "_PURGE_INFLIGHT",
        "_TRANSPORT",
        "REQUEST_TIMED_OUT",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    )
)

# The client was told to give records up, or gave itself up: that says nothing against the record.
_GIVEN_UP = frozenset(
    getattr(KafkaError, name)
    for name in ("_PURGE_QUEUE", "_PURGE_INFLIGHT", "_FATAL", "_DESTROY", "_FENCED", "_STATE")
    if hasattr(KafkaError, name)
)

# What produce() refuses for the record's sake.
_REFUSALS = frozenset(
    getattr(KafkaError, name)
    for name in ("MSG_SIZE_TOO_LARGE", "_INVALID_ARG", "_UNKNOWN_PARTITION", "_UNKNOWN_TOPIC", "INVALID_MSG")
)

# A tenth of the client's buffer stays free, so that its own BufferError is rare.
_SHARE = 0.9


def count_transient(errors: Mapping[int, int]) -> int:
    """Return how many of the failed records failed with an error that passes."""
    return sum(count for code, count in errors.items() if code in TRANSIENT)


def may_pass(error: KafkaError) -> bool:
    """Return whether a failed record can be sent again with success: nothing speaks against the record itself."""
    return error.code() in TRANSIENT or error.code() in _GIVEN_UP


def is_unknown(error: KafkaError) -> bool:
    """Return whether a failed record may have been written."""
    return error.code() in MAY_BE_WRITTEN


def is_refusal(error: BaseException) -> bool:
    """Return whether produce() raised this because of the record, so that it would do so again."""
    if isinstance(error, KafkaException):
        return error.args[0].code() in _REFUSALS
    return isinstance(error, (TypeError, ValueError, OverflowError))


class ShedHere(Shed, KafkaException):
    """`Shed`, for those who expect the client's exception; its first argument is the error, as there."""


known_as(Shed, ShedHere)


def as_exception(error: KafkaError, message: Any) -> BaseException:
    """Return the exception that the future of a record raises."""
    if isinstance(error, ShedError):
        return ShedHere(error, topic=message.topic(), policy=error.policy, reason=error.reason)
    return KafkaException(error)


def error_names(errors: Mapping[int, int]) -> dict[str, int]:
    """Return the counts by the client's names of the errors, in the place of their codes."""
    return {KafkaError(code).name(): count for code, count in errors.items()}


@frozen
class ClientSettings:
    """The settings of a client that bound what it can hold, with librdkafka's defaults.

    Attributes:
        max_messages: Records that the client can hold.
        buffer_bytes: Bytes of values that it can hold.
        linger: Seconds for which it waits for a batch to fill.
        message_timeout: Seconds after which it gives a record up; infinity: never.
        client_id: Its client.id.
        max_message_bytes: The largest record that it takes, in bytes of value and key.
    """

    max_messages: int = 100_000
    buffer_bytes: int = 1_048_576 * 1024
    linger: float = 0.005
    message_timeout: float = 300.0
    client_id: str = "rdkafka"
    max_message_bytes: int = 1_000_000

    @classmethod
    def of(cls, conf: Mapping[str, Any]) -> ClientSettings:
        """Read them from a client's configuration; what cannot be read is left for the client to refuse."""
        flat = {**_mapping(conf.get("default.topic.config")), **conf}
        return cls(
            max_messages=int(_number(flat, 100_000, "queue.buffering.max.messages") or 2_147_483_647),
            buffer_bytes=int(_number(flat, 1_048_576, "queue.buffering.max.kbytes")) * 1024,
            linger=_number(flat, 5, "linger.ms", "queue.buffering.max.ms") / 1000,
            message_timeout=_number(flat, 300_000, "message.timeout.ms", "delivery.timeout.ms") / 1000
            or math.inf,
            client_id=str(flat.get("client.id", "rdkafka")),
            max_message_bytes=int(_number(flat, 1_000_000, "message.max.bytes")),
        )

    @property
    def bounds(self) -> Bounds:
        """The bounds for the limit: a share of what the client can hold."""
        return Bounds(
            most_records=max(1, int(_SHARE * self.max_messages)),
            most_bytes=max(1, int(_SHARE * self.buffer_bytes)),
            linger=self.linger,
        )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(conf: Mapping[str, Any], default: float, *names: str) -> float:
    for name in names:
        if name in conf:
            try:
                return max(0.0, float(conf[name]))
            except (TypeError, ValueError):
                return default
    return default
