"""Keeps what was measured, one JSON file for each scenario."""

from __future__ import annotations

import json
import math
from statistics import median
from typing import TYPE_CHECKING, Any

from attrs import asdict

from benchmarks.load import load_to_dict
from benchmarks.machine import describe_machine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.outcome import Trial
    from benchmarks.scenario import Figure, Scenario

__all__ = ["load_results", "result_of", "rounded", "save_result"]


def result_of(scenario: Scenario, trials: Sequence[Trial], command: str, *, quick: bool) -> dict[str, Any]:
    """Return everything about one scenario that was run.

    Args:
        scenario: What was run.
        trials: Its rounds.
        command: The command line that does it again.
        quick: Whether it was a smoke run, whose figures mean nothing.
    """
    return {
        "scenario": scenario.name,
        "title": scenario.title,
        "command": command,
        "quick": quick,
        "machine": describe_machine(),
        "parameters": {
            "load": _plain(load_to_dict(scenario.load)),
            "cluster": asdict(scenario.cluster),
            "steps": [asdict(step) for step in scenario.steps],
            "config": dict(scenario.config),
            "variants": [asdict(variant) for variant in scenario.variants],
        },
        "figures": [_figure(figure, trials) for figure in scenario.figures],
        "rounds": [{name: outcome.to_dict() for name, outcome in trial.outcomes.items()} for trial in trials],
    }


def _figure(figure: Figure, trials: Sequence[Trial]) -> dict[str, Any]:
    measured = [figure.measure(trial) for trial in trials]
    known = [value for value in measured if not math.isnan(value)]
    middle = median(known) if known else math.nan
    bar = figure.bar
    return {
        "name": figure.name,
        "unit": figure.unit,
        "measured": rounded(middle),
        "rounds": [rounded(value) for value in measured],
        **(
            {"must": bar.must, "aim": bar.aim, "sign": bar.sign, "verdict": bar.verdict(middle)}
            if bar
            else {}
        ),
    }


def rounded(value: float) -> float | str | None:
    """Return four digits of a number, "never" for an infinite time, None when there was nothing to tell it from."""
    if math.isnan(value):
        return None
    return float(f"{value:.4g}") if math.isfinite(value) else "never"


def _plain(given: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in given.items()
    }


def save_result(result: dict[str, Any], directory: Path) -> Path:
    """Write one result, a line for each of its parts, and return the file."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{result['scenario']}.json"
    parts = [f"{json.dumps(name)}: {_lines(part)}" for name, part in result.items()]
    file.write_text("{\n" + ",\n".join(parts) + "\n}\n", "utf-8")
    return file


def _lines(part: Any) -> str:
    if isinstance(part, list):
        return "[\n  " + ",\n  ".join(json.dumps(item, allow_nan=False) for item in part) + "\n]"
    return json.dumps(part, allow_nan=False)


def load_results(directory: Path, order: Sequence[str]) -> list[dict[str, Any]]:
    """Return the results that there are, in the order of the catalogue."""
    files = [directory / f"{name}.json" for name in order]
    return [json.loads(file.read_text("utf-8")) for file in files if file.exists()]
