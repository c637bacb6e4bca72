"""The picture of a demo: the two curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from kafka_throttle.cli.demo.figures import SIDES

if TYPE_CHECKING:
    from pathlib import Path

    from kafka_throttle.cli.demo.conductor import Recording
    from kafka_throttle.cli.demo.figures import Plan
    from kafka_throttle.cli.demo.story import Story

__all__ = ["draw"]

# Okabe and Ito's palette, which people with any colour vision tell apart; the dashes help in print.
_LOOKS = {"bare": ("#D55E00", "--"), "kafka_throttle": ("#0072B2", "-")}


def draw(story: Story, recording: Recording, plan: Plan, constraint: str, path: Path) -> None:
    """Write what the story is about, of both sides over time, to a PNG file.

    Args:
        story: With which clients, and in which words.
        recording: What was seen.
        plan: What was offered.
        constraint: What kept Kafka from taking everything, in a sentence.
        path: The file.
    """
    figure = Figure(figsize=(9, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    seen = {side: [s for s in recording.samples[side] if s.p99 is not None] for side in SIDES}
    for side, samples in seen.items():
        times = [s.at for s in samples]
        colour, dashes = _LOOKS[side]
        lower, upper = zip(*map(story.pictured[1], samples), strict=True) if samples else ((), ())
        axes.fill_between(times, lower, upper, color=colour, alpha=0.2, linewidth=0)
        axes.plot(times, upper, dashes, color=colour, linewidth=2, label=story.title(side))
    if story.is_delay and any(seen.values()):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _seconds(value)))
    else:
        axes.set_ylim(bottom=0)
    last = max((s.at for samples in recording.samples.values() for s in samples), default=1.0)
    axes.set_xlim(0, last if recording.interrupted else max(plan.seconds, last))
    axes.set_xlabel("seconds since the start")
    axes.set_ylabel(story.pictured[0])
    axes.set_title(
        f"{plan.overload:g} x what Kafka takes: {plan.overload * plan.capacity / 1e6:g} MB/s offered to each side\n{constraint}",
        loc="left",
        fontsize=11,
    )
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    band = "line: p99, band: p50 to p99" if story.is_delay else None
    figure.legend(title=band, frameon=False, loc="outside lower center", ncols=2)
    figure.savefig(path, format="png")


def _seconds(value: float) -> str:
    return f"{value:g} s" if value >= 1 else f"{value * 1000:g} ms"
