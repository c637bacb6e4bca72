"""The simulated path: exact times for capacity, delay, linger, stalls and quotas."""

from __future__ import annotations

from itertools import cycle

import pytest

from kafka_throttle.testing import Outcome, SimulatedPath, VirtualClock
from kafka_throttle.testing._quota import BrokerQuota


def path_with(**settings: object) -> SimulatedPath:
    defaults = {"bytes_per_second": 1_000_000, "delay": 0.02, "linger": 0.005}
    return SimulatedPath(VirtualClock(), **{**defaults, **settings})  # type: ignore[arg-type]


def report_times(path: SimulatedPath, records: int, size: int = 10_000, **where: int) -> list[float]:
    """Give so many records to the client at once and return when each is reported."""
    times: list[float] = []
    for _ in range(records):
        path.produce(size, on_report=lambda _outcome, delay: times.append(round(delay, 6)), **where)
    while len(path):
        path.poll(60.0)
    return times


def test_a_record_takes_linger_transmission_and_delay() -> None:
    assert report_times(path_with(), 1) == [0.005 + 0.01 + 0.02]


def test_records_that_gather_go_as_one_batch() -> None:
    assert report_times(path_with(), 3) == [0.055] * 3


def test_a_full_batch_does_not_linger() -> None:
    assert report_times(path_with(batch_bytes=20_000), 3) == [0.04, 0.04, 0.05]


def test_batches_queue_for_the_capacity() -> None:
    assert report_times(path_with(batch_bytes=10_000), 3) == [0.03, 0.04, 0.05]


def test_partitions_of_different_brokers_do_not_wait_for_each_other() -> None:
    assert report_times(path_with(partitions=2, brokers=2), 2) == [0.035, 0.035]


def test_partitions_of_one_broker_share_its_capacity() -> None:
    assert report_times(path_with(partitions=2), 2) == [0.035, 0.045]


def test_a_change_of_capacity_reaches_what_is_on_its_way() -> None:
    path = path_with(linger=0.0, delay=0.0)
    path.clock.call_at(0.5, lambda: path.set_capacity(2_000_000))
    assert report_times(path, 1, 1_000_000) == [0.75]


def test_a_stalled_broker_goes_on_where_it_stood_still() -> None:
    path = path_with(linger=0.0, delay=0.0)
    path.clock.call_at(0.25, path.stall)
    path.clock.call_at(3.25, path.resume)
    assert report_times(path, 1, 1_000_000) == [4.0]


def test_one_stalled_broker_does_not_stop_the_others() -> None:
    path = path_with(partitions=2, brokers=2)
    path.stall(0)
    for _ in range(4):
        path.produce(100)
    path.poll(1.0)
    path.poll(1.0)
    assert (path.brief().acked, path.brief().in_flight) == (2, 2)


def test_a_full_client_raises_buffer_error_until_somebody_polls() -> None:
    path = path_with(max_messages=2)
    path.produce(100)
    path.produce(100)
    path.clock.advance(1.0)
    with pytest.raises(BufferError, match="Queue full"):
        path.produce(100)
    assert path.poll() == 2
    path.produce(100)
    assert (path.reading().client_full, len(path)) == (1, 1)


def test_a_client_without_bytes_left_raises_buffer_error() -> None:
    path = path_with(buffer_bytes=1000)
    path.produce(600)
    with pytest.raises(BufferError):
        path.produce(500)


def test_each_outcome_is_counted_in_its_place() -> None:
    path = path_with()
    outcomes = cycle(Outcome)
    path.outcome_of = lambda _number: next(outcomes)
    report_times(path, 8, 100)
    reading = path.reading()
    assert (reading.admitted, reading.acked, reading.failed, reading.unknown, reading.transient) == (
        8,
        8,
        4,
        2,
        4,
    )
    assert (reading.acked_bytes, reading.failed_bytes, reading.unknown_bytes) == (800, 400, 200)
    assert reading.delays.samples == 2


def test_requests_and_responses_are_counted() -> None:
    path = path_with()
    path.produce(100)
    path.clock.advance(0.006)
    sent = path.reading()
    path.clock.advance(1.0)
    answered = path.reading()
    assert ((sent.requests, sent.responses), (answered.requests, answered.responses)) == ((1, 0), (1, 1))
    assert answered.response_time == pytest.approx(0.02, rel=0.01)


def test_polling_waits_until_something_is_reported() -> None:
    path = path_with()
    path.produce(10_000)
    assert (path.poll(1.0), path.clock()) == (1, pytest.approx(0.035))


def test_polling_with_nothing_to_come_takes_its_whole_time() -> None:
    path = path_with()
    assert (path.poll(1.5), path.clock()) == (0, 1.5)


def test_a_run_gives_the_same_result_every_time() -> None:
    def run() -> list[float]:
        path = path_with(quota=500_000, partitions=3, brokers=2)
        path.clock.call_at(0.3, lambda: path.stall(1))
        path.clock.call_at(0.9, lambda: path.resume(1))
        return report_times(path, 500, 5000)

    assert run() == run()


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (r"^bytes_per_second: 0 is not a capacity; allowed: above 0$", {"bytes_per_second": 0}),
        (r"^brokers: 2 with 1 partitions; allowed: 1 to the number of partitions$", {"brokers": 2}),
    ],
)
def test_a_path_that_cannot_be_is_refused_in_words(words: str, settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=words):
        path_with(**settings)


# ---- quotas


def test_a_fresh_client_has_ten_seconds_of_credit() -> None:
    quota = BrokerQuota(1000.0)
    assert [quota.note(0.0, 5000), quota.note(0.1, 5000)] == [0.0, 0.0]
    # Ten seconds, and the part of one that has begun.
    assert quota.note(0.2, 300) == pytest.approx(0.1)


def test_the_throttle_time_tells_the_quota() -> None:
    # throttle = (rate - quota) / quota x window: with 11 s of 1 020 bytes/s, the quota of 1 000 is exceeded by 2 %.
    quota = BrokerQuota(1000.0)
    throttles = [quota.note(n / 10, 102) for n in range(110)]
    assert throttles[-1] == pytest.approx(0.02 * 10.9 + 0.102)


def test_a_mute_lasts_until_the_client_is_no_longer_ahead() -> None:
    quota = BrokerQuota(1000.0)
    for n in range(110):
        quota.note(n / 10, 100)
    quota.bytes_per_second = 500.0
    assert quota.note(11.0, 100) == pytest.approx(11.2)


def test_eleven_seconds_after_its_last_byte_a_sample_is_forgotten() -> None:
    quota = BrokerQuota(1000.0)
    quota.note(0.0, 20_000)
    assert quota.note(10.99, 100) == pytest.approx(20.1 - 10.99)
    assert quota.note(11.0, 100) == 0.0


def test_a_pause_counts_as_empty_samples() -> None:
    quota = BrokerQuota(1000.0)
    quota.note(0.0, 20_000)
    assert quota.note(20.0, 10_500) == pytest.approx(0.5)


def test_a_muted_connection_holds_what_follows_and_tells_the_client() -> None:
    path = path_with(quota=1000.0, linger=0.0)
    told: list[float] = []
    path.on_throttle = told.append
    path.produce(10_500)
    path.clock.advance(0.05)
    path.produce(10)
    path.poll(0.1)
    assert told == [pytest.approx(0.5)]
    path.poll(5.0)
    # The second record arrives when the mute of half a second, that began at 10.5 ms, is over.
    assert path.clock() == pytest.approx(0.0105 + 0.5 + 0.00001 + 0.02, abs=1e-6)


def test_a_quota_can_be_changed_and_taken_away() -> None:
    path = path_with(quota=1000.0, linger=0.0)
    told: list[float] = []
    path.on_throttle = told.append
    path.set_quota(1_000_000.0)
    report_times(path, 1, 20_000)
    path.set_quota(None)
    report_times(path, 1, 20_000)
    path.set_quota(1000.0)
    report_times(path, 1, 20_000)
    assert told == [pytest.approx(10.0)]
