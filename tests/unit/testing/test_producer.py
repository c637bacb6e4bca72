"""The producer over a simulated path: what users' own tests lean on."""

from __future__ import annotations

from itertools import repeat

import pytest
from confluent_kafka import KafkaError

from kafka_throttle import Block, Fixed, Reject, Rejected, Rule, Throttle
from kafka_throttle.testing import Outcome, SimulatedPath, SimulatedProducer, VirtualClock

VALUE = b"x" * 1000


def producer_with(
    throttle: Throttle | None = None, **settings: float
) -> tuple[SimulatedProducer, SimulatedPath]:
    path = SimulatedPath(VirtualClock(100.0), **settings)  # type: ignore[arg-type]
    return SimulatedProducer(path, throttle), path


def test_records_are_delivered_and_reported_in_poll() -> None:
    producer, path = producer_with()
    reports: list[tuple[object, str, object, object]] = []
    producer.produce(
        "orders",
        VALUE,
        b"42",
        on_delivery=lambda error, m: reports.append((error, m.topic(), m.value(), m.key())),
    )
    path.clock.advance(1.0)
    assert (reports, len(producer)) == ([], 1)
    assert producer.poll() == 1
    assert (reports, len(producer)) == ([(None, "orders", VALUE, b"42")], 0)


def test_a_report_tells_the_delay() -> None:
    producer, _ = producer_with(bytes_per_second=1_000_000, delay=0.02, linger=0.005)
    delays: list[float] = []
    producer.produce("orders", VALUE, on_delivery=lambda _error, m: delays.append(m.latency()))
    producer.flush()
    assert delays == [pytest.approx(0.005 + 0.001 + 0.02)]


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (KafkaError.NOT_ENOUGH_REPLICAS, Outcome.FAILED),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, Outcome.REFUSED),
        (KafkaError._MSG_TIMED_OUT, Outcome.UNKNOWN),
    ],
)
def test_a_failure_is_reported_with_an_error_of_the_client(code: int, outcome: Outcome) -> None:
    producer, path = producer_with()
    path.outcome_of = lambda _number: outcome
    errors: list[int | None] = []
    producer.produce("orders", VALUE, on_delivery=lambda error, _m: errors.append(error and error.code()))
    assert producer.flush() == 0
    assert errors == [code]
    assert producer.statistics().errors == {KafkaError(code).name(): 1}


def test_overload_is_refused_as_the_rule_says() -> None:
    producer, path = producer_with(Throttle(rules=[Rule("*", Reject())], limit=Fixed(10)))
    path.stall()
    for _ in range(10):
        producer.produce("orders", VALUE)
    with pytest.raises(Rejected):
        producer.produce("orders", VALUE)
    now = producer.statistics()
    assert (now.offered, now.rejected, now.in_flight, now.state) == (11, 1, 10, "throttling")


def test_waiting_takes_virtual_time() -> None:
    producer, path = producer_with(
        Throttle(rules=[Rule("*", Block(5.0))], limit=Fixed(10), burst=0), delay=0.5, linger=0.0
    )
    for _ in range(11):
        producer.produce("orders", VALUE)
    assert path.clock() == pytest.approx(100.5, abs=0.01)


def test_equal_keys_go_to_the_same_partition() -> None:
    producer, path = producer_with(partitions=3, brokers=3)
    path.stall(0)
    path.stall(1)
    path.stall(2)
    for _ in range(6):
        producer.produce("orders", VALUE, "a key")
    path.clock.advance(1.0)
    in_flight = [producer.statistics().in_flight]
    for broker in range(3):
        path.resume(broker)
        path.clock.advance(1.0)
        in_flight.append(producer.statistics().in_flight)
    assert sorted(set(in_flight)) == [0, 6]


def test_a_flush_has_a_timeout() -> None:
    producer, path = producer_with()
    path.stall()
    producer.produce("orders", VALUE)
    assert (producer.flush(2.0), path.clock()) == (1, 102.0)


def test_a_flush_that_could_never_end_returns() -> None:
    producer, path = producer_with()
    path.stall()
    producer.produce("orders", VALUE)
    assert producer.flush() == 1


def test_after_close_nothing_is_taken() -> None:
    producer, _ = producer_with()
    producer.produce("orders", VALUE)
    producer.close()
    with pytest.raises(RuntimeError, match=r"^Producer has been closed$"):
        producer.produce("orders", VALUE)
    assert (producer.statistics().delivered, producer.statistics().state) == (1, "closed")


def test_callbacks_run_in_the_users_poll_only() -> None:
    producer, path = producer_with(Throttle(limit=Fixed(5), burst=0), linger=0.0)
    polling = False
    ran: list[bool] = []
    for _ in repeat(None, 50):
        producer.produce("orders", VALUE, on_delivery=lambda _error, _m: ran.append(polling))
    polling = True
    while len(producer):
        producer.poll(1.0)
    assert ran == [True] * 50
    assert path.clock() > 100.0


def test_a_quota_is_learnt() -> None:
    producer, path = producer_with(
        Throttle(rules=[Rule("*", Block(60.0))]), quota=100_000, bytes_per_second=1e7
    )
    for _ in repeat(None, 3000):
        producer.produce("orders", VALUE)
    # A credit of 1 MB, what the quota grants from then on, and what may still be in flight when the last is accepted.
    in_flight = producer.statistics().in_flight_bytes
    least = (3_000_000 - 1_000_000 - in_flight) / 100_000
    assert least <= path.clock() - 100.0 <= 1.1 * 3_000_000 / 100_000


def test_it_shows_what_it_is_doing() -> None:
    producer, _ = producer_with(Throttle(limit=Fixed(10)))
    producer.produce("orders", VALUE)
    assert repr(producer) == "<SimulatedProducer open, 1/10 in flight>"
