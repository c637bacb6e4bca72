"""Draws results: a picture of the delay and goodput of each scenario, and the one for the README."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

from benchmarks.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

__all__ = ["draw_all", "draw_quota"]

# Okabe and Ito's palette, which people with any colour vision can tell apart; the dashes help in print.
_COLOURS = ("#D55E00", "#0072B2")
_LABELS = {"bare": "confluent_kafka.Producer", "facade": "kafka_throttle.Producer"}
_MARK = "#666666"
# A line is interrupted where nothing has been reported for so many seconds; a muted client is silent for one.
_SILENCE = 1.6


def draw_all(results: Sequence[dict[str, Any]], directory: Path) -> list[Path]:
    """Draw all results and return the files.

    Args:
        results: What was measured.
        directory: Where the pictures go.
    """
    drawn = []
    for result in results:
        file = directory / f"{result['scenario']}.png"
        if result["parameters"]["load"]["kind"] == "Bursts":
            _draw_bursts(result, file)
        else:
            _draw_series(result, file)
        drawn.append(file)
        if result["scenario"] == "quota":
            drawn.append(draw_quota(result, directory / "delay.png"))
    return drawn


def _outcomes(result: dict[str, Any]) -> dict[str, Outcome]:
    """Return the outcomes of the round whose first figure is nearest to the median, the bare client first."""
    first = result["figures"][0]
    middle, values = first["measured"], first["rounds"]
    known = [number for number, value in enumerate(values) if isinstance(value, float)]
    chosen = min(known, key=lambda number: abs(values[number] - middle)) if isinstance(middle, float) else 0
    names = [variant["name"] for variant in result["parameters"]["variants"]]
    return {name: Outcome(**result["rounds"][chosen][name]) for name in names}


def draw_quota(result: dict[str, Any], file: Path) -> Path:
    """Draw the delays of both clients under a quota, for people who see nothing else.

    Args:
        result: The result of the scenario "quota".
        file: Where the picture goes.
    """
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    for (name, outcome), colour in zip(_outcomes(result).items(), _COLOURS, strict=True):
        _plot_delay(axes, outcome, colour, _LABELS[name])
    axes.set_title(
        "Delay of a record while twice as much is offered as the broker takes", loc="left", weight="bold"
    )
    axes.set_xlabel("seconds since the start")
    axes.set_ylabel("produce() to delivery report, 99th percentile")
    _delay_axis(axes)
    axes.legend(frameon=False, loc="center right")
    _note(figure, result)
    figure.savefig(file, dpi=150, metadata={"Software": None})
    plt.close(figure)
    return file


def _draw_series(result: dict[str, Any], file: Path) -> None:
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(9, 6), layout="constrained")
    for (name, outcome), colour in zip(_outcomes(result).items(), _COLOURS, strict=True):
        _plot_delay(above, outcome, colour, _LABELS.get(name, name))
        times, rates = _goodput(outcome)
        below.plot(times, rates, color=colour, linewidth=1.4)
        marks = outcome.steps
    for axes in (above, below):
        for at in marks.values():
            axes.axvline(at, color=_MARK, linewidth=0.8, linestyle=":")
        axes.spines[["top", "right"]].set_visible(False)
    for step, at in marks.items():
        above.annotate(
            f" {step}", (at, 1.0), xycoords=("data", "axes fraction"), color=_MARK, va="top", fontsize=9
        )
    above.set_title(result["title"], loc="left", weight="bold")
    above.set_ylabel("delay, 99th percentile")
    _delay_axis(above)
    above.legend(frameon=False)
    below.set_ylabel("delivered, MB/s")
    below.set_ylim(bottom=0)
    below.set_xlabel("seconds since the start")
    _note(figure, result)
    figure.savefig(file, dpi=120, metadata={"Software": None})
    plt.close(figure)


def _draw_bursts(result: dict[str, Any], file: Path) -> None:
    figure, axes = plt.subplots(figsize=(9, 3.5), layout="constrained")
    samples = {
        name: [ns for turn in outcome.turns for ns in turn] for name, outcome in _outcomes(result).items()
    }
    top = max(sorted(values)[int(0.98 * (len(values) - 1))] for values in samples.values())
    for (name, values), colour in zip(samples.items(), _COLOURS, strict=True):
        axes.hist(values, bins=60, range=(0, top), color=colour, alpha=0.6, label=_LABELS.get(name, name))
    axes.set_title(result["title"], loc="left", weight="bold")
    axes.set_xlabel("nanoseconds a call, mean of a burst")
    axes.set_ylabel("bursts")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    _note(figure, result)
    figure.savefig(file, dpi=120, metadata={"Software": None})
    plt.close(figure)


def _plot_delay(axes: Axes, outcome: Outcome, colour: str, label: str) -> None:
    times, delays = [0.0], [math.nan]
    for at, p99 in outcome.rows("at", "p99"):
        if math.isnan(p99):
            continue
        if at - times[-1] > _SILENCE:  # nothing was reported: no line either
            times.append(at)
            delays.append(math.nan)
        times.append(at)
        delays.append(p99)
    axes.plot(times, delays, color=colour, linewidth=1.6, label=label)


def _goodput(outcome: Outcome) -> tuple[list[float], list[float]]:
    """Return megabytes per second, as means over a second."""
    ends = [at for (at,) in outcome.rows("at")]
    rates = [outcome.delivered_between(at - 1, at) * outcome.record_bytes / 1e6 for at in ends]
    return [at for at in ends if at >= 1], [rate for at, rate in zip(ends, rates, strict=True) if at >= 1]


def _delay_axis(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(_duration))
    axes.set_xlim(left=0)
    axes.grid(visible=True, axis="y", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _duration(seconds: float, _position: int) -> str:
    if seconds >= 1:
        return f"{seconds:g} s"
    return f"{seconds * 1e3:g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:g} µs"


def _note(figure: Any, result: dict[str, Any]) -> None:
    machine = result["machine"]
    text = (
        f"Apache Kafka {machine['kafka']} on loopback, {machine['cores']} cores, {machine['python']}, "
        f"confluent-kafka {machine['confluent_kafka']}: {result['command']}"
    )
    figure.supxlabel(text, fontsize=7.5, color=_MARK, x=0.01, ha="left")
