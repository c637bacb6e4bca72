"""The engine: windows, room, steps and the events they cause, with time and counters as arguments."""

from __future__ import annotations

import pytest
from attrs import define, evolve, field

from kafka_throttle._core.engine import Engine
from kafka_throttle._core.limits import AIMD, Bounds, Fixed, Limit
from kafka_throttle._core.signals import DEFAULT_SIGNALS
from kafka_throttle._core.window import Delays, Reading, bucket_of
from kafka_throttle.events import (
    Event,
    LimitDecreased,
    LimitIncreased,
    SignalCleared,
    SignalRaised,
    ThrottlingEnded,
    ThrottlingStarted,
)

SIZE = 1000
BOUNDS = Bounds(most_records=90_000, most_bytes=90_000_000, batch_bytes=16_000, linger=0.005)


@define
class Driver:
    """An engine with a client's counters."""

    limit: Limit
    bounds: Bounds = BOUNDS
    now: float = 1000.0
    size: int = SIZE
    engine: Engine = field(init=False)
    reading: Reading = field(factory=Reading, init=False)

    def __attrs_post_init__(self) -> None:
        self.engine = Engine(self.limit, DEFAULT_SIGNALS, self.bounds, 100_000_000, 32 << 20)
        self.engine.begin(self.now, self.size)

    def admit(self, records: int) -> None:
        self.reading = evolve(
            self.reading,
            admitted=self.reading.admitted + records,
            admitted_bytes=self.reading.admitted_bytes + records * self.size,
        )

    def report(self, records: int, delay: float = 0.01, *, transient: int = 0) -> None:
        before = self.reading.delays
        counts = list(before.counts)
        counts[bucket_of(int(delay * 1e6))] += records
        self.reading = evolve(
            self.reading,
            acked=self.reading.acked + records,
            acked_bytes=self.reading.acked_bytes + records * self.size,
            failed=self.reading.failed + transient,
            transient=self.reading.transient + transient,
            delays=Delays(tuple(counts), before.total + records * delay, before.samples + records),
        )

    def room(self) -> int:
        return self.engine.room(self.now, self.reading).records

    def at_edge(self) -> tuple[Event, ...]:
        return self.engine.edge_reached(self.now, self.reading, self.engine.room(self.now, self.reading))

    def fill(self) -> int:
        """Admit until the edge is reached, and return how many records that were."""
        before = self.reading.admitted
        while room := self.room():
            self.admit(room)
        return self.reading.admitted - before

    def window(self, seconds: float = 0.1) -> tuple[Event, ...]:
        self.now += seconds
        events = self.engine.advance(self.now, self.reading)
        self.room()
        return events

    def settle(self, delay: float = 0.01) -> None:
        """Let some calm windows pass, so that the path is known."""
        for _ in range(10):
            self.admit(50)
            self.report(50, delay)
            self.window()


# ---- before the first record


def test_an_engine_that_has_not_begun_has_no_limit() -> None:
    engine = Engine(AIMD(), DEFAULT_SIGNALS, BOUNDS, 100_000_000, 32 << 20)
    assert (engine.begun, engine.limit_records, engine.limit_bytes) == (False, 0, 0)


def test_the_first_record_gives_the_limit_its_size() -> None:
    driver = Driver(AIMD(start_bytes="1 MB"), size=2000)
    assert (driver.engine.limit_records, driver.engine.limit_bytes) == (500, 1_000_000)


def test_a_first_record_without_bytes_counts_as_one() -> None:
    assert Driver(Fixed(100), size=0).engine.path.record_bytes == 1.0


# ---- room


def test_the_gate_opens_up_to_the_limit_and_no_further() -> None:
    driver = Driver(Fixed(100))
    assert (driver.fill(), driver.room()) == (100, 0)


def test_what_was_reported_makes_room() -> None:
    driver = Driver(Fixed(100))
    driver.fill()
    driver.report(30)
    assert driver.fill() == 30


def test_the_room_is_given_in_steps_so_that_somebody_looks_at_the_windows() -> None:
    driver = Driver(Fixed(1600))
    first = driver.room()
    driver.admit(first)
    assert 100 <= first <= 800
    assert 100 <= driver.room() < 1600 - first


def test_a_step_lasts_a_quarter_of_a_second_at_the_rate_of_late() -> None:
    # Whatever the burst allows: a gate that is open for longer is not looked after.
    driver = Driver(Fixed(10_000))
    for _ in range(30):
        driver.admit(400)
        driver.report(400)
        driver.window()
    assert driver.room() == pytest.approx(1000, rel=0.02)


def test_no_step_is_smaller_than_a_sixteenth_of_the_limit_while_there_is_room() -> None:
    driver = Driver(Fixed(1600))
    driver.admit(1400)
    assert driver.room() == 100


def test_the_room_in_bytes_is_what_the_limit_leaves() -> None:
    driver = Driver(Fixed(100))
    driver.admit(40)
    room = driver.engine.room(driver.now, driver.reading)
    assert room.bytes == 100 * SIZE - 40 * SIZE


def test_an_empty_client_is_not_opened_beyond_the_limit_in_bytes() -> None:
    # The mean size may be about to change by a thousand.
    driver = Driver(Fixed(100))
    assert driver.engine.room(driver.now, driver.reading).bytes == 100 * SIZE


def test_no_room_in_bytes_is_no_room() -> None:
    driver = Driver(Fixed(100))
    driver.reading = Reading(admitted=5, admitted_bytes=100 * SIZE)
    assert driver.room() == 0


def test_a_record_larger_than_the_limit_passes_alone() -> None:
    driver = Driver(AIMD(start_bytes="10 kB", max_bytes="20 kB"), size=50_000)
    assert driver.room() == 1
    driver.admit(1)
    assert driver.room() == 0
    driver.report(1)
    assert driver.room() == 1


def test_room_never_exceeds_what_the_client_can_hold() -> None:
    driver = Driver(Fixed(1000), bounds=evolve(BOUNDS, most_records=50))
    assert driver.fill() == 50


# ---- stalls


def test_a_stall_is_absorbed_and_named_by_its_signal_but_does_not_lower_the_limit() -> None:
    driver = Driver(AIMD(start_bytes="100 kB"))
    driver.settle()
    limit = driver.engine.limit_records
    driver.admit(limit)
    for _ in range(8):
        driver.window()
    assert driver.room() > 0
    assert driver.engine.stalled
    assert driver.engine.limit_records == limit
    raised = [reading.name for reading in driver.engine.signal_readings if reading.raised]
    assert raised == ["request-imbalance"]


def test_a_stall_never_lets_in_more_than_the_burst() -> None:
    driver = Driver(Fixed(100))
    driver.settle()
    driver.fill()
    driver.window()
    driver.now += 5.0
    driver.fill()
    assert driver.reading.in_flight == 100 + (32 << 20) // SIZE


def test_the_delays_that_a_stall_leaves_behind_do_not_lower_the_limit() -> None:
    driver = Driver(AIMD(start_bytes="100 kB"))
    driver.settle()
    limit = driver.engine.limit_records
    driver.admit(limit)
    driver.window(0.1)
    driver.window(3.0)
    driver.admit(1000)
    driver.report(500, delay=3.0)
    driver.room()
    events = driver.window(0.5)
    assert driver.engine.limit_records == limit
    assert not [event for event in events if isinstance(event, LimitDecreased)]


def test_silence_after_a_broker_throttle_is_no_stall() -> None:
    driver = Driver(Fixed(100))
    driver.settle()
    driver.fill()
    driver.engine.note_broker_throttle(driver.now, 0.8, driver.reading)
    driver.now += 5.0
    assert (driver.room(), driver.engine.stalled) == (0, False)


# ---- windows


def test_a_window_lasts_a_tenth_of_a_second_at_least() -> None:
    driver = Driver(Fixed(100))
    driver.now += 0.099
    assert not driver.engine.due(driver.now)
    driver.now += 0.002
    assert driver.engine.due(driver.now)


def test_on_a_slow_path_a_window_lasts_longer_than_a_round_trip() -> None:
    driver = Driver(Fixed(100))
    for _ in range(50):
        driver.admit(50)
        driver.report(50, delay=0.4)
        driver.window(0.5)
    assert driver.engine.period == pytest.approx(1.25 * 0.4, rel=0.07)


def test_a_window_holds_what_happened_in_it() -> None:
    driver = Driver(Fixed(100))
    driver.admit(60)
    driver.report(20, transient=2)
    driver.engine.note_broker_throttle(driver.now, 0.3, driver.reading)
    driver.window(0.2)
    sample = driver.engine.sample
    assert sample is not None
    assert (sample.acked, sample.transient, sample.in_flight, sample.edge_reached, sample.broker_throttle) == (
        20, 2, 40, False, 0.3,
    )  # fmt: skip
    assert sample.buffer_fill == 40 * SIZE / 100_000_000


def test_the_edge_of_one_window_is_forgotten_in_the_next() -> None:
    driver = Driver(Fixed(100))
    driver.fill()
    driver.at_edge()
    driver.window()
    assert driver.engine.sample is not None
    assert driver.engine.sample.edge_reached
    driver.window()
    assert not driver.engine.sample.edge_reached


# ---- events


def test_a_standing_queue_raises_its_signal_and_lowers_the_limit_once() -> None:
    driver = Driver(AIMD(start_bytes="1 MB"))
    driver.settle()
    driver.fill()
    driver.at_edge()
    driver.report(500, delay=0.5)
    events = driver.window()
    kinds = [type(event) for event in events]
    assert kinds == [SignalRaised, LimitDecreased]
    lowered = events[1]
    assert isinstance(lowered, LimitDecreased)
    assert (lowered.signal, lowered.before, lowered.after) == (
        "standing-delay", 1000, driver.engine.limit_records,
    )  # fmt: skip


def test_when_the_queue_is_gone_the_signal_clears() -> None:
    driver = Driver(AIMD(start_bytes="1 MB"))
    driver.settle()
    driver.admit(500)
    driver.report(300, delay=0.5)
    driver.window()
    driver.report(200, delay=0.01)
    assert [event for event in driver.window() if isinstance(event, SignalCleared)] == [
        SignalCleared(at=driver.now, signal="standing-delay", value=pytest.approx(0.01, rel=0.07))
    ]


def test_a_calm_window_at_the_edge_raises_the_limit() -> None:
    driver = Driver(AIMD(start_bytes="100 kB"))
    driver.fill()
    driver.at_edge()
    driver.report(100)
    assert driver.window() == (LimitIncreased(at=driver.now, before=100, after=200),)


def test_a_calm_window_away_from_the_edge_does_nothing() -> None:
    driver = Driver(AIMD(start_bytes="100 kB"))
    driver.admit(50)
    driver.report(50)
    assert driver.window() == ()


def test_transient_failures_lower_the_limit_in_their_own_name() -> None:
    driver = Driver(AIMD(start_bytes="1 MB"))
    driver.settle()
    driver.admit(100)
    driver.report(50)
    driver.report(50, transient=50)
    assert [event.signal for event in driver.window() if isinstance(event, LimitDecreased)] == [
        "record-error-rate"
    ]


# ---- spells of throttling


def test_the_first_one_at_the_edge_starts_a_spell() -> None:
    driver = Driver(Fixed(100))
    driver.fill()
    assert driver.at_edge() == (ThrottlingStarted(at=driver.now, limit=100, in_flight=100),)
    assert driver.at_edge() == ()


def test_a_spell_ends_after_a_second_without_anybody_at_the_edge() -> None:
    driver = Driver(Fixed(100))
    started = driver.now
    driver.fill()
    driver.at_edge()
    driver.report(100)
    driver.now += 0.4
    driver.at_edge()
    assert [event for event in driver.window(0.5) if isinstance(event, ThrottlingEnded)] == []
    ended = [event for event in driver.window(0.6) if isinstance(event, ThrottlingEnded)]
    assert ended == [ThrottlingEnded(at=driver.now, lasted=pytest.approx(0.4), limit=100)]
    assert (driver.engine.throttling_since, driver.now > started) == (None, True)


def test_pressure_is_the_share_of_late_windows_at_the_edge() -> None:
    driver = Driver(Fixed(100))
    driver.fill()
    for _ in range(50):
        driver.at_edge()
        driver.window()
    assert driver.engine.pressure > 0.9
    for _ in range(50):
        driver.window()
    assert driver.engine.pressure < 0.1


# ---- quotas


def test_a_wait_for_a_quota_does_not_count_as_reaching_the_edge() -> None:
    driver = Driver(AIMD(start_bytes="1 MB"))
    for _ in range(120):
        driver.admit(200)
        driver.report(200)
        driver.window()
    driver.engine.note_broker_throttle(driver.now, 0.5, driver.reading)
    room = driver.engine.room(driver.now, driver.reading)
    assert (room.records, room.paced) == (0, True)
    limit = driver.engine.limit_records
    driver.engine.edge_reached(driver.now, driver.reading, room)
    driver.window()
    assert driver.engine.limit_records == limit
    assert driver.engine.quota == pytest.approx(200 * SIZE * 10 / 1.05, rel=0.02)


def test_a_quota_is_not_paced_when_that_is_not_wanted() -> None:
    engine = Engine(Fixed(100), DEFAULT_SIGNALS, BOUNDS, 100_000_000, 32 << 20, honour_broker_quota=False)
    engine.begin(0.0, SIZE)
    engine.note_broker_throttle(1.0, 0.5, Reading(admitted=50, admitted_bytes=50_000))
    assert (engine.quota, engine.room(1.0, Reading()).records > 0) == (None, True)
