"""Bars, and what the catalogue promises."""

from __future__ import annotations

import math

import pytest

from benchmarks.catalogue import SCENARIOS
from benchmarks.load import OpenLoop
from benchmarks.scenario import Bar, Scenario, Step


@pytest.mark.parametrize(
    ("bar", "measured", "verdict"),
    [
        (Bar(0.9, 1.0, "higher"), 1.0, "aim met"),
        (Bar(0.9, 1.0, "higher"), 0.9, "met"),
        (Bar(0.9, 1.0, "higher"), 0.89, "MISSED"),
        (Bar(2, 1, "lower"), 1, "aim met"),
        (Bar(2, 1, "lower"), 2, "met"),
        (Bar(2, 1, "lower"), math.inf, "MISSED"),
        (Bar(2, 1, "lower"), math.nan, "MISSED"),
    ],
)
def test_a_bar_judges_in_its_own_direction(bar: Bar, measured: float, verdict: str) -> None:
    assert verdict == bar.verdict(measured)


def test_steps_of_a_smoke_run_come_sooner_by_the_same_share() -> None:
    long = Scenario("x", "", OpenLoop(1, 1, 40), (), steps=(Step("killed", 10, "kill"),), rounds=5)
    short = long.shortened()
    assert (short.load.duration, short.steps[0].at, short.rounds) == (4.0, 1.0, 1)  # type: ignore[attr-defined]


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda s: s.name)
def test_every_scenario_can_be_missed(scenario: Scenario) -> None:
    bars = [figure.bar for figure in scenario.figures if figure.bar]
    assert bars, "a scenario without a bar proves nothing"
    for bar in bars:
        assert (bar.aim >= bar.must) if bar.better == "higher" else (bar.aim <= bar.must)
        assert bar.verdict(-math.inf if bar.better == "higher" else math.inf) == "MISSED"


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda s: s.name)
def test_every_step_comes_while_the_load_runs(scenario: Scenario) -> None:
    late = [
        s for s in scenario.steps if isinstance(scenario.load, OpenLoop) and s.at >= scenario.load.duration
    ]
    assert late == []
