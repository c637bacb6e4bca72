"""The law that moves the limit: each sentence of its description, and its bounds under anything that can happen."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from kafka_throttle._core.limits import AIMD, AIMDLaw, Bounds, Conditions, Fixed
from kafka_throttle._core.window import WindowSample
from kafka_throttle.exceptions import ConfigurationError

RECORD = 1000.0
BOUNDS = Bounds(most_records=90_000, most_bytes=100_000_000, batch_bytes=16_000, linger=0.0)
CALM = Conditions(congested=None, base_delay=0.02, tolerance=0.03, record_bytes=RECORD)
CONGESTED = evolve(CALM, congested="standing-delay")


def window(end: float = 1.0, *, rate: float = 1e6, edge: bool = True, in_flight: int = 100) -> WindowSample:
    return WindowSample(end=end, duration=0.1, acked=int(rate * 0.1), edge_reached=edge, in_flight=in_flight)


def law_at(
    records: float, *, doubling: bool = True, config: AIMD | None = None, bounds: Bounds = BOUNDS
) -> AIMDLaw:
    law = (config or AIMD(start_bytes=int(records * RECORD))).start(bounds, RECORD)
    law.doubling = doubling
    return law


# ---- the start


def test_the_start_limit_is_a_number_of_bytes() -> None:
    assert AIMD(start_bytes="1 MB").start(BOUNDS, 250.0).records == 4000.0


def test_the_start_limit_has_room_for_a_batch() -> None:
    assert AIMD(start_bytes="1 KiB").start(BOUNDS, RECORD).records == 16.0


def test_the_start_limit_stays_within_what_the_client_can_hold() -> None:
    assert AIMD(start_bytes="1 MB").start(evolve(BOUNDS, most_records=50), RECORD).records == 50.0


def test_a_limit_that_was_not_tested_stays_the_same_in_bytes_when_the_records_become_larger() -> None:
    law = AIMD(start_bytes="1 MB").start(BOUNDS, 50.0)
    law.update(window(edge=False), CALM)
    assert law.records * RECORD == pytest.approx(1_000_000)
    law.update(window(edge=False), evolve(CALM, record_bytes=500.0))
    assert law.records * 500 == pytest.approx(1_000_000)


@pytest.mark.parametrize(
    ("record_bytes", "records"), [(4 * RECORD, 250), (RECORD / 4, 4000), (3 * RECORD, 1000)]
)
def test_a_limit_that_was_tested_stays_the_same_in_bytes_when_the_records_are_of_another_kind(
    record_bytes: float, records: float
) -> None:
    law = law_at(1000, doubling=False)
    law.update(window(edge=True, rate=0.0), evolve(CALM, congested=None))
    before = law.records
    law.update(window(edge=False), evolve(CALM, record_bytes=record_bytes))
    assert law.records / before == pytest.approx(records / 1000)


# ---- congested


def test_a_congested_window_multiplies_the_limit_with_the_back_off_ratio() -> None:
    law = law_at(1000)
    law.update(window(rate=1e6), CONGESTED)
    assert law.records == pytest.approx(800)


def test_from_far_above_the_product_of_rate_and_allowed_delay_is_the_fast_way_down() -> None:
    law = law_at(50_000)
    law.update(window(rate=10_000), CONGESTED)
    assert law.records == pytest.approx(25_000), "the pipe was still filling up: at most by half"
    law.update(window(rate=10_000), CONGESTED)
    assert law.records == pytest.approx(10_000 * (0.02 + 0.03))


def test_the_product_of_rate_and_allowed_delay_only_ever_lowers() -> None:
    law = law_at(100)
    law.update(window(rate=1e6), CONGESTED)
    assert law.records == pytest.approx(80)


def test_a_window_that_ended_in_a_mute_does_not_hide_the_rate_of_those_before() -> None:
    law = law_at(50_000, doubling=False)
    for n in range(30):
        law.update(window(1.0 + n * 0.1, rate=10_000, edge=False), CALM)
    law.update(window(5.0, rate=100), CONGESTED)
    assert law.records == pytest.approx(0.5 * 10_000 * (0.02 + 0.03), rel=0.01)


def test_the_limit_never_falls_below_one_batch() -> None:
    law = law_at(20)
    for n in range(50):
        law.update(window(1.0 + n * 0.1, rate=100), CONGESTED)
    assert law.records == 16.0


def test_while_the_edge_is_reached_the_floor_covers_what_gathers_in_a_linger_time() -> None:
    law = law_at(100, bounds=evolve(BOUNDS, linger=0.1))
    law.update(window(rate=10_000), CONGESTED)
    assert law.records == pytest.approx(0.5 * 10_000 * 0.1)


# ---- calm and the edge was reached


def test_calm_windows_double_the_limit_until_the_first_congestion() -> None:
    law = law_at(100)
    law.update(window(1.0, rate=1000), CALM)
    law.update(window(1.1, rate=2000), CALM)
    assert law.records == 400.0


def test_after_the_first_congestion_a_calm_window_adds_a_share_of_the_limit_at_the_last_decrease() -> None:
    law = law_at(10_000)
    law.update(window(1.0, rate=200_000), CONGESTED)
    law.update(window(1.1, rate=200_000), CALM)
    law.update(window(1.2, rate=200_000), CALM)
    assert law.records == pytest.approx(8000 * (1 + 2 * 0.05))


def test_the_step_is_at_least_one_batch() -> None:
    law = law_at(100)
    law.update(window(1.0, rate=2000), CONGESTED)
    law.update(window(1.1, rate=2000), CALM)
    assert law.records == pytest.approx(80 + 16)


def test_doubling_ends_when_it_brought_no_more_throughput() -> None:
    law = law_at(100)
    for n in range(5):
        law.update(window(1.0 + n * 0.1, rate=1000), CALM)
    assert not law.doubling
    assert law.records <= 800
    before = law.records
    law.update(window(2.0, rate=1000), CALM)
    assert law.records == before + max(16, 0.05 * before)


def test_the_limit_never_exceeds_what_the_client_can_hold_in_records() -> None:
    law = law_at(80_000)
    for n in range(10):
        law.update(window(1.0 + n * 0.1, rate=10_000 * 2**n), CALM)
    assert law.records == 90_000.0


def test_the_limit_never_exceeds_what_the_client_can_hold_in_bytes() -> None:
    law = law_at(80_000, bounds=evolve(BOUNDS, most_bytes=20_000_000))
    law.update(window(), CALM)
    assert law.records == 20_000.0


def test_the_limit_never_exceeds_the_configured_bytes() -> None:
    config = AIMD(max_bytes="1 MB", start_bytes="1 MB")
    law = law_at(1000, config=config)
    law.update(window(), CALM)
    assert (law.records, config.most_bytes(BOUNDS)) == (1000.0, 1_000_000)


# ---- calm and the edge was not reached, or nothing known


def test_a_limit_that_was_not_tested_does_not_grow() -> None:
    law = law_at(100)
    for n in range(50):
        law.update(window(1.0 + n * 0.1, edge=False), CALM)
    assert law.records == 100.0


@pytest.mark.parametrize("conditions", [CALM, CONGESTED], ids=["calm", "congested"])
def test_a_window_without_a_report_changes_nothing(conditions: Conditions) -> None:
    law = law_at(100)
    law.update(window(rate=0, in_flight=100), conditions)
    assert (law.records, law.doubling) == (100.0, True)


# ---- idle


def test_after_ten_seconds_without_pressure_the_limit_may_double_again() -> None:
    law = law_at(1000, doubling=False)
    law.update(window(1.0), CALM)
    law.update(window(11.5, edge=False), CALM)
    before = law.records
    law.update(window(11.6), CALM)
    assert law.records == 2 * before


def test_short_gaps_do_not_make_the_limit_double_again() -> None:
    law = law_at(1000, doubling=False)
    for n in range(50):
        law.update(window(1.0 + n, edge=n % 9 == 0), CALM)
    assert not law.doubling


def test_idling_never_lowers_the_limit() -> None:
    law = law_at(1000, doubling=False)
    law.update(window(1.0, edge=False, rate=10), CALM)
    law.update(window(1000.0, edge=False, rate=0, in_flight=0), CALM)
    assert law.records == 1000.0


# ---- whatever happens

WINDOWS = st.lists(
    st.tuples(st.floats(0, 1e6), st.booleans(), st.booleans(), st.integers(0, 1000), st.floats(0.05, 30)),
    max_size=60,
)


@given(WINDOWS, st.floats(1, 1e6), st.integers(1, 1000))
def test_the_limit_stays_between_one_record_and_what_the_client_can_hold(
    windows: list[tuple[float, bool, bool, int, float]], record_bytes: float, most_records: int
) -> None:
    bounds = evolve(BOUNDS, most_records=most_records)
    law = AIMD().start(bounds, record_bytes)
    now = 0.0
    for rate, edge, congested, in_flight, later in windows:
        now += later
        conditions = evolve(CONGESTED if congested else CALM, record_bytes=record_bytes)
        law.update(window(now, rate=rate, edge=edge, in_flight=in_flight), conditions)
        assert 1 <= law.records <= most_records


@given(WINDOWS)
def test_the_limit_grows_only_when_reached_and_shrinks_only_under_congestion_or_at_the_end_of_doubling(
    windows: list[tuple[float, bool, bool, int, float]],
) -> None:
    law, now = AIMD().start(BOUNDS, RECORD), 0.0
    for rate, edge, congested, in_flight, later in windows:
        now += later
        before, was_doubling = law.records, law.doubling
        law.update(window(now, rate=rate, edge=edge, in_flight=in_flight), CONGESTED if congested else CALM)
        assert law.records <= before or edge
        assert law.records >= before or congested or (was_doubling and not law.doubling)


# ---- configuration, and the limit that does not move


def test_a_bound_below_the_start_is_refused_in_words() -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"max_bytes: 2000 is below start_bytes \(\d+\); allowed: from start_bytes up",
    ):
        AIMD(max_bytes=2000)


def test_a_fixed_limit_does_not_move() -> None:
    law = Fixed(500).start(BOUNDS, RECORD)
    law.update(window(), CONGESTED)
    law.update(window(), CALM)
    assert law.records == 500


def test_a_fixed_limit_stays_within_what_the_client_can_hold() -> None:
    assert Fixed(500).start(evolve(BOUNDS, most_records=90), RECORD).records == 90
