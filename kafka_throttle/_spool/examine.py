"""Checks a record before it is accepted: one bad record must not spoil the batch that it would be packed into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafka_throttle._spool.batch import MAX_TEXT
from kafka_throttle._spool.record import weigh_headers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kafka_throttle._spool.record import Headers

__all__ = ["MAX_RECORD_BYTES", "examine"]

# SQLite's limit for one value is 1 000 000 000 bytes.
MAX_RECORD_BYTES = 512 << 20


def examine(
    topic: object,
    key: object,
    value: object,
    headers: Iterable[tuple[object, object]] | None,
    timestamp: object,
    partition: object,
) -> tuple[Headers | None, int]:
    """Return the headers as they will come back, and the payload bytes of the record.

    Raises:
        TypeError: When something has the wrong type.
        ValueError: When something is out of range.
    """
    _checked_text("topic", topic)
    for name, part in (("key", key), ("value", value)):
        if part is not None and not isinstance(part, bytes):
            raise TypeError(f"{name} is {type(part).__name__}; it can be bytes or None")
    if not isinstance(timestamp, int) or not -(1 << 63) <= timestamp < 1 << 63:
        raise ValueError(f"timestamp is {timestamp!r}; it can be milliseconds since the epoch, 0 for none")
    if not isinstance(partition, int) or not -1 <= partition < 1 << 31:
        raise ValueError(f"partition is {partition!r}; it can be -1 to {(1 << 31) - 1}")
    checked = None if headers is None else tuple(map(_checked_header, headers))
    if checked and len(checked) > MAX_TEXT:
        raise ValueError(f"the record has {len(checked)} headers; it can have up to {MAX_TEXT}")
    parts = sum(len(part) for part in (key, value) if isinstance(part, bytes))
    size = parts + weigh_headers(checked)
    if size > MAX_RECORD_BYTES:
        raise ValueError(f"the record has {size} bytes; a spool takes up to {MAX_RECORD_BYTES}")
    return checked, size


def _checked_text(name: str, text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{name} is {type(text).__name__}; it can be str")
    if len(text) > MAX_TEXT or len(text.encode()) > MAX_TEXT:
        raise ValueError(f"{name} has more than {MAX_TEXT} bytes: {text[:40]!r}...")
    return text


def _checked_header(header: tuple[object, object]) -> tuple[str, bytes | None]:
    name, value = header
    text = _checked_text("a header's name", name)
    if value is not None and not isinstance(value, bytes):
        raise TypeError(f"the value of header {text!r} is {type(value).__name__}; it can be bytes or None")
    return text, value
