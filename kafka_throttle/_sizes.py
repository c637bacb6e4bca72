"""What a record weighs: the bytes of its value and its key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["bytes_of_call", "bytes_of_messages"]


def bytes_of_call(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Return the bytes of the record of one produce() call, of which topic, value and key may be positional."""
    value = args[1] if len(args) > 1 else kwargs.get("value")
    key = args[2] if len(args) > 2 else kwargs.get("key")
    return _weight((value, key))


def bytes_of_messages(messages: Iterable[Mapping[str, Any]]) -> int:
    """Return the bytes of the messages of a batch."""
    return _weight(message.get(name) for message in messages for name in ("value", "key"))


def _weight(parts: Iterable[Any]) -> int:
    return sum(len(part) for part in parts if isinstance(part, (bytes, str)))
