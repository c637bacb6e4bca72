"""Sizes, durations and rates as people write them: ``"10 GiB"``, ``"250 ms"``, ``"5 MB/s"``.

Decimal and binary units are different things: 1 MB is 10^6 bytes, 1 MiB is 2^20. Letters may be upper or lower
case; a lone ``K``, ``M`` or ``G`` is refused because it may mean either. Plain numbers are bytes and seconds.
"""

from __future__ import annotations

import math
import re

__all__ = ["format_bytes", "format_seconds", "parse_bytes", "parse_rate", "parse_seconds", "shown"]

_BINARY = {"TiB": 2**40, "GiB": 2**30, "MiB": 2**20, "KiB": 2**10}
_DECIMAL = {"TB": 10**12, "GB": 10**9, "MB": 10**6, "kB": 10**3}
_BYTES = {unit.lower(): size for unit, size in {**_BINARY, **_DECIMAL, "B": 1, "": 1}.items()}
# Seconds as (numerator, denominator): 35 ms is 35 / 1000 exactly, 35 * 0.001 is not.
_SECONDS = {
    **dict.fromkeys(("us", "\N{MICRO SIGN}s", "\N{GREEK SMALL LETTER MU}s"), (1, 1_000_000)),
    "ms": (1, 1000),
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), (1, 1)),
    **dict.fromkeys(("min", "minute", "minutes"), (60, 1)),
    **dict.fromkeys(("h", "hour", "hours"), (3600, 1)),
    **dict.fromkeys(("d", "day", "days"), (86400, 1)),
}
_PER = {"s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0}

_SIZE_WORDS = (
    "a size such as 1024, '5 MB' or '10 GiB' (units: B, kB, MB, GB, TB = powers of 1000; "
    "KiB, MiB, GiB, TiB = powers of 1024)"
)
_DURATION_WORDS = "a duration such as 5, '250 ms' or '2 min' (units: us, ms, s, min, h, d)"
_RATE_WORDS = "a rate such as 5000000, '5 MB/s' or '1 GiB/min' (a size per s, min or h)"

# Anything longer is not a quantity, and int() refuses more than 4300 digits with words of its own.
_LONGEST_TEXT = 64
# Beyond any quantity there is, and far enough from the end of float that no unit overflows it.
_LARGEST = 1e30
_QUANTITY = re.compile(r"([+-]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*([^\W\d_]*)")


def shown(value: object) -> str:
    """Return a value as an error message shows it: its repr, shortened to one reasonable line."""
    try:
        text = repr(value)
    except ValueError:  # an int of more than 4300 digits
        return f"<{type(value).__name__}>"
    return text if len(text) <= 80 else f"{text[:60]}...{text[-15:]}"


def parse_bytes(value: object) -> int:
    """Return a size in whole bytes.

    Args:
        value: A number of bytes, or text such as ``"64 KiB"`` or ``"5 MB"``.

    Raises:
        ValueError: When it is not a size; the text says what is.
    """
    number, unit = _split(value, _SIZE_WORDS)
    if unit.lower() not in _BYTES:
        raise _not_a(_SIZE_WORDS, value)
    if not unit and number % 1:
        raise _not_a(_SIZE_WORDS, value)
    return round(number * _BYTES[unit.lower()])


def parse_seconds(value: object) -> float:
    """Return a duration in seconds; ``"forever"`` is infinity.

    Args:
        value: A number of seconds, or text such as ``"250 ms"``, ``"2 min"`` or ``"forever"``.

    Raises:
        ValueError: When it is not a duration; the text says what is.
    """
    if value == math.inf or (isinstance(value, str) and value.strip().lower() == "forever"):
        return math.inf
    number, unit = _split(value, _DURATION_WORDS)
    if unit.lower() not in _SECONDS:
        raise _not_a(_DURATION_WORDS, value)
    numerator, denominator = _SECONDS[unit.lower()]
    return number * numerator / denominator


def parse_rate(value: object) -> float:
    """Return a rate in bytes per second.

    Args:
        value: A number of bytes per second, or text such as ``"5 MB/s"`` or ``"1 GiB/min"``.

    Raises:
        ValueError: When it is not a rate; the text says what is.
    """
    size, slash, per = value.partition("/") if isinstance(value, str) else (value, "", "s")
    period = _PER.get(per.strip().lower() if slash else "s")
    if period is None:
        raise _not_a(_RATE_WORDS, value)
    try:
        return parse_bytes(size) / period
    except ValueError:
        raise _not_a(_RATE_WORDS, value) from None


def format_bytes(size: float) -> str:
    """Return a size to four digits, in the largest fitting unit: decimal if only that one is exact, else binary."""
    for units in (_BINARY, _DECIMAL, _BINARY):
        unit, factor = next(((u, f) for u, f in units.items() if abs(size) >= f), ("B", 1))
        text = _digits(size / factor)
        if float(text) * factor == size:
            break
    return f"{text} {unit}"


def format_seconds(seconds: float) -> str:
    """Return a duration to four digits, such as ``"250 ms"``, ``"90 s"``, ``"5 min"`` or ``"forever"``."""
    if seconds == math.inf:
        return "forever"
    magnitude = abs(seconds)
    for unit, factor in (("d", 86400), ("h", 3600), ("min", 60)):
        if magnitude > 60 and magnitude % factor == 0:
            return f"{_digits(seconds / factor)} {unit}"
    if magnitude >= 1 or not magnitude:
        return f"{_digits(seconds)} s"
    return f"{_digits(seconds * 1e3)} ms" if magnitude >= 1e-3 else f"{_digits(seconds * 1e6)} us"


def _split(value: object, words: str) -> tuple[float, str]:
    """Return number and unit; whole numbers stay int, so that large sizes are exact."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _not_a(words, value)
    match = (
        _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= _LONGEST_TEXT else None
    )
    if match:
        value, unit = _number(match[1]), match[2]
    elif isinstance(value, str):
        raise _not_a(words, value)
    else:
        unit = ""
    if abs(value) > _LARGEST or value != value:  # noqa: PLR0124 (nan)
        raise _not_a(words, value)
    return value, unit


def _number(text: str) -> float:
    """Return the int, or else the float, that the text of a number means."""
    try:
        return int(text)
    except ValueError:
        return float(text.replace("_", ""))


def _digits(value: float) -> str:
    """Return a number to four digits without trailing zeros."""
    return f"{float(f'{value:.4g}'):.12g}"


def _not_a(words: str, value: object) -> ValueError:
    return ValueError(f"{shown(value)} is not {words}")
