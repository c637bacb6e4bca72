"""The picture of a demo: the two delay curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from kafka_throttle.cli.demo.figures import SIDES
from kafka_throttle.cli.demo.words import NAMES

if TYPE_CHECKING:
    from pathlib import Path

    from kafka_throttle.cli.demo.conductor import Recording
    from kafka_throttle.cli.demo.figures import Plan

__all__ = ["draw"]

# Okabe and Ito's palette, which people with any colour vision tell apart; the dashes help in print.
_LOOKS = {"bare": ("#D55E00", "--"), "kafka_throttle": ("#0072B2", "-")}


def draw(recording: Recording, plan: Plan, constraint: str, path: Path) -> None:
    """Write the delay of both sides over time to a PNG file, on a logarithmic axis.

    Args:
        recording: What was seen.
        plan: What was offered.
        constraint: What kept Kafka from taking everything, in a sentence.
        path: The file.
    """
    figure = Figure(figsize=(9, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for side in SIDES:
        samples = [s for s in recording.samples[side] if s.p99 is not None]
        times = [s.at for s in samples]
        colour, dashes = _LOOKS[side]
        p50, p99 = [s.p50 or 0.0 for s in samples], [s.p99 or 0.0 for s in samples]
        axes.fill_between(times, p50, p99, color=colour, alpha=0.2, linewidth=0)
        axes.plot(times, p99, dashes, color=colour, linewidth=2, label=f"{NAMES[side]}.Producer")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _seconds(value)))
    last = max((s.at for samples in recording.samples.values() for s in samples), default=1.0)
    axes.set_xlim(0, last if recording.interrupted else max(plan.seconds, last))
    axes.set_xlabel("seconds since the start")
    axes.set_ylabel("delay from produce() to the delivery report")
    axes.set_title(
        f"{plan.overload:g} x what Kafka takes: {plan.overload * plan.capacity / 1e6:g} MB/s offered to each side\n{constraint}",
        loc="left",
        fontsize=11,
    )
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(title="line: p99, band: p50 to p99", frameon=False, loc="outside lower center", ncols=2)
    figure.savefig(path, format="png")


def _seconds(value: float) -> str:
    return f"{value:g} s" if value >= 1 else f"{value * 1000:g} ms"
