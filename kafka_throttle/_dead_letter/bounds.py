"""What a field of a letter may hold when it comes from a topic or a file: nothing that is read is trusted."""

from __future__ import annotations

import math

from kafka_throttle._units import shown

__all__ = [
    "LONGEST_TEXT",
    "MOST_ATTEMPTS",
    "MOST_HEADERS",
    "MOST_PARTITION",
    "MOST_TIMESTAMP",
    "a_count",
    "a_time",
    "text",
]

LONGEST_TEXT = 65_536
MOST_PARTITION = 2**31 - 1
MOST_TIMESTAMP = 2**63 - 1
MOST_ATTEMPTS = 2**31 - 1
MOST_HEADERS = 1_000_000


def text(name: str, value: object) -> str:
    """Return a text of bearable length that is not empty.

    Raises:
        ValueError: When it is none.
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f"its {name} is {shown(value)}, not a text")
    if len(value) > LONGEST_TEXT:
        raise ValueError(f"its {name} has {len(value):,} characters; the most is {LONGEST_TEXT:,}")
    return value


def a_count(name: str, value: object, most: int) -> int:
    """Return a whole number from 0 to `most`.

    Raises:
        ValueError: When it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"its {name} is {shown(value)}, not a whole number from 0 to {most}")
    return value


def a_time(name: str, value: object) -> float:
    """Return a time in seconds since the epoch.

    Raises:
        ValueError: When it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"its {name} is {shown(value)}, not a time in seconds since the epoch")
    return float(value)
