"""Numbers taken of a round, on rounds whose numbers are known."""

from __future__ import annotations

import math

import pytest

from benchmarks import measures as m
from benchmarks.catalogue import SCENARIOS
from benchmarks.outcome import SERIES, Outcome, Trial


def outcome(rows: list[dict[str, float | None]], **fields: object) -> Outcome:
    """An outcome with a row every second; what a row does not name is 0."""
    series = {column: [row.get(column, 0) for row in rows] for column in SERIES}
    series["at"] = [float(number + 1) for number in range(len(rows))]
    return Outcome(seconds=float(len(rows)), record_bytes=100, series=series, **fields)  # type: ignore[arg-type]


def trial(facade: Outcome, bare: Outcome | None = None) -> Trial:
    return Trial(SCENARIOS["quota"], {"bare": bare or Outcome(), "facade": facade})


def test_goodput_counts_the_bytes_of_what_was_reported_in_time() -> None:
    assert m.goodput("facade", 200)(trial(outcome([{}] * 10, delivered=10))) == 0.5


def test_what_a_bucket_delivered_is_shared_by_the_spans_that_cut_it() -> None:
    assert outcome([{"delivered": 4}, {"delivered": 8}, {"delivered": 16}]).delivered_between(0.5, 1.5) == 6.0


def test_the_delay_is_back_when_it_stays_so_for_two_seconds() -> None:
    delays = [9.0, 0.1, 9.0, 0.1, 0.1, 0.1, 9.0]
    measured = m.delay_back("facade", "halved", 0.25)(
        trial(outcome([{"p99": p99, "inside": 1} for p99 in delays], steps={"halved": 0.5}))
    )
    assert measured == 2.5


def test_silence_with_records_in_the_client_is_no_calm() -> None:
    silent = outcome([{"p99": None, "inside": 5}] * 6, steps={"halved": 1.0})
    idle = outcome([{"p99": None, "inside": 0}] * 6, steps={"halved": 1.0})
    assert (math.inf, 0.0) == tuple(m.delay_back("facade", "halved", 0.25)(trial(o)) for o in (silent, idle))


def test_the_goodput_is_back_when_two_seconds_of_it_suffice() -> None:
    rates = [10, 1, 1, 9, 9, 9, 9]
    measured = m.goodput_back("facade", "doubled", 1000)(
        trial(outcome([{"delivered": rate} for rate in rates], steps={"doubled": 1.0}))
    )
    assert measured == 2.0


def test_a_goodput_that_never_comes_back_is_infinitely_late() -> None:
    steps = {"doubled": 1.0}
    assert math.inf == m.goodput_back("facade", "doubled", 1000)(trial(outcome([{}] * 6, steps=steps)))


def test_goodput_after_a_step_ends_with_the_load() -> None:
    rows: list[dict[str, float | None]] = [{"delivered": 10}] * 4
    assert m.goodput_after("facade", "doubled", 5, 1000)(trial(outcome(rows, steps={"doubled": 2.0}))) == 1.0


def test_caught_are_the_late_ones_after_the_step_against_the_limit_before_it() -> None:
    rows: list[dict[str, float | None]] = [{"limit": 10, "late": 7}, {"limit": 10}, {"limit": 99, "late": 5}]
    assert m.caught_inside("facade", "halved")(trial(outcome(rows, steps={"halved": 2.0}))) == 0.5


def test_lost_is_what_the_topic_has_not_got() -> None:
    assert tuple(m.lost(trial(Outcome(accepted=9, written=w))) for w in (8, 10)) == (1, 0)


def test_memory_is_compared_after_the_start() -> None:
    resident = [50, 100, 100, 100, 100, 110]
    assert (
        pytest.approx(m.memory_growth("facade")(trial(outcome([{"resident": r} for r in resident])))) == 0.1
    )


def test_the_speed_of_calls_is_the_median_over_turns() -> None:
    bare = Outcome(turns=[[100, 100, 900], [100], [100]])
    facade = Outcome(turns=[[200, 200], [125], [100]])
    assert m.burst_speed("bare", "facade")(trial(facade, bare)) == 0.8


def test_a_limit_below_the_burst_shows() -> None:
    round_ = Trial(SCENARIOS["produce"], {"facade": Outcome(limits=[5000, 1000])})
    assert m.room_for_burst("facade")(round_) == 0.5


def test_a_ratio_to_nothing_is_unknown() -> None:
    assert math.isnan(m.rate_ratio(trial(Outcome(accepted=5, drained=1.0), Outcome(drained=1.0))))
