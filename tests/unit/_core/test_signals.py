"""Signals: what each measures, and hysteresis between its two thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kafka_throttle._core.signals import (
    DEFAULT_SIGNALS,
    SIGNALS,
    BrokerThrottle,
    BufferFill,
    RecordErrorRate,
    RequestImbalance,
    Signal,
    SignalReading,
    StandingDelay,
)
from kafka_throttle._core.window import BUCKETS, Delays, WindowSample, bucket_of
from kafka_throttle.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence


def window(**figures: Any) -> WindowSample:
    return WindowSample(**{"end": 1.0, "duration": 0.1, **figures})


def delayed(seconds: float) -> WindowSample:
    counts = [0] * BUCKETS
    counts[bucket_of(int(seconds * 1e6))] = 100
    return window(acked=100, delays=Delays(tuple(counts), seconds * 100, 100))


def raised(signal: Signal, samples: Sequence[WindowSample], base_delay: float = 0.01) -> list[bool]:
    watcher = signal.start()
    return [watcher.observe(sample, base_delay).raised for sample in samples]


# ---- hysteresis


def test_a_signal_is_raised_at_the_high_threshold_and_cleared_at_the_low_one() -> None:
    fills = (0.5, 0.89, 0.9, 0.8, 0.71, 0.7, 0.8, 0.95)
    assert raised(BufferFill(high=0.9, low=0.7), [window(buffer_fill=fill) for fill in fills]) == [
        False, False, True, True, True, False, False, True,
    ]  # fmt: skip


def test_each_watcher_remembers_for_itself() -> None:
    signal = BufferFill()
    one, other = signal.start(), signal.start()
    one.observe(window(buffer_fill=0.95), 0.01)
    assert (one.raised, other.raised) == (True, False)


def test_a_reading_says_what_was_measured_and_against_what() -> None:
    assert BufferFill().start().observe(window(buffer_fill=0.95), 0.01) == SignalReading(
        name="buffer-fill", value=0.95, threshold=0.9, raised=True, congests=True
    )


# ---- standing delay


def test_a_standing_delay_is_raised_above_base_delay_plus_target() -> None:
    signal = StandingDelay(target="50 ms")
    samples = [delayed(0.03), delayed(0.08), delayed(0.03)]
    assert raised(signal, samples, base_delay=0.01) == [False, True, False]


@pytest.mark.parametrize("base_delay", [0.0, 0.001, 0.005])
def test_on_a_fast_path_twenty_milliseconds_of_standing_delay_are_calm(base_delay: float) -> None:
    assert StandingDelay().tolerance(base_delay) == 0.02


def test_on_a_slow_path_the_tolerance_follows_the_base_delay() -> None:
    # A fixed target would be less than one batch takes on the link, and cost throughput.
    assert StandingDelay().tolerance(0.05) >= 1.5 * 0.05


def test_a_given_target_is_the_tolerance_whatever_the_path() -> None:
    assert StandingDelay(target=0.06).tolerance(0.5) == 0.06


def test_a_stall_is_no_standing_delay() -> None:
    assert raised(StandingDelay(), [window(in_flight=100, oldest=30.0)]) == [False]


# ---- the others


def test_a_client_that_raised_buffer_error_is_full_whatever_the_fill() -> None:
    assert raised(BufferFill(), [window(buffer_fill=0.1, client_full=1)]) == [True]


def test_the_error_rate_counts_failures_that_pass() -> None:
    samples = [window(acked=100, transient=n) for n in (9, 10, 3, 2)]
    assert raised(RecordErrorRate(high=0.1, low=0.02), samples) == [False, True, True, False]


def test_records_that_were_refused_for_good_are_no_congestion() -> None:
    assert raised(RecordErrorRate(), [window(acked=100, permanent=100)]) == [False]


def test_a_window_with_few_reports_says_nothing_of_the_error_rate() -> None:
    assert raised(RecordErrorRate(minimum=10), [window(acked=9, transient=9)]) == [False]


def test_requests_without_any_answer_are_an_imbalance_after_two_windows() -> None:
    samples = [
        window(in_flight=5, oldest=0.15),
        window(in_flight=5, oldest=0.25),
        window(acked=1, in_flight=5),
    ]
    assert raised(RequestImbalance(after=2.0), samples) == [False, True, False]


def test_a_throttle_time_raises_the_broker_throttle() -> None:
    assert raised(BrokerThrottle(), [window(), window(broker_throttle=0.2), window()]) == [False, True, False]


@pytest.mark.parametrize(
    ("expected", "signal"),
    [(True, StandingDelay), (True, BufferFill), (True, RecordErrorRate), (False, RequestImbalance), (False, BrokerThrottle)],
)  # fmt: skip
def test_stalls_and_throttle_times_do_not_lower_the_limit(expected: bool, signal: type[Signal]) -> None:
    assert signal.congests is expected


# ---- configuration


def test_the_defaults_are_one_of_each() -> None:
    assert {type(signal) for signal in DEFAULT_SIGNALS} == set(SIGNALS.values())


def test_names_in_configuration_and_in_metrics_are_the_same_words() -> None:
    assert {name.replace("_", "-"): kind.name for name, kind in SIGNALS.items()} == {
        kind.name: kind.name for kind in SIGNALS.values()
    }


@pytest.mark.parametrize("signal", [BufferFill, RecordErrorRate])
def test_a_low_threshold_above_the_high_one_is_refused_in_words(signal: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"low: 0\.8 is above high \(0\.5\); allowed: up to high"):
        signal(high=0.5, low=0.8)
