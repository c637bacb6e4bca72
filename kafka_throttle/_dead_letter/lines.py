"""Dead letters as lines of JSON, the format of their files.

A line is one object in UTF-8, ended by a newline, with the fields of `Letter` and the version of the format::

    {"v": 1, "topic": "orders", "partition": null, "key": {"text": "42"}, "value": {"base64": "/w=="},
     "headers": [["trace", {"text": "a1"}], ["flag", null]], "timestamp": 0, "policy": "dead_letter", "reason": "failed",
     "attempts": 1, "first_seen": 1700000000.25, "record_id": null, "error": null, "error_name": null}

Bytes are ``{"text": ...}`` where they are UTF-8, and ``{"base64": ...}`` where not, so that a line can be read by eye
and holds every byte. Unknown fields of version 1 are ignored; whatever changes the meaning of a known one gets a new
version.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from kafka_throttle._dead_letter.bounds import (
    MOST_ATTEMPTS,
    MOST_HEADERS,
    MOST_PARTITION,
    MOST_TIMESTAMP,
    a_count,
    a_time,
    text,
)
from kafka_throttle._dead_letter.letter import Headers, Letter
from kafka_throttle._units import shown
from kafka_throttle.exceptions import DeadLetterError

__all__ = ["LONGEST_LINE", "letter_in", "line_of"]

LONGEST_LINE = 256 * 2**20
"""Bytes of the longest line that is written and read, so that no file can ask for any amount of memory."""

_VERSION = 1


def line_of(letter: Letter) -> bytes:
    """Return the line of a letter, with its newline.

    Raises:
        DeadLetterError: When it would be too long, or holds what is no text.
    """
    fields = {
        "v": _VERSION,
        "topic": letter.topic,
        "partition": letter.partition,
        "key": _written(letter.key),
        "value": _written(letter.value),
        "headers": [[name, _written(value)] for name, value in letter.headers],
        "timestamp": letter.timestamp,
        "policy": letter.policy,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "first_seen": letter.first_seen,
        "record_id": _written(letter.record_id),
        "error": letter.error,
        "error_name": letter.error_name,
    }
    try:
        line = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    except ValueError as error:
        raise DeadLetterError(
            f"the dead letter of topic {letter.topic!r} cannot be written: {error}"
        ) from None
    if len(line) > LONGEST_LINE:
        raise DeadLetterError(
            f"the dead letter of topic {letter.topic!r} has {len(line):,} bytes as a line; "
            f"the most is {LONGEST_LINE:,}"
        )
    return line


def letter_in(line: bytes) -> Letter:
    """Return the letter that a line holds.

    Args:
        line: With or without its newline.

    Raises:
        DeadLetterError: When it holds none; the text says why.
    """
    try:
        return _read(_object_in(line))
    except (ValueError, RecursionError) as error:
        raise DeadLetterError(f"not a dead letter that can be read: {error}") from None


def _object_in(line: bytes) -> dict[str, Any]:
    if len(line) > LONGEST_LINE:
        raise ValueError(f"it has {len(line):,} bytes; the most is {LONGEST_LINE:,}")
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 (all that is wrong with a line is one kind of error)
    if fields.get("v") != _VERSION:
        raise ValueError(f"its version is {shown(fields.get('v'))}; known: {_VERSION}")
    return fields


def _read(fields: dict[str, Any]) -> Letter:
    partition = fields.get("partition")
    return Letter(
        topic=text("topic", fields.get("topic")),
        partition=None if partition is None else a_count("partition", partition, MOST_PARTITION),
        key=_bytes("key", fields.get("key")),
        value=_bytes("value", fields.get("value")),
        headers=_headers(fields.get("headers")),
        timestamp=a_count("timestamp", fields.get("timestamp"), MOST_TIMESTAMP),
        policy=text("policy", fields.get("policy")),
        reason=text("reason", fields.get("reason")),
        attempts=a_count("attempts", fields.get("attempts"), MOST_ATTEMPTS),
        first_seen=a_time("first_seen", fields.get("first_seen")),
        record_id=_bytes("record_id", fields.get("record_id")),
        error=_optional_text("error", fields.get("error")),
        error_name=_optional_text("error_name", fields.get("error_name")),
    )


def _headers(value: object) -> Headers:
    if not isinstance(value, list) or len(value) > MOST_HEADERS:
        raise ValueError(f"its headers are {shown(value)}, not a list of at most {MOST_HEADERS:,}")
    return tuple(_header(item) for item in value)


def _header(value: object) -> tuple[str, bytes | None]:
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], str):
        raise ValueError(f"one of its headers is {shown(value)}, not a list of a name and a value")
    return value[0], _bytes("header", value[1])


def _optional_text(name: str, value: object) -> str | None:
    return None if value is None else "" if value == "" else text(name, value)


def _written(value: bytes | None) -> dict[str, str] | None:
    if value is None:
        return None
    try:
        return {"text": value.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _bytes(name: str, value: object) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, dict) and len(value) == 1:
        form, content = next(iter(value.items()))
        if isinstance(content, str) and form == "text":
            return content.encode()
        if isinstance(content, str) and form == "base64":
            return base64.b64decode(content, validate=True)
    raise ValueError(f'its {name} is {shown(value)}, not null, {{"text": ...}} or {{"base64": ...}}')
