"""The reference of all settings, read from the classes that hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from kafka_throttle._fields import doc_of, kind_of
from kafka_throttle._kinds import Kind, One, Several
from kafka_throttle._throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Setting", "settings"]


@frozen
class Setting:
    """One row of the reference.

    Attributes:
        key: Path in a mapping or TOML file; ``[]`` stands for an item of a list.
        of: The ``type`` that the mapping around it must have, or empty.
        type: What a value is called.
        default: As a user would write it; empty when the setting is required.
        allowed: Allowed values, in words; empty for any of the type.
        description: What the setting is for.
    """

    key: str
    of: str
    type: str
    default: str
    allowed: str
    description: str


def settings(cls: type[Any] = Throttle, prefix: str = "", of: str = "") -> Iterator[Setting]:
    """Yield every setting of a configuration class and of what it holds, in the order of the fields."""
    for attribute in attrs.fields(cls):
        kind = kind_of(attribute)
        if kind:
            yield Setting(
                prefix + attribute.name,
                of,
                _noun(kind),
                _default(attribute, kind),
                _allowed(kind),
                doc_of(attribute),
            )
            yield from _below(kind, prefix + attribute.name, cls)


def _below(kind: Kind, key: str, parent: type[Any]) -> Iterator[Setting]:
    if isinstance(kind, Several):
        yield from _below(kind.item, f"{key}[]", parent)
    elif isinstance(kind, One) and not issubclass(parent, kind.base):  # a nested policy is described once
        named = kind.implementations() or {"": kind.base}
        for name, cls in named.items():
            yield from settings(cls, f"{key}.", name)


def _noun(kind: Kind) -> str:
    return kind.noun.removeprefix("a ").removeprefix("an ")


def _default(attribute: attrs.Attribute[Any], kind: Kind) -> str:
    return "" if attribute.default is attrs.NOTHING else _written(kind, kind.normalise(attribute.default))


def _written(kind: Kind, value: Any) -> str:
    """Return a default as it would stand in a mapping: objects, which are all at their own defaults, by name."""
    if isinstance(kind, Several):
        return ", ".join(_written(kind.item, item) for item in value) or "none"
    if not isinstance(kind, One):
        return kind.write(value)
    if value is None:
        return "none"
    for name, cls in kind.implementations().items():
        if type(value) is cls:
            return name
    required = (a for a in attrs.fields(kind.base) if a.default is attrs.NOTHING)
    inner = ((a.name, kind_of(a)) for a in required)
    return "{" + ", ".join(f"{n}: {_written(k, getattr(value, n))}" for n, k in inner if k) + "}"


def _allowed(kind: Kind) -> str:
    if isinstance(kind, Several):
        return _allowed(kind.item)
    return ", ".join(kind.implementations()) if isinstance(kind, One) else kind.allowed()
