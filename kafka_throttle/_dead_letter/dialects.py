"""Dead letters as messages: key and value stay, and the headers say the rest, by one of four conventions.

In each dialect the record's own headers come first, in their order, then those of the dialect. A dead letter of a
producer has no offset and no stack trace, so that the headers for these are missing; so is each one whose value is
not known.

native
    ``kafka_throttle.dead_letter`` is the version of this format, ``1``, and parts the record's own headers from what
    follows: ``kafka_throttle.`` with ``topic``, ``partition``, ``timestamp`` (milliseconds), ``policy``, ``reason``,
    ``attempts``, ``first_seen`` (seconds since the epoch), ``record_id``, ``error``, ``error_name``. The record id is
    bytes, all else UTF-8 text. `letter_of` reads it back; what others add behind it is not the record's.
connect
    Kafka Connect's ``__connect.errors.*``: UTF-8 text throughout. The stage is ``KAFKA_PRODUCE``; connector.name and
    task.id, which Connect always writes and its tools expect, are ``kafka_throttle`` and ``0``.
spring
    Spring for Apache Kafka's ``kafka_dlt-*``: UTF-8 text, but 4 bytes big-endian for the partition and 8 for the
    timestamp.
smallrye
    SmallRye Reactive Messaging's ``dead-letter-*``: UTF-8 text throughout.

In the last three, ``kafka_throttle.policy``, ``.reason``, ``.attempts``, ``.first_seen`` and ``.record_id`` follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafka_throttle._dead_letter.bounds import (
    MOST_ATTEMPTS,
    MOST_PARTITION,
    MOST_TIMESTAMP,
    a_count,
    a_time,
    text,
)
from kafka_throttle._dead_letter.letter import Letter
from kafka_throttle._units import shown
from kafka_throttle.exceptions import DeadLetterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Header = tuple[str, bytes | None]

__all__ = ["MARKER", "headers_of", "letter_of"]

_PREFIX = "kafka_throttle."
MARKER = f"{_PREFIX}dead_letter"
"""The header that begins the native dialect."""

_VERSION = b"1"
# An int() of more digits than any number here needs refuses with words of its own.
_LONGEST_NUMBER = 64
# What the producer would have raised had the record been refused, and what the client reports when it failed.
_SHED_CLASS, _FAILED_CLASS, _CAUSE_CLASS = (
    "kafka_throttle.Rejected",
    "confluent_kafka.KafkaException",
    "confluent_kafka.KafkaError",
)


def headers_of(letter: Letter, dialect: str) -> list[tuple[str, bytes | None]]:
    """Return the headers of the message that a letter becomes.

    Args:
        letter: The letter.
        dialect: ``"native"``, ``"connect"``, ``"spring"`` or ``"smallrye"``.
    """
    return [*letter.headers, *_DIALECTS[dialect](letter)]


def letter_of(headers: Sequence[Header] | None, key: bytes | None, value: bytes | None) -> Letter:
    """Return the letter that a message of the native dialect is.

    Args:
        headers: The message's.
        key: The message's.
        value: The message's.

    Raises:
        DeadLetterError: When it is no such message; the text says why.
    """
    headers = headers or ()
    begin = max((at for at, (name, _) in enumerate(headers) if name == MARKER), default=None)
    if begin is None:
        raise DeadLetterError(f"not a dead letter of the native dialect: it has no header {MARKER!r}")
    try:
        return _read(tuple(headers[:begin]), _Own(headers[begin:]), key, value)
    except ValueError as error:
        raise DeadLetterError(f"not a dead letter that can be read: {error}") from None


def _read(headers: tuple[Header, ...], own: _Own, key: bytes | None, value: bytes | None) -> Letter:
    partition = own.number("partition")
    return Letter(
        topic=text("topic", own.text("topic")),
        partition=None if partition is None else a_count("partition", partition, MOST_PARTITION),
        key=key,
        value=value,
        headers=headers,
        timestamp=a_count("timestamp", own.number("timestamp"), MOST_TIMESTAMP),
        policy=text("policy", own.text("policy")),
        reason=text("reason", own.text("reason")),
        attempts=a_count("attempts", own.number("attempts"), MOST_ATTEMPTS),
        first_seen=a_time("first_seen", own.number("first_seen", float)),
        record_id=own.raw("record_id"),
        error=own.text("error"),
        error_name=own.text("error_name"),
    )


class _Own:
    """The headers of the native dialect from its marker on, by their names without the prefix."""

    def __init__(self, headers: Iterable[Header]) -> None:
        """Raise ValueError when one is there twice, or the version is not known."""
        self._values: dict[str, bytes | None] = {}
        for name, value in headers:
            if name.startswith(_PREFIX):
                short = name.removeprefix(_PREFIX)
                if short in self._values:
                    raise ValueError(f"it has the header {shown(name)} twice")
                self._values[short] = value
        version = self._values[MARKER.removeprefix(_PREFIX)]
        if version != _VERSION:
            raise ValueError(f"its version is {shown(version)}; known: {shown(_VERSION)}")

    def raw(self, name: str) -> bytes | None:
        return self._values.get(name)

    def text(self, name: str) -> str | None:
        value = self._values.get(name)
        try:
            return None if value is None else value.decode()
        except UnicodeDecodeError:
            raise ValueError(f"its {name} is {shown(value)}, not UTF-8") from None

    def number(self, name: str, read: Callable[[str], float] = int) -> float | str | None:
        """Return a number; what is none is returned as it is, for the check that follows."""
        value = self.text(name)
        try:
            return read(value) if value is not None and len(value) <= _LONGEST_NUMBER else value
        except ValueError:
            return value


def _native(letter: Letter) -> Iterator[Header]:
    yield MARKER, _VERSION
    yield f"{_PREFIX}topic", letter.topic.encode()
    yield from _known(f"{_PREFIX}partition", letter.partition)
    yield f"{_PREFIX}timestamp", b"%d" % letter.timestamp
    yield from _own(letter)
    yield from _known(f"{_PREFIX}error", letter.error)
    yield from _known(f"{_PREFIX}error_name", letter.error_name)


def _connect(letter: Letter) -> Iterator[Header]:
    prefix = "__connect.errors."
    yield f"{prefix}topic", letter.topic.encode()
    yield from _known(f"{prefix}partition", letter.partition)
    yield f"{prefix}connector.name", b"kafka_throttle"
    yield f"{prefix}task.id", b"0"
    yield f"{prefix}stage", b"KAFKA_PRODUCE"
    yield f"{prefix}class.name", b"kafka_throttle.Producer"
    yield f"{prefix}exception.class.name", _exception_class(letter).encode()
    yield f"{prefix}exception.message", _message(letter).encode()
    yield from _own(letter)


def _spring(letter: Letter) -> Iterator[Header]:
    prefix = "kafka_dlt-"
    yield f"{prefix}original-topic", letter.topic.encode()
    if letter.partition is not None:
        yield f"{prefix}original-partition", letter.partition.to_bytes(4, "big", signed=True)
    if letter.timestamp:
        yield f"{prefix}original-timestamp", letter.timestamp.to_bytes(8, "big", signed=True)
        yield f"{prefix}original-timestamp-type", b"CreateTime"
    yield f"{prefix}exception-fqcn", _exception_class(letter).encode()
    yield f"{prefix}exception-message", _message(letter).encode()
    yield from _own(letter)


def _smallrye(letter: Letter) -> Iterator[Header]:
    prefix = "dead-letter-"
    yield f"{prefix}exception-class-name", _exception_class(letter).encode()
    if letter.error_name is not None:
        yield f"{prefix}cause-class-name", _CAUSE_CLASS.encode()
    yield f"{prefix}reason", _message(letter).encode()
    yield from _known(f"{prefix}cause", letter.error_name)
    yield f"{prefix}topic", letter.topic.encode()
    yield from _known(f"{prefix}partition", letter.partition)
    yield from _own(letter)


def _own(letter: Letter) -> Iterator[Header]:
    """Yield what only this library knows, and says in every dialect."""
    yield f"{_PREFIX}policy", letter.policy.encode()
    yield f"{_PREFIX}reason", letter.reason.encode()
    yield f"{_PREFIX}attempts", b"%d" % letter.attempts
    yield f"{_PREFIX}first_seen", repr(float(letter.first_seen)).encode()
    if letter.record_id is not None:
        yield f"{_PREFIX}record_id", letter.record_id


def _known(name: str, value: str | int | None) -> Iterator[Header]:
    if value is not None:
        yield name, str(value).encode()


def _exception_class(letter: Letter) -> str:
    return _SHED_CLASS if letter.error is None and letter.error_name is None else _FAILED_CLASS


def _message(letter: Letter) -> str:
    return letter.error or letter.error_name or f"put aside by {letter.policy}: {letter.reason}"


_DIALECTS: dict[str, Callable[[Letter], Iterator[Header]]] = {
    "native": _native,
    "connect": _connect,
    "spring": _spring,
    "smallrye": _smallrye,
}
