"""The whole facade in virtual time, on a path that is slow, changes, stalls, throttles or is not loaded at all.

Times are exact: a run gives the same result every time, on every machine. The bounds are what an application may
rely on, with some room for the law to be tuned.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from attrs import define, field

from kafka_throttle import Throttle
from kafka_throttle.events import Event, LimitDecreased
from kafka_throttle.testing import SimulatedPath, SimulatedProducer, VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable

VALUE = b"x" * 1000


@define
class Run:
    """An application that offers records at a steady rate, and what becomes of them. Times count from its start."""

    path: SimulatedPath
    producer: SimulatedProducer
    events: list[Event]
    start: float
    reports: list[tuple[float, float]] = field(factory=list)  # (time of the report, delay)
    waits: list[tuple[float, float]] = field(factory=list)  # (time of the call, how long it took)

    def offer(self, rate: float, seconds: float) -> Run:
        clock, due = self.path.clock, self.path.clock()
        end = due + seconds
        while clock() < end:
            if clock() < due:
                clock.advance(due - clock())
            called = clock()
            self.producer.produce("topic", VALUE, on_delivery=self._report)
            self.waits.append((called - self.start, clock() - called))
            # An application that was held up does not make up for it in one go.
            due = max(due + 1 / rate, clock() - 0.05)
            self.producer.poll()
        self.producer.flush(60.0)
        return self

    def _report(self, _error: object, message: Any) -> None:
        self.reports.append((self.path.clock() - self.start, message.latency()))

    def goodput(self, since: float, until: float) -> float:
        return sum(since <= at < until for at, _ in self.reports) / (until - since)

    def delay(self, share: float, since: float, until: float) -> float:
        delays = sorted(delay for at, delay in self.reports if since <= at < until)
        return delays[int(share * (len(delays) - 1))]

    def longest_wait(self, since: float = 0.0) -> float:
        return max(wait for at, wait in self.waits if at >= since)

    def waited(self, since: float = 0.0) -> float:
        return sum(wait for at, wait in self.waits if at >= since)


def run_on(
    path_settings: dict[str, Any] | None = None, *plan: tuple[float, Callable[[SimulatedPath], object]]
) -> Run:
    """Return a run on a path to which things happen at times that count from its start."""
    clock = VirtualClock(1000.0)
    path = SimulatedPath(clock, **(path_settings or {}))
    for at, happening in plan:
        clock.call_at(clock() + at, lambda happening=happening: happening(path))  # type: ignore[misc]
    events: list[Event] = []
    return Run(path, SimulatedProducer(path, Throttle(hooks=[events.append])), events, clock())


# ---- a constrained path: 2 000 records/s, 20 ms


def test_twice_the_capacity_of_a_path_settles_at_its_capacity_with_a_bounded_delay() -> None:
    run = run_on().offer(4000, 20)
    assert run.goodput(2, 20) / 2000 >= 0.97
    assert run.delay(0.99, 2, 20) <= 0.25
    assert run.delay(0.5, 10, 20) <= 0.15


def test_many_partitions_make_no_difference() -> None:
    run = run_on({"partitions": 6}).offer(4000, 8)
    assert run.goodput(2, 8) / 2000 >= 0.97
    assert run.delay(0.99, 2, 8) <= 0.25


def test_ten_times_the_capacity_is_no_worse() -> None:
    run = run_on().offer(20_000, 15)
    assert run.goodput(3, 15) / 2000 >= 0.97
    assert run.delay(0.99, 5, 15) <= 0.3


def test_a_halved_capacity_is_found_within_two_seconds() -> None:
    run = run_on({}, (10.0, lambda path: path.set_capacity(1_000_000))).offer(4000, 20)
    assert run.goodput(12, 20) / 1000 >= 0.97
    assert run.delay(0.99, 12, 20) <= 0.35


def test_a_doubled_capacity_is_used_within_two_seconds() -> None:
    run = run_on({"bytes_per_second": 1_000_000}, (10.0, lambda path: path.set_capacity(2_000_000))).offer(
        4000, 20
    )
    assert run.goodput(12, 20) / 2000 >= 0.95
    assert run.delay(0.99, 12, 20) <= 0.3


def test_ten_times_the_capacity_is_used_within_five_seconds() -> None:
    run = run_on({}, (5.0, lambda path: path.set_capacity(20_000_000))).offer(10_000, 13)
    assert run.goodput(10, 13) / 10_000 >= 0.9


def test_the_limit_falls_once_in_a_window_at_most() -> None:
    run = run_on().offer(10_000, 5)
    times = [event.at for event in run.events if isinstance(event, LimitDecreased)]
    assert len(times) > 1
    assert min(later - earlier for earlier, later in pairwise(times)) >= 0.0999


# ---- light load


def test_light_load_is_never_held_up() -> None:
    run = run_on({"bytes_per_second": 10_000_000, "delay": 0.003}).offer(1000, 20)
    assert (run.waited(), run.producer.statistics().limit_records > 100) == (0.0, True)
    assert not [event for event in run.events if isinstance(event, LimitDecreased)]


def test_bursts_after_idle_gaps_are_never_held_up() -> None:
    run = run_on({"bytes_per_second": 10_000_000, "delay": 0.003})
    for _ in range(20):
        for _ in range(100):
            called = run.path.clock()
            run.producer.produce("topic", VALUE)
            run.waits.append((0.0, run.path.clock() - called))
        run.path.clock.advance(2.0)
        run.producer.poll()
    assert run.waited() == 0.0


def test_a_path_that_becomes_longer_holds_up_light_load_for_a_moment_only() -> None:
    def lengthen(path: SimulatedPath) -> None:
        path.delay = 0.1

    run = run_on({"bytes_per_second": 20_000_000, "delay": 0.002}, (5.0, lengthen)).offer(200, 30)
    assert run.waited() <= 1.0
    assert run.waited(15.0) == 0.0


def test_a_long_linger_time_is_not_taken_for_a_queue() -> None:
    run = run_on({"linger": 0.1, "partitions": 6}).offer(1600, 15)
    assert run.goodput(2, 15) / 1600 >= 0.98
    assert run.waited(2.0) == 0.0


# ---- stalls


def test_a_stall_of_three_seconds_at_2000_records_a_second_holds_nobody_up() -> None:
    run = run_on(
        {"bytes_per_second": 20_000_000, "delay": 0.003},
        (5.0, lambda path: path.stall()),
        (8.0, lambda path: path.resume()),
    ).offer(2000, 15)
    assert run.longest_wait(5.0) <= 0.1
    assert run.waited(5.0) <= 0.5
    assert run.goodput(5, 15) / 2000 >= 0.99
    assert run.delay(0.99, 9, 15) <= 0.1


def test_after_a_stall_on_a_path_with_little_to_spare_callers_are_slowed_and_not_stopped() -> None:
    run = run_on(
        {"bytes_per_second": 3_000_000, "delay": 0.003},
        (5.0, lambda path: path.stall()),
        (8.0, lambda path: path.resume()),
    ).offer(2000, 20)
    assert run.longest_wait(5.0) <= 0.1
    assert run.delay(0.99, 15, 20) <= 0.1


def test_a_stall_longer_than_the_burst_lasts_is_waited_for_and_loses_nothing() -> None:
    run = run_on(
        {"bytes_per_second": 20_000_000, "delay": 0.003, "max_messages": 2000},
        (2.0, lambda path: path.stall()),
        (6.0, lambda path: path.resume()),
    ).offer(2000, 8)
    now = run.producer.statistics()
    assert 2.0 <= run.longest_wait() <= 4.0
    assert (now.rejected, now.in_flight, now.delivered) == (0, 0, now.offered)


def test_one_of_three_brokers_that_stands_still_holds_nobody_up() -> None:
    run = run_on(
        {"bytes_per_second": 20_000_000, "delay": 0.003, "partitions": 3, "brokers": 3},
        (5.0, lambda path: path.stall(0)),
        (15.0, lambda path: path.resume(0)),
    ).offer(2000, 20)
    assert run.longest_wait(5.0) <= 0.1
    assert run.goodput(6, 14) / (2000 * 2 / 3) >= 0.99
    assert run.producer.statistics().delivered == len(run.waits)


def test_records_that_are_stuck_let_in_no_more_than_the_burst() -> None:
    # 10 s at 10 000 records/s of 1 000 B, of which a third is stuck, would be 33 MB.
    clock = VirtualClock(1000.0)
    path = SimulatedPath(clock, bytes_per_second=20_000_000, delay=0.003, partitions=3, brokers=3)
    producer = SimulatedProducer(path, Throttle(burst="4 MB"))
    path.stall(0)
    clock.call_at(1020.0, path.resume)
    most = limit = 0
    while clock() < 1010.0:
        producer.produce("topic", VALUE)
        clock.advance(0.0001)
        producer.poll()
        now = path.brief().in_flight
        if now > most:
            most, limit = now, producer.statistics().limit_records
    assert most <= limit + 4000 + 1


# ---- quotas


def test_a_quota_is_kept_with_little_delay_once_the_credit_is_spent() -> None:
    run = run_on({"bytes_per_second": 100_000_000, "delay": 0.002, "quota": 1_000_000}).offer(2000, 45)
    assert run.goodput(20, 45) / 1000 >= 0.97
    assert run.delay(0.99, 20, 45) <= 0.2


def test_few_records_are_caught_by_the_first_mute() -> None:
    run = run_on({"bytes_per_second": 100_000_000, "delay": 0.002, "quota": 1_000_000}).offer(2000, 15)
    assert sum(delay > 0.5 for _, delay in run.reports) <= 50


def test_after_a_quota_was_doubled_the_new_one_is_used_within_five_seconds() -> None:
    run = run_on(
        {"bytes_per_second": 100_000_000, "delay": 0.002, "quota": 500_000},
        (25.0, lambda path: path.set_quota(1_000_000)),
    ).offer(2000, 45)
    assert run.goodput(25, 30) / 1000 >= 0.9
    assert run.goodput(25, 45) / 1000 >= 0.9


def test_a_halved_quota_catches_hardly_a_record() -> None:
    run = run_on(
        {"bytes_per_second": 100_000_000, "delay": 0.002, "quota": 1_000_000},
        (25.0, lambda path: path.set_quota(500_000)),
    ).offer(2000, 50)
    assert sum(delay > 1.0 for at, delay in run.reports if at >= 25) <= 50
    assert run.goodput(37, 50) / 500 >= 0.97
    assert run.delay(0.99, 37, 50) <= 0.05
