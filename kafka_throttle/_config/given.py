"""Settings as users wrote them, each with the name by which that user knows it.

A door turns what it finds into one tree of `Given`; trees are laid over each other and then read once, so that a
problem is reported in the spelling of the door it came through, whatever lay above or below it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

__all__ = ["Given", "laid_over", "nested", "parse_structure", "read_toml"]

_VARIABLE = "KAFKA_THROTTLE_"


@frozen
class Given:
    """A value and its name; the values of a mapping may be Given themselves, when they have names of their own.

    Attributes:
        value: As the user wrote it.
        name: As the user knows it.
        in_environment: Whether keys below it are spelled as variables.
    """

    value: Any
    name: str
    in_environment: bool = False

    def children(self) -> dict[Any, Given]:
        """Return the values of a mapping by their keys."""
        return {
            key: value if isinstance(value, Given) else Given(value, self.below(key))
            for key, value in self.value.items()
        }

    def items(self) -> list[Given]:
        """Return the values of a list or tuple."""
        return [Given(value, f"{self.name}[{index}]") for index, value in enumerate(self.value)]

    def below(self, key: object) -> str:
        """Return the name of a key of this mapping."""
        key = key if isinstance(key, str) else repr(key)
        if self.in_environment:
            return (f"{self.name}__" if self.name else _VARIABLE) + key.upper()
        return f"{self.name}{key}" if not self.name or self.name.endswith(": ") else f"{self.name}.{key}"


def laid_over(low: Given, high: Given, *, types_stand_alone: bool = True) -> Given:
    """Return two trees as one, in which `high` wins key by key; lists are not mixed.

    Args:
        low: What holds where `high` says nothing.
        high: What wins.
        types_stand_alone: Whether a mapping that names its ``type`` replaces the lower one whole, because the
            settings of one type mean nothing to another.
    """
    if not isinstance(high.value, Mapping):
        return high
    above = high.children()
    if types_stand_alone and "type" in above:
        return high
    # What is no mapping can only be a type's name; if it is not, the reader says so.
    merged = low.children() if isinstance(low.value, Mapping) else {"type": low}
    for key, given in above.items():
        below = merged.get(key)
        merged[key] = laid_over(below, given, types_stand_alone=types_stand_alone) if below else given
    return Given(merged, high.name, high.in_environment)


def nested(root: Given, flat: Iterable[tuple[tuple[str, ...], Given]]) -> Given:
    """Return the tree that flat keys mean, laid over a root; where two overlap, the longer key wins."""
    for path, leaf in sorted(flat, key=lambda entry: len(entry[0])):
        places = [root]
        for key in path[:-1]:
            places.append(Given({}, places[-1].below(key), root.in_environment))
        branch = leaf
        for key, place in zip(reversed(path), reversed(places), strict=True):
            branch = Given({key: branch}, place.name, root.in_environment)
        root = laid_over(root, branch, types_stand_alone=False)
    return root


def parse_structure(given: Given, problems: list[str]) -> Given | None:
    """Return a list or mapping that was given as text, in JSON or as a TOML value; other values as they are.

    Text that starts like a list or mapping and is neither adds to `problems`, and None is returned.
    """
    text = given.value.strip() if isinstance(given.value, str) else ""
    if text[:1] not in ("[", "{"):
        return given
    import json  # noqa: PLC0415 (needed by few, and import time is everybody's)

    try:
        return Given(json.loads(text), given.name)
    except (ValueError, RecursionError) as error:
        reason = error
    try:
        return Given(_toml().loads(f"value = {text}")["value"], given.name)
    except (ValueError, RecursionError) as error:
        problems.append(f"{given.name}: is neither JSON ({reason}) nor a TOML value ({error})")
    return None


def read_toml(path: str | PathLike[str], problems: list[str]) -> Given:
    """Return the content of a TOML file; its names carry the path.

    A file that cannot be read or is not TOML adds to `problems`, with the parser's line and column.
    """
    content: dict[str, Any] = {}
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (pathlib would be an import for this line only)
            content = _toml().load(file)
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror or error}")
    except (ValueError, RecursionError) as error:
        problems.append(f"{path}: is not TOML: {error}")
    return Given(content, f"{path}: ")


def _toml() -> Any:
    """Import the parser late: few need it, and import time is everybody's."""
    return import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
