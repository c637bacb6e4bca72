"""Letters as a table for people."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kafka_throttle._dead_letter import Letter

__all__ = ["print_table", "readable"]

_LONGEST_CELL = 60
# In a pipe there is no width to keep to, and 80 columns would tear every line.
_WIDTH_OF_A_PIPE = 200


def print_table(letters: Iterable[Letter]) -> None:
    """Print letters to stdout, one a row."""
    table = Table("first seen", "topic", "key", "value", "why", "attempts", "error")
    table.columns[5].justify = "right"
    for letter in letters:
        table.add_row(*_row(letter))
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE
    Console(markup=False, highlight=False, emoji=False, width=width).print(table)


def readable(content: bytes | str | None) -> str:
    """Return a payload or text so that it can be shown: shortened, and without what could move the cursor."""
    if content is None:
        return "none"
    text = content if isinstance(content, str) else content.decode(errors="backslashreplace")
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: _LONGEST_CELL + 1])
    return shown if len(shown) <= _LONGEST_CELL else shown[: _LONGEST_CELL - 3] + "..."


def _row(letter: Letter) -> tuple[str, ...]:
    where = letter.topic if letter.partition is None else f"{letter.topic}/{letter.partition}"
    why = f"{letter.policy}: {letter.reason}"
    error = letter.error or letter.error_name or ""
    return (
        _when(letter.first_seen),
        readable(where),
        readable(letter.key),
        readable(letter.value),
        readable(why),
        str(letter.attempts),
        readable(error),
    )


def _when(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OSError, OverflowError, ValueError):  # a year that no calendar has
        return f"{seconds:g} s"
