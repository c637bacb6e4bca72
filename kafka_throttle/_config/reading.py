"""The one validator: a tree of what was given becomes configuration objects, or a list of everything wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from kafka_throttle._config.given import Given
from kafka_throttle._fields import kind_of
from kafka_throttle._kinds import Kind, One, Several, UnfitError
from kafka_throttle._throttle import Throttle
from kafka_throttle._units import shown
from kafka_throttle.exceptions import ConfigurationError, LossNotApproved

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Reader"]

_BAD = object()


class Reader:
    """Reads trees and collects what is wrong with them.

    Attributes:
        problems: One line per problem found so far.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._unapproved = False

    def throttle(self, given: Given, *also_known: str) -> Throttle:
        """Return the configuration that a tree describes.

        Args:
            given: The tree.
            also_known: Further keys that the door knows at its root, to be suggested for a misspelt one.

        Raises:
            ConfigurationError: With every problem found, those of the doors included; a LossNotApproved when one of
                them is that.
        """
        throttle: Throttle = self._build(Throttle, given, also_known)
        if self.problems:
            raise (LossNotApproved if self._unapproved else ConfigurationError)(*self.problems)
        return throttle

    def _build(self, cls: type[Any], given: Given, also_known: Sequence[str] = ()) -> Any:
        """Return the object that a mapping describes, or a stand-in after adding to `problems`."""
        before = len(self.problems)
        children = given.children()
        kinds = {a.name: (a, kind) for a in attrs.fields(cls) if (kind := kind_of(a))}
        for key, child in children.items():
            if key not in kinds:
                self._unknown(child, key, [*kinds, *also_known])
        values = {
            name: self._field(attribute, kind, children.get(name), given)
            for name, (attribute, kind) in kinds.items()
            if name in children or attribute.default is attrs.NOTHING
        }
        return _BAD if len(self.problems) > before else self._construct(cls, values, given, children)

    def _field(self, attribute: Any, kind: Kind, given: Given | None, parent: Given) -> Any:
        if given is None:
            self.problems.append(f"{parent.below(attribute.name)}: is missing; allowed: {_allowed(kind)}")
            return _BAD
        return self._read(kind, given)

    def _read(self, kind: Kind, given: Given) -> Any:
        if isinstance(kind, One):
            return self._one(kind, given)
        if isinstance(given.value, Mapping) and self._too_deep(given):
            return _BAD
        if isinstance(kind, Several):
            return self._several(kind, given)
        return self._parse(kind, given)

    def _parse(self, kind: Kind, given: Given) -> Any:
        try:
            return kind.parse(given.value)
        except UnfitError as unfit:
            self.problems.append(f"{given.name}: {unfit}")
            return _BAD

    def _several(self, kind: Several, given: Given) -> Any:
        try:
            items = kind.items(given.value)
        except UnfitError as unfit:
            self.problems.append(f"{given.name}: {unfit}")
            return _BAD
        listed = items is given.value
        return tuple(self._read(kind.item, item) for item in (given.items() if listed else [given]))

    def _one(self, kind: One, given: Given) -> Any:
        if isinstance(given.value, kind.base) or (kind.optional and given.value is None):
            return given.value
        children = given.children() if isinstance(given.value, Mapping) else {"type": given}
        cls = self._class(kind, children.pop("type", None), given)
        return self._build(cls, Given(children, given.name, given.in_environment)) if cls else _BAD

    def _class(self, kind: One, named: Given | None, given: Given) -> type[Any] | None:
        """Return the class that a mapping means; a class without alternatives has no name."""
        if named is None:
            if kind.implied is None:
                self.problems.append(f"{given.below('type')}: is missing; allowed: {_allowed(kind)}")
            return kind.implied
        cls = kind.implementations().get(named.value) if isinstance(named.value, str) else None
        if cls is None:
            plain = isinstance(named.value, str) or not kind.implementations()
            noun = kind.noun if plain else f"the name of {kind.noun}"
            self.problems.append(
                f"{named.name}: {shown(named.value)} is not {noun}; allowed: {_allowed(kind)}"
            )
        return cls

    def _construct(self, cls: type[Any], values: Any, given: Given, children: dict[Any, Given]) -> Any:
        """Return the object; what it finds wrong between its fields is told in the names of the door."""
        try:
            return cls(**values)
        except ConfigurationError as error:
            self._unapproved |= isinstance(error, LossNotApproved)
            for problem in error.problems:
                place = problem.removeprefix(f"{cls.__name__}.")
                field = re.match(r"\w*", place)[0]  # type: ignore[index]
                name = children[field].name if field in children else given.below(field)
                self.problems.append(name + place[len(field) :])
            return _BAD

    def _too_deep(self, given: Given) -> bool:
        """Report keys below a setting that has none, such as ``throttle.burst.size``; return whether there were any."""
        keys = [key for key in given.value.values() if isinstance(key, Given) and key.name != given.name]
        self.problems.extend(f"{key.name}: unknown key; {given.name} has no keys below it" for key in keys)
        return bool(keys)

    def _unknown(self, given: Given, key: object, known: Iterable[str]) -> None:
        from difflib import get_close_matches  # noqa: PLC0415 (needed for an error only)

        known = sorted(known)
        nearest = get_close_matches(str(key), known, n=1)
        if nearest:
            hint = f"did you mean {_beside(given.name, str(key), nearest[0])}?"
        else:
            hint = f"known keys: {', '.join(known)}"
        self.problems.append(f"{given.name}: unknown key; {hint}")


def _beside(name: str, key: str, other: str) -> str:
    """Return the name of another key next to one, in the same spelling: dotted, or upper case in the environment."""
    # The path of a file stands before the name of a key and is no part of it.
    stem = name[: len(name) - len(key)].rpartition(": ")[2]
    return stem + (other if name.endswith(key) else other.upper())


def _allowed(kind: Kind) -> str:
    """Return what a mapping or TOML allows: where Python allows objects, names of types or the keys of a mapping."""
    if not isinstance(kind, One):
        return kind.allowed()
    names = ", ".join(kind.implementations())
    return names or f"a mapping of {', '.join(a.name for a in attrs.fields(kind.base))}"
