"""`Record`: one produce() call, taken apart so that it can be kept, and put together again for the client."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import KafkaError, Message

from kafka_throttle._core.groups import group_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["Record", "ShedError", "call_of", "message_of", "record_of"]

_NONE_TYPE = type(None)
_BYTES = (bytes, _NONE_TYPE)
_NO_KEYWORDS: dict[str, Any] = {}
# librdkafka's own limits; a partition beyond is refused by the client in its own words.
_MOST_PARTITION = 2**31 - 1
_MOST_TIMESTAMP = 2**63 - 1


class Record(NamedTuple):
    """A record that is kept by the facade.

    Attributes:
        topic: The topic.
        value: The value.
        key: The key.
        partition: The partition, -1 when the client shall choose.
        timestamp: Milliseconds since the epoch, 0 when the client shall choose.
        headers: Names and values in order, or None.
        callback: The user's callback of this record, or None.
        size: Bytes of value and key.
        first_seen: When it was offered, in seconds since the epoch.
        attempts: Deliveries that failed so far.
    """

    topic: str
    value: bytes | None
    key: bytes | None
    partition: int
    timestamp: int
    headers: tuple[tuple[str, bytes | None], ...] | None
    callback: Callable[[Any, Any], object] | None
    size: int
    first_seen: float
    attempts: int = 0

    @property
    def group(self) -> Hashable:
        """The ordering group."""
        return group_of(self.topic, self.key, self.partition)

    @property
    def header_bytes(self) -> int:
        """Bytes of the names and values of the headers."""
        return sum(len(name) + len(value or b"") for name, value in self.headers or ())


class ShedError(KafkaError):
    """Why a record was not sent: what its callback is told.

    Attributes:
        policy: Name of the policy that gave it up.
        reason: Why, in one word.
    """

    policy: str = ""
    reason: str = ""

    # The client's own comparisons work for its own class alone.
    def __eq__(self, other: object) -> bool:
        return bool(self.code() == (other.code() if isinstance(other, KafkaError) else other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return int(self.code())


def record_of(
    topic: Any,
    value: Any = None,
    key: Any = None,
    partition: Any = -1,
    callback: Any = None,
    on_delivery: Any = None,
    timestamp: Any = 0,
    headers: Any = None,
) -> Record | None:
    """Return the record of a produce() call with these arguments; None: the client has to say what is wrong with them."""
    callback = on_delivery if callback is None else callback
    if (
        value.__class__ not in _BYTES
        or key.__class__ not in _BYTES
        or headers is not None
        or partition != -1
        or timestamp != 0
        or callback is not None
    ):
        try:
            value, key = _as_bytes(value), _as_bytes(key)
            headers = None if headers is None else _headers(headers)
            partition, timestamp = _whole(partition), _whole(timestamp)
        except (TypeError, ValueError):
            return None
        if not (-1 <= partition <= _MOST_PARTITION and 0 <= timestamp <= _MOST_TIMESTAMP):
            return None
        if callback is not None and not callable(callback):
            return None
    size = (0 if value is None else len(value)) + (0 if key is None else len(key))
    return Record(topic, value, key, partition, timestamp, headers, callback, size, time.time())


def call_of(record: Record, callback: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of the produce() call that a record means."""
    topic, value, key, partition, timestamp, headers, *_ = record
    args = topic, value, key, partition, callback
    if headers is None and not timestamp:
        return args, _NO_KEYWORDS
    kwargs: dict[str, Any] = {"timestamp": timestamp} if timestamp else {}
    if headers is not None:
        kwargs["headers"] = list(headers)
    return args, kwargs


def message_of(record: Record, error: KafkaError) -> Message:
    """Return the message that a record's callback is given when the client never had it."""
    timestamp = (1, record.timestamp) if record.timestamp else (0, -1)
    headers: Any = None if record.headers is None else list(record.headers)
    return Message(
        topic=record.topic,
        partition=record.partition,
        key=record.key,
        value=record.value,
        headers=headers,
        error=error,
        timestamp=timestamp,
    )


def _as_bytes(given: Any) -> bytes | None:
    if isinstance(given, (bytes, _NONE_TYPE)):
        return given
    if isinstance(given, str):
        return given.encode()
    raise TypeError


def _whole(given: Any) -> int:
    if not isinstance(given, int):
        raise TypeError
    return int(given)


def _headers(given: Any) -> tuple[tuple[str, bytes | None], ...]:
    if isinstance(given, dict):
        given = list(given.items())
    if not isinstance(given, list):
        raise TypeError
    pairs = []
    for pair in given:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError
        name, value = pair
        pairs.append((name.decode() if isinstance(name, bytes) else _text(name), _as_bytes(value)))
    return tuple(pairs)


def _text(given: Any) -> str:
    if not isinstance(given, str) or "\0" in given:
        raise TypeError
    given.encode()  # lone surrogates
    return given
