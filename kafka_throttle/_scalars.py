"""Numbers, flags and text, read leniently from objects and from text, and written back.

Bool is never a number. Each reader raises ValueError with the whole reason.
"""

from __future__ import annotations

import math

from kafka_throttle._units import shown

__all__ = ["to_count", "to_flag", "to_number", "to_text", "write_flag", "write_number"]

_FLAGS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


def to_flag(raw: object) -> bool:
    """Return the bool that is meant by true/false, 1/0, yes/no or on/off.

    Raises:
        ValueError: When it is none of them.
    """
    word = str(raw).strip().lower() if isinstance(raw, (bool, int, str)) else ""
    if word not in _FLAGS:
        raise ValueError(f"{shown(raw)} is neither true nor false")
    return _FLAGS[word]


def to_number(raw: object) -> float:
    """Return the number that is meant; infinities are numbers.

    Raises:
        ValueError: When it is none, or nan.
    """
    try:
        value = math.nan if isinstance(raw, bool) or not isinstance(raw, (int, float, str)) else float(raw)
    except (ValueError, OverflowError):
        value = math.nan
    if math.isnan(value):
        raise ValueError(f"{shown(raw)} is not a number")
    return value


def to_count(raw: object) -> int:
    """Return the whole number that is meant.

    Raises:
        ValueError: When it is none.
    """
    value = to_number(raw)
    if not value.is_integer():
        raise ValueError(f"{shown(raw)} is not a whole number")
    return raw if isinstance(raw, int) else int(value)


def to_text(raw: object) -> str:
    """Return the text.

    Raises:
        ValueError: When it is none, or blank.
    """
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError(f"{shown(raw)} is not a text")
    return raw


def write_number(value: float) -> str:
    """Return a number as a user would write it."""
    return f"{value:g}"


def write_flag(value: bool) -> str:
    """Return a flag as a user would write it."""
    return str(value).lower()
