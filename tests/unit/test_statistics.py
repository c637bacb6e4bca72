"""The snapshot: a ledger that adds up, and figures that come from the last window."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_throttle._core.engine import Engine
from kafka_throttle._core.ledger import Ledger
from kafka_throttle._core.limits import Bounds, Fixed
from kafka_throttle._core.signals import DEFAULT_SIGNALS
from kafka_throttle._core.window import BUCKETS, Delays, Reading, bucket_of
from kafka_throttle.statistics import Statistics, path_of, saturation_of

COUNT = st.integers(0, 10**6)


def engine_at(limit: int = 100) -> Engine:
    engine = Engine(Fixed(limit), DEFAULT_SIGNALS, Bounds(), 1_000_000, 32 << 20)
    engine.begin(1000.0, 100)
    return engine


@given(
    st.fixed_dictionaries(dict.fromkeys(("rejected", "in_flight", "delivered", "failed", "unknown"), COUNT)),
    st.integers(1, 1000),
)
def test_every_offered_record_has_exactly_one_place_in_the_ledger(places: dict[str, int], size: int) -> None:
    acked = places["delivered"] + places["failed"] + places["unknown"]
    admitted = acked + places["in_flight"]
    reading = Reading(
        admitted=admitted, admitted_bytes=admitted * size, acked=acked, acked_bytes=acked * size,
        failed=places["failed"], failed_bytes=places["failed"] * size,
        unknown=places["unknown"], unknown_bytes=places["unknown"] * size,
    )  # fmt: skip
    ledger = Ledger().balance(reading, places["rejected"], places["rejected"] * size)
    for name, expected in places.items():
        assert (ledger[name], ledger[f"{name}_bytes"]) == (expected, expected * size)
    assert ledger["offered"] == sum(places.values())
    assert ledger["offered_bytes"] == sum(places.values()) * size


def test_before_the_first_window_the_rates_are_left_at_zero() -> None:
    figures = path_of(engine_at(), Reading(admitted=10, admitted_bytes=1000), 5000)
    assert "record_send_rate" not in figures
    assert (figures["buffer_total_bytes"], figures["buffer_available_bytes"]) == (5000, 4000)


def test_rates_are_those_of_the_last_window() -> None:
    engine = engine_at()
    counts = [0] * BUCKETS
    counts[bucket_of(50_000)] = 40
    reading = Reading(
        admitted=60, admitted_bytes=6000, acked=40, acked_bytes=4000, failed=6, transient=4, requests=10, responses=8,
        response_time=0.16, delays=Delays(tuple(counts), 2.0, 40),
    )  # fmt: skip
    engine.note_broker_throttle(1000.0, 0.3, reading)
    engine.advance(1000.5, reading)
    figures = path_of(engine, reading, 1_000_000)
    assert {
        name: figures[name]
        for name in ("request_rate", "response_rate", "record_send_rate", "record_error_rate", "requests_in_flight",
                     "produce_throttle_time_avg", "limit_records")
    } == {
        "request_rate": 20.0, "response_rate": 16.0, "record_send_rate": 80.0, "record_error_rate": 12.0,
        "requests_in_flight": 2, "produce_throttle_time_avg": 0.3, "limit_records": 100,
    }  # fmt: skip
    assert figures["standing_delay"] == pytest.approx(0.05, rel=0.07)
    assert "broker-throttle" in figures["signals"]  # type: ignore[operator]


def test_a_buffer_that_is_overdrawn_has_nothing_available() -> None:
    assert path_of(engine_at(), Reading(admitted=1, admitted_bytes=9000), 5000)["buffer_available_bytes"] == 0


@pytest.mark.parametrize(("expected", "in_flight"), [(0.0, 0), (0.25, 25), (1.0, 100), (1.0, 500)])
def test_saturation_is_the_fill_of_the_limit(expected: float, in_flight: int) -> None:
    assert saturation_of(engine_at(100), Reading(admitted=in_flight)) == expected


def test_saturation_does_not_fall_at_once_after_the_edge_was_reached() -> None:
    engine = engine_at(100)
    full = Reading(admitted=100, admitted_bytes=10_000)
    for n in range(1, 30):
        engine.edge_reached(1000.0 + n * 0.1, full, engine.room(1000.0 + n * 0.1, full))
        engine.advance(1000.0 + n * 0.1, full)
    assert saturation_of(engine, Reading(admitted=100, acked=100)) > 0.8


def test_an_engine_that_has_not_begun_is_not_saturated() -> None:
    engine = Engine(Fixed(100), DEFAULT_SIGNALS, Bounds(), 1_000_000, 32 << 20)
    assert saturation_of(engine, Reading()) == 0.0


def test_a_snapshot_cannot_be_changed() -> None:
    snapshot = Statistics(client_id="orders", state="open", gate="pure", errors={})
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        snapshot.delivered = 1  # type: ignore[misc]
