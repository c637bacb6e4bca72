"""What the windows teach about the path, and ages without a time stamp per record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_throttle._core.path import AdmissionLog, Path
from kafka_throttle._core.window import BUCKETS, Delays, Reading, WindowSample, bucket_of


def window(
    end: float = 1.0, *, delay: float | None = None, acked: int = 100, size: int = 1000
) -> WindowSample:
    counts = [0] * BUCKETS
    if delay is None:
        return WindowSample(end=end, duration=0.1, acked=acked, acked_bytes=acked * size)
    counts[bucket_of(int(delay * 1e6))] = acked
    delays = Delays(tuple(counts), delay * acked, acked)
    return WindowSample(end=end, duration=0.1, acked=acked, acked_bytes=acked * size, delays=delays)


# ---- averages


def test_before_anything_is_known_a_delay_of_twenty_milliseconds_is_assumed() -> None:
    assert (Path().base_delay, Path().round_trip) == (0.02, 0.02)


def test_the_base_delay_is_the_smallest_of_late() -> None:
    path = Path()
    for n, delay in enumerate((0.03, 0.01, 0.05)):
        path.learn(window(1.0 + n, delay=delay))
    assert path.base_delay == pytest.approx(0.01, rel=0.07)


def test_a_base_delay_that_was_not_met_again_is_forgotten() -> None:
    path = Path()
    path.learn(window(0.0, delay=0.01))
    for n in range(1, 130):
        path.learn(window(float(n), delay=0.04))
    assert path.base_delay == pytest.approx(0.04, rel=0.07)


@given(st.lists(st.tuples(st.floats(0.01, 5.0), st.floats(0.0001, 10.0)), min_size=1, max_size=100))
def test_the_base_delay_is_never_above_what_was_seen_last(windows: list[tuple[float, float]]) -> None:
    path, now = Path(), 0.0
    for later, delay in windows:
        now += later
        path.learn(window(now, delay=delay))
        assert path.base_delay <= delay * 1.07


def test_averages_follow_the_windows() -> None:
    path = Path()
    for n in range(50):
        path.learn(window(n * 0.1, delay=0.05, acked=200, size=400))
    assert path.round_trip == pytest.approx(0.05, rel=0.07)
    assert path.mean_delay == pytest.approx(0.05, rel=0.07)
    assert path.rate == pytest.approx(2000, rel=0.01)
    assert path.record_bytes == pytest.approx(400, rel=0.01)


def test_a_window_without_reports_teaches_nothing() -> None:
    path = Path()
    path.learn(window(1.0, delay=0.05))
    before = (path.round_trip, path.rate, path.record_bytes, path.base_delay)
    path.learn(window(2.0, acked=0))
    assert (path.round_trip, path.rate, path.record_bytes, path.base_delay) == before


def test_records_without_bytes_still_have_a_size() -> None:
    path = Path()
    path.learn(window(1.0, size=0))
    assert path.record_bytes == 1.0


# ---- the log of admissions


def admitted(records: int, acked: int = 0, size: int = 100) -> Reading:
    return Reading(admitted=records, admitted_bytes=records * size, acked=acked, acked_bytes=acked * size)


def test_nothing_in_flight_has_no_age() -> None:
    log = AdmissionLog()
    log.note(1.0, admitted(10))
    assert log.oldest(9.0, admitted(10, acked=10)) == 0.0


def test_the_age_of_the_oldest_record_is_told_from_counters() -> None:
    log = AdmissionLog()
    for n in range(10):
        log.note(float(n), admitted(10 * n))
    # Record 35 was admitted between 3 and 4 s.
    assert log.oldest(9.0, admitted(90, acked=35)) == 5.0


def test_a_record_admitted_since_the_last_note_has_no_known_age() -> None:
    log = AdmissionLog()
    log.note(1.0, admitted(10))
    assert log.oldest(9.0, admitted(11, acked=10)) == 0.0


def test_what_was_admitted_after_a_moment_is_an_upper_bound() -> None:
    log = AdmissionLog()
    for n in range(10):
        log.note(float(n), admitted(10 * n))
    assert (log.admitted_since(4.5, admitted(95)), log.bytes_since(4.5, admitted(95))) == (55, 5500)


def test_before_the_first_note_everything_may_have_been_admitted() -> None:
    log = AdmissionLog()
    log.note(5.0, admitted(10))
    assert (log.admitted_since(1.0, admitted(30)), log.bytes_since(1.0, admitted(30))) == (30, 3000)


def test_what_was_there_when_the_span_began_is_still_known_after_a_long_gap() -> None:
    log = AdmissionLog()
    for n in range(3000):
        log.note(n * 0.02, admitted(n))
    log.note(100.0, admitted(3000))
    assert log.bytes_since(89.0, admitted(3000)) == 100


def test_notes_are_kept_at_a_resolution_of_ten_milliseconds() -> None:
    log = AdmissionLog()
    for n in range(1000):
        log.note(n * 0.001, admitted(n))
    assert len(log._times) <= 101


def test_the_log_stays_small_for_ever() -> None:
    log = AdmissionLog()
    for n in range(20_000):
        log.note(n * 0.05, admitted(n, acked=n - 5))
    assert len(log._times) < 5000


@given(
    st.lists(st.tuples(st.floats(0.001, 3.0), st.integers(0, 50), st.floats(0, 1)), min_size=1, max_size=200)
)
def test_the_age_told_is_never_more_than_the_true_one(steps: list[tuple[float, int, float]]) -> None:
    log, now, times, acked = AdmissionLog(), 0.0, [], 0
    for later, more, share in steps:
        now += later
        times += [now] * more
        acked += int(share * (len(times) - acked))
        reading = admitted(len(times), acked=acked)
        log.note(now, reading)
        true = now - times[acked] if acked < len(times) else 0.0
        assert log.oldest(now, reading) <= true + 1e-9


def test_the_first_admission_after_a_time_is_where_the_bytes_begin_to_grow() -> None:
    log = AdmissionLog()
    for now, size in ((0.0, 0), (1.0, 0), (2.0, 500), (3.0, 500), (4.0, 500), (5.0, 900)):
        log.note(now, Reading(admitted_bytes=size))
    # What an entry shows was admitted after the entry before it.
    assert [log.first_since(since) for since in (0.5, 1.5, 2.5, 4.5)] == [1.0, 1.5, 4.0, 4.5]


def test_without_an_admission_since_the_last_entry_is_the_bound() -> None:
    log = AdmissionLog()
    log.note(1.0, Reading(admitted_bytes=500))
    log.note(2.0, Reading(admitted_bytes=500))
    assert (log.first_since(1.0), log.first_since(1.5), AdmissionLog().first_since(7.0)) == (2.0, 2.0, 7.0)
