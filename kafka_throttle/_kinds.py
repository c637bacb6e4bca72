"""What a configuration field may hold: how it is read, what is allowed, and how both are said in words.

A kind never raises from `normalise`: what it cannot use stays as the user gave it, so that `problems` can show it
unchanged and every problem of an instance is reported at once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from attrs import frozen

from kafka_throttle._units import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["Bounds", "Kind", "One", "Scalar", "Several", "UnfitError"]


class UnfitError(ValueError):
    """A value that a field cannot hold; the text says why and what is allowed."""


@frozen
class Bounds:
    """A range of numbers: from `minimum` to `maximum` inclusive, or `above` and `below` exclusive."""

    minimum: float = -math.inf
    maximum: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def holds(self, value: float) -> bool:
        """Return whether a finite value lies in the range."""
        return self.minimum <= value <= self.maximum and self.above < value < self.below

    def words(self, write: Callable[[float], str]) -> str:
        """Return the range in words, such as ``"above 0, below 1"``."""
        if self.minimum > -math.inf and self.maximum < math.inf:
            return f"{write(self.minimum)} to {write(self.maximum)}"
        ends = {
            "at least": self.minimum,
            "above": self.above,
            "at most": self.maximum,
            "below": self.below,
        }
        return ", ".join(f"{end} {write(value)}" for end, value in ends.items() if math.isfinite(value))


class Kind(ABC):
    """What one field may hold.

    Attributes:
        noun: What a value is called, with its article: ``"a duration"``.
    """

    noun: str

    @abstractmethod
    def parse(self, raw: object) -> Any:
        """Return the value that is meant by `raw`.

        Raises:
            UnfitError: When it means none, or one out of range.
        """

    @abstractmethod
    def allowed(self) -> str:
        """Return what is allowed, in words."""

    def write(self, value: Any) -> str:
        """Return a value the way a user would write it."""
        return str(value)

    def normalise(self, raw: object) -> Any:
        """Return the value that is meant by `raw`, or `raw` itself when it means none."""
        try:
            return self.parse(raw)
        except UnfitError:
            return raw

    def problems(self, raw: object) -> Iterator[str]:
        """Yield what is wrong with `raw`, each as ``": words"`` or, for an item inside of it, ``"[1]: words"``."""
        try:
            self.parse(raw)
        except UnfitError as unfit:
            yield f": {unfit}"


@frozen
class Scalar(Kind):
    """One number, text or choice, converted by a function that raises ValueError with the whole reason."""

    noun: str
    convert: Callable[[object], Any]
    bounds: Bounds | None = None
    writer: Callable[[Any], str] = str
    choices: str = ""
    forever: bool = False
    optional: bool = False

    def parse(self, raw: object) -> Any:
        if raw is None or (self.optional and isinstance(raw, str) and raw.strip().lower() == "none"):
            return self._absent()
        try:
            value = self.convert(raw)
        except ValueError as error:
            raise UnfitError(self._refusal(str(error))) from None
        if self.bounds and not (self.forever if value == math.inf else self.bounds.holds(value)):
            raise UnfitError(self._refusal(f"{shown(raw)} is out of range"))
        return value

    def allowed(self) -> str:
        words = [self.choices or (self.bounds.words(self.writer) if self.bounds else "")]
        words += ["'forever'"] * self.forever + ["none"] * self.optional
        return ", or ".join(filter(None, words))

    def write(self, value: Any) -> str:
        return "none" if value is None else self.writer(value)

    def _absent(self) -> None:
        if not self.optional:
            raise UnfitError(self._refusal(f"None is not {self.noun}"))

    def _refusal(self, reason: str) -> str:
        allowed = self.allowed()
        return f"{reason}; allowed: {allowed}" if allowed else reason


@frozen
class One(Kind):
    """One object of a configuration class; in a mapping, ``type`` names which one.

    Attributes:
        base: What an object has to be an instance of.
        implementations: Returns the classes that a mapping can name, by name; asked late, as they may nest each other.
        implied: The class of a mapping that names no type, if any.
    """

    noun: str
    base: type[Any]
    implementations: Callable[[], Mapping[str, type[Any]]]
    implied: type[Any] | None = None
    optional: bool = False

    def parse(self, raw: object) -> Any:
        if isinstance(raw, self.base) or (self.optional and raw is None):
            return raw
        raise UnfitError(f"{shown(raw)} is not {self.noun}; allowed: {self.allowed()}")

    def allowed(self) -> str:
        names = [cls.__name__ for cls in self.implementations().values()]
        names.append(f"another {self.base.__name__}" if names else f"a {self.base.__name__}")
        return ", ".join(names + ["none"] * self.optional)


@frozen
class Several(Kind):
    """A tuple of values of one kind, given as a list or tuple, or as the single value itself when `alone` is set."""

    noun: str
    item: Kind
    alone: bool = False
    least: int = 0

    def parse(self, raw: object) -> Any:
        items = self.items(raw)
        return tuple(self.item.parse(item) for item in items)

    def problems(self, raw: object) -> Iterator[str]:
        try:
            items = self.items(raw)
        except UnfitError as unfit:
            yield f": {unfit}"
            return
        for index, item in enumerate(items):
            place = f"[{index}]" if items is raw else ""
            yield from (place + problem for problem in self.item.problems(item))

    def items(self, raw: object) -> Sequence[Any]:
        """Return the items of a list or tuple, or a single value as the only item.

        Raises:
            UnfitError: When `raw` is neither, or holds too few.
        """
        if not isinstance(raw, (list, tuple)):
            if not self.alone:
                raise UnfitError(f"{shown(raw)} is not {self.noun}; allowed: {self.allowed()}")
            return (raw,)
        if len(raw) < self.least:
            raise UnfitError(f"{shown(raw)} is empty; allowed: {self.allowed()}")
        return raw

    def allowed(self) -> str:
        return f"{self.item.noun}, or a list of them" if self.alone else f"a list, each item {self.item.noun}"
