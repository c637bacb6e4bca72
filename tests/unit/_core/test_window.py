"""Buckets, delays and samples: differences of counters, without losing or inventing anything."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_throttle._core.window import BUCKETS, Delays, Reading, WindowSample, bucket_of, delay_of

LONGEST = 10**9  # microseconds: 17 minutes, above any message timeout in use
MICROSECONDS = st.integers(0, LONGEST)


def delays_of(microseconds: list[int]) -> Delays:
    counts = [0] * BUCKETS
    for each in microseconds:
        counts[bucket_of(each)] += 1
    return Delays(tuple(counts), sum(microseconds) * 1e-6, len(microseconds))


# ---- buckets


@given(MICROSECONDS, MICROSECONDS)
def test_a_longer_delay_never_falls_into_a_lower_bucket(one: int, other: int) -> None:
    shorter, longer = sorted((one, other))
    assert bucket_of(shorter) <= bucket_of(longer)


@given(MICROSECONDS)
def test_the_middle_of_a_bucket_is_within_seven_per_cent_of_what_it_counts(microseconds: int) -> None:
    assert delay_of(bucket_of(microseconds)) == pytest.approx(microseconds * 1e-6, rel=0.07, abs=1e-9)


@pytest.mark.parametrize("bucket", range(BUCKETS))
def test_the_middle_of_each_bucket_falls_into_that_bucket(bucket: int) -> None:
    assert bucket_of(int(delay_of(bucket) * 1e6 + 1e-6)) == bucket


@pytest.mark.parametrize(
    ("expected", "microseconds"),
    [(0, -1), (0, 0), (7, 7), (8, 8), (16, 16), (16, 17), (17, 18), (BUCKETS - 1, 2**62)],
)
def test_buckets_at_their_edges(expected: int, microseconds: int) -> None:
    assert bucket_of(microseconds) == expected


@given(st.integers(-(2**40), 2**62))
def test_the_compiled_counter_uses_the_same_buckets(microseconds: int) -> None:
    acks = pytest.importorskip("kafka_throttle._adapters._acks", reason="the compiled counter was not built")
    assert acks.bucket_of(microseconds) == bucket_of(microseconds)


def test_the_compiled_counter_has_as_many_buckets() -> None:
    acks = pytest.importorskip("kafka_throttle._adapters._acks", reason="the compiled counter was not built")
    assert acks.BUCKETS == BUCKETS


# ---- delays


@given(st.lists(MICROSECONDS, max_size=50), st.lists(MICROSECONDS, max_size=50))
def test_what_was_added_since_is_what_was_added_since(earlier: list[int], added: list[int]) -> None:
    since = delays_of(earlier + added).since(delays_of(earlier))
    assert tuple(since.counts) == tuple(delays_of(added).counts)
    assert since.samples == len(added)
    assert since.total == pytest.approx(sum(added) * 1e-6, abs=1e-3)


@given(st.lists(MICROSECONDS, min_size=1, max_size=200), st.floats(0, 1))
def test_a_quantile_is_that_of_the_sorted_delays(microseconds: list[int], share: float) -> None:
    # The smallest delay that `share` of the records stayed within, to the width of a bucket.
    rank = max(1, math.ceil(share * len(microseconds) - 1e-9))
    exact = sorted(microseconds)[rank - 1] * 1e-6
    assert delays_of(microseconds).quantile(share) == pytest.approx(exact, rel=0.07, abs=1e-9)


def test_the_mean_is_exact() -> None:
    assert delays_of([1000, 2000, 6000]).mean == pytest.approx(0.003)


def test_without_records_there_is_neither_quantile_nor_mean() -> None:
    assert (Delays().quantile(0.5), Delays().mean) == (None, None)


# ---- readings and samples


def test_what_was_admitted_and_not_reported_is_in_flight() -> None:
    reading = Reading(admitted=10, admitted_bytes=1000, acked=4, acked_bytes=300)
    assert (reading.in_flight, reading.in_flight_bytes) == (6, 700)


def test_a_sample_is_the_difference_of_two_readings() -> None:
    earlier = Reading(
        admitted=100, admitted_bytes=10_000, acked=90, acked_bytes=9_000, failed=5, unknown=3, transient=4,
        requests=7, responses=6, response_time=0.6, delays=delays_of([1000] * 10), client_full=1,
    )  # fmt: skip
    later = Reading(
        admitted=200, admitted_bytes=20_000, acked=150, acked_bytes=15_000, failed=7, unknown=6, transient=7,
        requests=12, responses=10, response_time=1.4, delays=delays_of([1000] * 10 + [5000] * 4), client_full=3,
    )  # fmt: skip
    assert WindowSample.between(earlier, later, end=50.0, duration=0.5) == WindowSample(
        end=50.0, duration=0.5, acked=60, acked_bytes=6_000, transient=3, permanent=2, requests=5, responses=4,
        request_latency=pytest.approx(0.2), delays=later.delays.since(earlier.delays), in_flight=50,
        in_flight_bytes=5_000, client_full=2,
    )  # fmt: skip


def test_the_surroundings_complete_a_sample() -> None:
    sample = WindowSample.between(
        Reading(),
        Reading(admitted=5, acked=5),
        end=1.0,
        duration=0.1,
        oldest=0.4,
        edge_reached=True,
        broker_throttle=0.2,
        buffer_fill=0.5,
    )
    assert sample == WindowSample(
        end=1.0, duration=0.1, acked=5, oldest=0.4, edge_reached=True, broker_throttle=0.2, buffer_fill=0.5
    )


def test_the_rate_is_records_per_second() -> None:
    assert WindowSample(end=1.0, duration=0.25, acked=50).rate == 200.0


def test_a_window_without_length_has_no_rate() -> None:
    assert WindowSample(end=1.0, duration=0.0, acked=50).rate == 0.0


@pytest.mark.parametrize(("expected", "acked", "in_flight"), [(True, 0, 1), (False, 1, 1), (False, 0, 0)])
def test_a_window_is_stalled_when_records_were_in_flight_and_none_was_reported(
    expected: bool, acked: int, in_flight: int
) -> None:
    assert WindowSample(end=1.0, duration=0.1, acked=acked, in_flight=in_flight).stalled is expected


def test_the_standing_delay_is_what_nine_in_ten_records_exceeded() -> None:
    sample = WindowSample(end=1.0, duration=0.1, acked=100, delays=delays_of([1000] * 9 + [50_000] * 91))
    assert sample.standing_delay == pytest.approx(0.05, rel=0.07)


def test_a_burst_is_not_a_standing_queue() -> None:
    sample = WindowSample(end=1.0, duration=0.1, acked=100, delays=delays_of([1000] * 51 + [50_000] * 49))
    assert sample.standing_delay == pytest.approx(0.001, rel=0.07)


def test_a_queue_that_most_records_meet_stands() -> None:
    # The first records of each batch meet none, whatever waits behind them.
    sample = WindowSample(end=1.0, duration=0.1, acked=100, delays=delays_of([1000] * 30 + [50_000] * 70))
    assert sample.standing_delay == pytest.approx(0.05, rel=0.07)


def test_without_a_report_the_age_of_the_oldest_record_is_the_delay() -> None:
    assert WindowSample(end=1.0, duration=0.1, in_flight=5, oldest=1.5).standing_delay == 1.5
