"""The demo in a terminal: two panels side by side, drawn anew with each sample."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kafka_throttle.cli.demo.figures import SIDES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console, RenderableType
    from typing_extensions import Self

    from kafka_throttle.cli.demo.conductor import Recording
    from kafka_throttle.cli.demo.figures import Plan, Sample
    from kafka_throttle.cli.demo.story import Story

__all__ = ["Screen", "chart"]

_COLOURS = {"bare": "bright_yellow", "kafka_throttle": "bright_cyan"}
_LEVELS = " ▁▂▃▄▅▆▇█"
_WIDEST = 124
# One decade more or less is one step of the same height on both sides.
_DELAYS = (0.001, 100.0)
_SMALLEST_SCALE = 1000.0


class Screen:
    """Shows the recording as it grows.

    Args:
        console: Where.
        story: In which words.
        recording: What is being recorded.
        plan: What is offered.
        title: What the demo plays on.
        constraint: What keeps it from taking everything.
    """

    def __init__(
        self, console: Console, story: Story, recording: Recording, plan: Plan, title: str, constraint: str
    ) -> None:
        self._console = console
        self._story = story
        self._recording = recording
        self._plan = plan
        self._title = title
        self._constraint = constraint
        self._live = Live(self.frame(), console=console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self) -> None:
        """Draw the present state; the screen begins with the first."""
        self._live.start()
        self._live.update(self.frame(), refresh=True)

    def frame(self) -> RenderableType:
        """Return the present state."""
        samples = self._recording.samples
        now = max((samples[side][-1].at for side in SIDES if samples[side]), default=0.0)
        width = min(self._console.width, _WIDEST)
        heading = Text.assemble(
            ("kafka_throttle demo", "bold"), f" on {self._title}", no_wrap=True, overflow="ellipsis"
        )
        offered = f"{self._story.offered(self._plan)} {self._constraint}"
        panels = [self._panel(side, width // 2) for side in SIDES]
        progress = Table.grid(padding=(0, 1))
        progress.add_row(
            ProgressBar(total=self._plan.seconds, completed=now, width=width - 32),
            f"{min(now, self._plan.seconds):.0f} of {self._plan.seconds:g} s, Ctrl-C ends",
        )
        now_words = self._story.happening(samples["bare"], samples["kafka_throttle"], self._plan)
        return Group(
            heading,
            Text(offered, style="dim"),
            Columns(panels, padding=0),
            Text.assemble(("Now: ", "bold"), now_words),
            progress,
        )

    def _panel(self, side: str, width: int) -> Panel:
        samples = self._recording.samples
        height = 1 if self._console.height < 32 else 4
        inner = width - 4
        colour = _COLOURS[side]
        figures = Table.grid(expand=True)
        figures.add_column(style="dim")
        figures.add_column(justify="right", style="bold")
        for name, value in self._story.rows(samples, side, self._plan):
            figures.add_row(name, Text(value, style=colour))
        delays = _over_time(samples[side], lambda s: s.p99, self._plan.seconds, inner)
        words, charted = self._story.charted
        values = _over_time(samples[side], charted, self._plan.seconds, inner)
        most = max((charted(s) for shown in samples.values() for s in shown), default=0.0)
        low, high = (math.log(value) for value in _DELAYS)
        logs = [None if value is None else math.log(max(value, 1e-6)) for value in delays]
        body = Group(
            figures,
            Text(f"delay p99, {_DELAYS[0] * 1000:g} ms to {_DELAYS[1]:g} s (log)", style="dim"),
            *(Text(line, style=colour) for line in chart(logs, low, high, height)),
            Text(words, style="dim"),
            *(Text(line, style=colour) for line in chart(values, 0.0, max(most, _SMALLEST_SCALE), height)),
        )
        return Panel(
            body, title=self._story.title(side), title_align="left", width=width, border_style=colour
        )


def chart(values: Sequence[float | None], low: float, high: float, height: int) -> list[str]:
    """Return columns of block characters, one for each value, as lines from the top.

    Args:
        values: What to show; None leaves a column empty.
        low: The value of the lowest step; what is lower is shown there.
        high: The value of the full height.
        height: Lines.
    """
    most = height * 8
    steps = [
        0 if v is None else 1 + round((most - 1) * min(1.0, max(0.0, (v - low) / (high - low))))
        for v in values
    ]
    return [
        "".join(_LEVELS[min(8, max(0, step - 8 * row))] for step in steps) for row in reversed(range(height))
    ]


def _over_time(
    samples: Sequence[Sample], value: Callable[[Sample], float | None], seconds: float, columns: int
) -> list[float | None]:
    """Return the largest value of each stretch of time, None for what has not come yet."""
    found: list[float | None] = [None] * columns
    for sample in samples:
        column = min(columns - 1, int(sample.at / seconds * columns))
        seen = value(sample)
        if seen is not None:
            found[column] = max(seen, found[column] or 0.0)
    reached = int(samples[-1].at / seconds * columns) if samples else 0
    for column in range(1, min(reached, columns)):
        # A sample that comes late must not leave a hole.
        found[column] = found[column - 1] if found[column] is None else found[column]
    return found
