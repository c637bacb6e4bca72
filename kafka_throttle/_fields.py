"""Fields of configuration classes: each reads leniently, knows its range and says in a line what it is for.

```
@configured
class Fixed(Limit):
    max_bytes: ByteSize = byte_size(default="1 MiB", minimum="1 KiB", doc="Bytes that may be in the client.")
    target: Seconds = seconds(default="50 ms", above=0, doc="Standing delay that is still calm.")
```

Use `configured` in place of `attrs.frozen`: it is the same at run time, and tells type checkers that a `Seconds` or a
`ByteSize` may be given as text and reads back as a number. A field without ``default=`` is required; defaults are named
because checkers see only named ones.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

import attrs

from kafka_throttle._kinds import Bounds, Kind, One, Scalar, Several
from kafka_throttle._scalars import to_count, to_flag, to_number, to_text, write_flag, write_number
from kafka_throttle._units import format_bytes, format_seconds, parse_bytes, parse_seconds, shown
from kafka_throttle.exceptions import ConfigurationError

__all__ = [
    "ByteSize",
    "Configured",
    "OptionalByteSize",
    "OptionalSeconds",
    "Seconds",
    "byte_size",
    "choice",
    "configured",
    "count",
    "doc_of",
    "field_problems",
    "flag",
    "kind_of",
    "make_field",
    "number",
    "one",
    "ratio",
    "seconds",
    "several",
    "text",
]

_Read_co = TypeVar("_Read_co", covariant=True)
_Given_contra = TypeVar("_Given_contra", contravariant=True)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from typing_extensions import Self, dataclass_transform

    class Lenient(Generic[_Read_co, _Given_contra]):
        """A field that is given as one type and reads back as another."""

        @overload
        def __get__(self, instance: None, owner: Any) -> Lenient[_Read_co, _Given_contra]: ...
        @overload
        def __get__(self, instance: object, owner: Any) -> _Read_co: ...
        def __get__(self, instance: object, owner: Any) -> Any: ...
        def __set__(self, instance: object, value: _Given_contra) -> None: ...

    Seconds = Lenient[float, float | str]
    OptionalSeconds = Lenient[float | None, float | str | None]
    ByteSize = Lenient[int, int | str]
    OptionalByteSize = Lenient[int | None, int | str | None]
else:
    Seconds = OptionalSeconds = ByteSize = OptionalByteSize = Any

    def dataclass_transform(**_):
        """Stand in for typing's, which CPython 3.10 lacks and no run time needs."""
        return lambda decorator: decorator


_KIND = "kafka_throttle.kind"
_DOC = "kafka_throttle.doc"


class Configured:
    """Base of the configuration classes: an instance is valid, or it does not come to be.

    The check stands here and not in attrs validators because those can be switched off for a whole process.
    """

    __slots__ = ()
    if TYPE_CHECKING:
        # To type checkers `configured` is no attrs decorator; attrs' own functions ask for this.
        __attrs_attrs__: ClassVar[Any]

    def __attrs_post_init__(self) -> None:
        """Raise one ConfigurationError with every problem of the instance."""
        problems = [*field_problems(self)] or [*self._problems()]
        if problems:
            raise ConfigurationError(*(f"{type(self).__name__}.{problem}" for problem in problems))

    def evolve(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, checked like every instance."""
        return attrs.evolve(self, **changes)  # type: ignore[misc]  # mypy sees no attrs class

    def _problems(self) -> Iterator[str]:
        """Yield what is wrong between fields, each as ``"field: words; allowed: words"``.

        Called only when each field is right by itself, so that an override need not check types again.
        """
        yield from ()


_C = TypeVar("_C", bound=Configured)


def field_problems(instance: Configured) -> Iterator[str]:
    """Yield what is wrong with each field by itself, as ``"field: words"``."""
    for attribute in attrs.fields(type(instance)):
        kind = kind_of(attribute)
        if kind:
            yield from (f"{attribute.name}{p}" for p in kind.problems(getattr(instance, attribute.name)))


def kind_of(attribute: attrs.Attribute[Any]) -> Kind | None:
    """Return what a field may hold, or None for a field that is no configuration."""
    kind: Kind | None = attribute.metadata.get(_KIND)
    return kind


def doc_of(attribute: attrs.Attribute[Any]) -> str:
    """Return the one-line description of a field."""
    return str(attribute.metadata.get(_DOC, ""))


def seconds(
    *,
    default: float | str | None = attrs.NOTHING,  # type: ignore[assignment]
    minimum: float | str = 0,
    maximum: float | str = math.inf,
    above: float | str = -math.inf,
    below: float | str = math.inf,
    forever: bool = False,
    optional: bool = False,
    doc: str,
    kw_only: bool = False,
) -> Any:
    """Return a field for a duration, in seconds or text such as ``"250 ms"``.

    Args:
        default: In the same forms; without it the field is required.
        minimum: Smallest allowed duration; ignored when `above` is given.
        maximum: Largest allowed duration.
        above: What the duration must exceed.
        below: What the duration must stay below.
        forever: Whether ``"forever"`` (infinity) is allowed as well.
        optional: Whether None is allowed as well.
        doc: What the field is for, in one line.
        kw_only: Whether the field is given by name only.
    """
    low, least, most, high = (_duration(bound) for bound in (above, minimum, maximum, below))
    bounds = Bounds(least if low == -math.inf else -math.inf, most, low, high)
    kind = Scalar(
        "a duration", parse_seconds, bounds, writer=format_seconds, forever=forever, optional=optional
    )
    return make_field(kind, default, doc=doc, kw_only=kw_only)


def byte_size(
    *,
    default: int | str | None = attrs.NOTHING,  # type: ignore[assignment]
    minimum: int | str = 0,
    maximum: int | str | None = None,
    optional: bool = False,
    doc: str,
    kw_only: bool = False,
) -> Any:
    """Return a field for a size, in bytes or text such as ``"10 GiB"``.

    Args:
        default: In the same forms; without it the field is required.
        minimum: Smallest allowed size.
        maximum: Largest allowed size; None for any.
        optional: Whether None is allowed as well.
        doc: What the field is for, in one line.
        kw_only: Whether the field is given by name only.
    """
    bounds = Bounds(parse_bytes(minimum), math.inf if maximum is None else parse_bytes(maximum))
    kind = Scalar("a size", parse_bytes, bounds, writer=format_bytes, optional=optional)
    return make_field(kind, default, doc=doc, kw_only=kw_only)


def number(
    *,
    default: float | None = attrs.NOTHING,  # type: ignore[assignment]
    minimum: float = -math.inf,
    maximum: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    optional: bool = False,
    doc: str,
    kw_only: bool = False,
) -> Any:
    """Return a field for any number: a factor, a threshold; see `seconds` for the bounds."""
    bounds = Bounds(minimum, maximum, above, below)
    kind = Scalar("a number", to_number, bounds, writer=write_number, optional=optional)
    return make_field(kind, default, doc=doc, kw_only=kw_only)


def ratio(
    *,
    default: float | None = attrs.NOTHING,  # type: ignore[assignment]
    minimum: float = 0,
    maximum: float = 1,
    above: float = -math.inf,
    below: float = math.inf,
    optional: bool = False,
    doc: str,
    kw_only: bool = False,
) -> Any:
    """Return a field for a number from 0 to 1; `above` and `below` replace the end they stand for."""
    return number(
        default=default,
        minimum=minimum if above == -math.inf else -math.inf,
        maximum=maximum if below == math.inf else math.inf,
        above=above,
        below=below,
        optional=optional,
        doc=doc,
        kw_only=kw_only,
    )


def count(
    *,
    default: int | None = attrs.NOTHING,  # type: ignore[assignment]
    minimum: int = 0,
    maximum: int | None = None,
    optional: bool = False,
    doc: str,
    kw_only: bool = False,
) -> Any:
    """Return a field for a whole number, of records for example."""
    bounds = Bounds(minimum, math.inf if maximum is None else maximum)
    kind = Scalar("a whole number", to_count, bounds, optional=optional)
    return make_field(kind, default, doc=doc, kw_only=kw_only)


def flag(*, default: bool = attrs.NOTHING, doc: str, kw_only: bool = False) -> Any:  # type: ignore[assignment]
    """Return a field for true or false, also as ``1/0``, ``yes/no`` or ``on/off``."""
    kind = Scalar("a flag", to_flag, choices="true/false, 1/0, yes/no, on/off", writer=write_flag)
    return make_field(kind, default, doc=doc, kw_only=kw_only)


def choice(*, default: str, options: Sequence[str], doc: str, kw_only: bool = False) -> Any:
    """Return a field for one of several words, in lower or upper case."""

    def convert(raw: object) -> str:
        word = raw.strip().lower() if isinstance(raw, str) else None
        if word is None or word not in options:
            raise ValueError(f"{shown(raw)} is not a choice")
        return word

    kind = Scalar("a choice", convert, choices=", ".join(options))
    return make_field(kind, default, doc=doc, kw_only=kw_only)


def text(
    *,
    default: str | None = attrs.NOTHING,  # type: ignore[assignment]
    optional: bool = False,
    doc: str,
    kw_only: bool = False,
) -> Any:
    """Return a field for text that is not empty."""
    kind = Scalar("a text", to_text, choices="text that is not empty", optional=optional)
    return make_field(kind, default, doc=doc, kw_only=kw_only)


def one(
    base: type[Any],
    implementations: Callable[[], Mapping[str, type[Any]]],
    *,
    default: Any = attrs.NOTHING,
    noun: str,
    doc: str,
    optional: bool = False,
    kw_only: bool = False,
) -> Any:
    """Return a field for an object of a configuration class.

    Args:
        base: What the object has to be an instance of.
        implementations: Returns the classes that mappings and TOML can name, by that name.
        default: An instance, whose class is also what a mapping without ``type`` means; else the field is required.
        noun: What such an object is called, with its article.
        doc: What the field is for, in one line.
        optional: Whether None is allowed as well.
        kw_only: Whether the field is given by name only.
    """
    implied = type(default) if isinstance(default, base) else None
    kind = One(noun, base, implementations, implied, optional)
    return make_field(kind, default, doc=doc, kw_only=kw_only)


def several(
    item: Kind,
    *,
    default: Any = attrs.NOTHING,
    noun: str,
    doc: str,
    alone: bool = False,
    least: int = 0,
    kw_only: bool = False,
) -> Any:
    """Return a field for a tuple of values of one kind.

    Args:
        item: What each value may be.
        default: A tuple; else the field is required.
        noun: What the whole is called, with its article.
        doc: What the field is for, in one line.
        alone: Whether a single value may stand for a tuple of one.
        least: Fewest values allowed.
        kw_only: Whether the field is given by name only.
    """
    return make_field(Several(noun, item, alone, least), default, doc=doc, kw_only=kw_only)


def make_field(kind: Kind, default: Any, *, doc: str, kw_only: bool) -> Any:
    """Return the attrs field that reads, checks and documents itself through its kind."""
    metadata = {_KIND: kind, _DOC: doc}
    return attrs.field(default=default, converter=kind.normalise, metadata=metadata, kw_only=kw_only)


def _duration(bound: float | str) -> float:
    return -math.inf if bound == -math.inf else parse_seconds(bound)


@dataclass_transform(
    frozen_default=True,
    field_specifiers=(
        seconds,
        byte_size,
        number,
        ratio,
        count,
        flag,
        choice,
        text,
        one,
        several,
        attrs.field,
    ),
)
def configured(cls: type[_C]) -> type[_C]:
    """Make a frozen attrs class of a subclass of `Configured`."""
    return attrs.frozen(cls)
