"""What the commands on a spool share: their argument, their words, their tables."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kafka_throttle._spool.maintenance import is_spool
from kafka_throttle.cli._extras import require

if TYPE_CHECKING:
    from rich.console import Console

    from kafka_throttle._spool.maintenance import Finding

__all__ = ["age", "console", "count", "directory_argument", "finding_line", "moment"]

# Without a terminal there is no width to keep to, but a table needs one.
_WIDTH = 200


class _SpoolDirectory(click.Path):
    """A directory that holds a spool."""

    name = "directory"

    def __init__(self) -> None:
        super().__init__(exists=True, file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path: Path = super().convert(value, param, ctx)  # type: ignore[assignment]
        if not is_spool(path):
            self.fail(f"{str(path)!r} is not the directory of a spool", param, ctx)
        return path


directory_argument = click.argument("directory", type=_SpoolDirectory())


def console() -> Console:
    """Return where tables go.

    Raises:
        click.ClickException: When rich is not installed.
    """
    require("cli", "rich")
    from rich.console import Console  # noqa: PLC0415 - an extra

    shown = Console(highlight=False, markup=False)
    return shown if shown.is_terminal else Console(highlight=False, markup=False, width=_WIDTH)


def count(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 record``, ``12 000 records``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}".replace(",", " ")


def age(seconds: float) -> str:
    """Return a duration as people say it, to two units: ``12 s``, ``3 min 20 s``, ``2 d 4 h``."""
    whole = int(seconds)
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    first = next((index for index, (_, length) in enumerate(units) if whole >= length), 3)
    parts: list[str] = []
    for unit, length in units[first : first + 2]:
        amount, whole = divmod(whole, length)
        if amount or not parts:
            parts.append(f"{amount} {unit}")
    return " ".join(parts)


def moment(seconds: float) -> str:
    """Return a time as ``2026-11-24 09:35:12 UTC``."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def finding_line(finding: Finding) -> str:
    """Return what is wrong with a file, in a line."""
    return f"{finding.file}: {finding.problem} ({count(finding.lost, 'record')} lost)"
