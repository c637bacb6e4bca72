"""A bar for work that takes its time: on a terminal, while it lasts, and nowhere else."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["progress"]

# More often nobody sees it, and each record would pay for it.
_INTERVAL = 0.1


@contextmanager
def progress(label: str, unit: str, *, hidden: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error for the length of a with statement, and wipe it away at the end.

    Args:
        label: What is being done.
        unit: What is counted, in the plural.
        hidden: Show none, as when standard error is no terminal or rich is not installed.

    Returns:
        To be called with what is done, and of how many.
    """
    if hidden or not sys.stderr.isatty() or find_spec("rich") is None:
        yield lambda _done, _of: None
        return
    from rich.console import Console  # noqa: PLC0415 - an extra
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn(label),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(label, total=None)
        shown_at = 0.0

        def show(done: int, of: int) -> None:
            nonlocal shown_at
            now = time.monotonic()
            if done == of or now - shown_at > _INTERVAL:
                shown_at = now
                bar.update(task, completed=done, total=max(of, done))

        yield show
