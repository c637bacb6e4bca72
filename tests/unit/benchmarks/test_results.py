"""Results keep medians, and say "never" where JSON has no word for it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from benchmarks.load import OpenLoop
from benchmarks.outcome import Outcome, Trial
from benchmarks.report import figure_lines, markdown
from benchmarks.results import load_results, result_of, save_result
from benchmarks.scenario import Bar, Figure, Scenario

if TYPE_CHECKING:
    from pathlib import Path


def result_with(values: list[float], bar: Bar | None = None) -> dict[str, object]:
    remaining = iter(values)
    figure = Figure("delay", lambda _trial: next(remaining), bar, unit="s")
    scenario = Scenario("quota", "a title", OpenLoop(1, 1, 1), (figure,))
    trials = [Trial(scenario, {"facade": Outcome()}) for _ in values]
    return result_of(scenario, trials, "python -m benchmarks run quota", quick=False)


def figure_of(result: dict[str, object]) -> dict[str, object]:
    figures = result["figures"]
    assert isinstance(figures, list)
    return figures[0]  # type: ignore[no-any-return]


def test_the_median_of_the_rounds_counts() -> None:
    figure = figure_of(result_with([3.0, 1.0, 2.0], Bar(2, 1, "lower")))
    assert (figure["measured"], figure["rounds"], figure["verdict"]) == (2.0, [3.0, 1.0, 2.0], "met")


def test_never_and_unknown_are_told_apart() -> None:
    never, unknown = (figure_of(result_with([value])) for value in (math.inf, math.nan))
    assert (never["measured"], unknown["measured"]) == ("never", None)


def test_a_round_that_cannot_tell_does_not_spoil_the_median() -> None:
    assert figure_of(result_with([math.nan, 1.0, 3.0]))["measured"] == 2.0


def test_a_result_comes_back_from_its_file_as_strict_json(tmp_path: Path) -> None:
    result = result_with([1.0])
    file = save_result(result, tmp_path)
    json.loads(file.read_text("utf-8"), parse_constant=lambda word: f"not JSON: {word}")
    assert [json.loads(json.dumps(result))] == load_results(tmp_path, ["absent", "quota"])


def test_the_report_has_a_row_for_each_figure() -> None:
    text = markdown([result_with([math.inf], Bar(2, 1, "lower"))])
    assert "| a title | delay | <= 2 s | <= 1 s | never | MISSED |" in text.splitlines()


def test_a_figure_without_a_bar_is_shown_as_it_is() -> None:
    assert list(figure_lines(result_with([1.0, 2.0, 3.0]))) == ["  delay: 2 s   [1 s, 2 s, 3 s]"]
