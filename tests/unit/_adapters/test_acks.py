"""What becomes of the records: both meters, behind a real client on the mock cluster."""

from __future__ import annotations

import gc
import os
import select
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException, cimpl

from kafka_throttle._adapters.acks import InterceptedAcks, ReportedAcks, interceptors
from kafka_throttle._core.window import BUCKETS, bucket_of
from kafka_throttle._gates.gate import COMPILED, PureGate
from kafka_throttle.brokers.mock import ApiKey, MockKafka

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUIET = {"linger.ms": 1, "log_level": 0}


class Counting:
    """A stock client that a meter counts for."""

    def __init__(self, make_meter: Callable[[], Any], bootstrap: str, **conf: Any) -> None:
        self.meter = make_meter()
        self.deferred: deque[Any] = deque()
        produce = cimpl.Producer.produce
        if isinstance(self.meter, InterceptedAcks):
            self.gate = COMPILED.Gate(
                produce, produce, self.deferred, self.meter.counter, cimpl.Producer.poll
            )
        else:
            self.gate = PureGate(produce, produce, self.deferred, self.meter.count_report)
        conf = {"bootstrap.servers": bootstrap, **QUIET, **conf}
        self.meter.prepare(conf, self.gate)
        with self.meter.constructing():
            self.client = cimpl.Producer(conf)

    def produce(self, *args: Any, **kwargs: Any) -> None:
        self.gate.forward(self.client, *args, **kwargs)

    def settle(self) -> Any:
        """Flush, and return what was counted."""
        assert self.client.flush(30) == 0
        return self.meter.reading(self.gate)


def intercepted() -> InterceptedAcks:
    return InterceptedAcks(interceptors())


METERS = [
    pytest.param(ReportedAcks, id="reported"),
    pytest.param(
        intercepted,
        id="intercepted",
        marks=pytest.mark.compiled,
    ),
]


@pytest.fixture(params=METERS)
def count(request: pytest.FixtureRequest, mock_kafka: MockKafka) -> Iterator[Callable[..., Counting]]:
    made: list[Counting] = []

    def make(**conf: Any) -> Counting:
        made.append(Counting(request.param, mock_kafka.bootstrap, **conf))
        return made[-1]

    yield make
    for one in made:
        one.client.purge()
        one.client.flush(30)


def outcomes(reading: Any) -> dict[str, int]:
    names = ("admitted", "acked", "failed", "unknown")
    return {name: getattr(reading, name) for name in names if getattr(reading, name)}


def in_bytes(reading: Any) -> dict[str, int]:
    names = ("admitted_bytes", "acked_bytes", "failed_bytes", "unknown_bytes")
    return {name: getattr(reading, name) for name in names if getattr(reading, name)}


def test_nothing_is_counted_at_first(count: Callable[..., Counting]) -> None:
    assert outcomes(count().settle()) == {}


@pytest.mark.parametrize("with_callback", [False, True])
def test_delivered_records_are_counted_with_their_keys(
    count: Callable[..., Counting],
    with_callback: bool,
) -> None:
    told: list[Any] = []
    counting = count()
    kwargs = {"on_delivery": lambda *report: told.append(report)} if with_callback else {}
    for _ in range(10):
        counting.produce("topic", b"1234", b"56", **kwargs)
    reading = counting.settle()
    assert outcomes(reading) == {"admitted": 10, "acked": 10}
    assert in_bytes(reading) == {"admitted_bytes": 60, "acked_bytes": 60}
    assert [error for error, _ in told] == [None] * (10 * with_callback)


def test_the_brief_reading_agrees(count: Callable[..., Counting]) -> None:
    counting = count()
    counting.produce("topic", b"1234", b"56")
    counting.settle()
    assert outcomes(counting.meter.brief(counting.gate)) == {"admitted": 1, "acked": 1}


def test_a_default_callback_is_still_called(count: Callable[..., Counting]) -> None:
    told: list[Any] = []
    counting = count(on_delivery=lambda error, message: told.append((error, message.value())))
    counting.produce("topic", b"1")
    assert outcomes(counting.settle()) == {"admitted": 1, "acked": 1}
    assert told == [(None, b"1")]


@pytest.mark.parametrize("default", [False, True])
def test_callbacks_for_errors_alone_stay_so_and_all_is_counted(
    count: Callable[..., Counting],
    mock_kafka: MockKafka,
    default: bool,
) -> None:
    told: list[Any] = []

    def report(error: Any, message: Any) -> None:
        told.append((error.name(), message.value()))

    counting = count(**{"delivery.report.only.error": True, **({"on_delivery": report} if default else {})})
    kwargs = {} if default else {"on_delivery": report}
    counting.produce("topic", b"good", **kwargs)
    counting.settle()
    mock_kafka.push_errors(ApiKey.PRODUCE, "TOPIC_AUTHORIZATION_FAILED")
    counting.produce("topic", b"bad", **kwargs)
    assert outcomes(counting.settle()) == {"admitted": 2, "acked": 2, "failed": 1}
    assert told == [("TOPIC_AUTHORIZATION_FAILED", b"bad")]


def test_what_the_client_refuses_at_once_was_never_in_flight(count: Callable[..., Counting]) -> None:
    counting = count()
    counting.produce("topic", b"known by now")
    counting.settle()
    with pytest.raises(KafkaException) as caught:
        counting.produce("topic", b"value", partition=99)
    assert caught.value.args[0].code() == KafkaError._UNKNOWN_PARTITION
    assert outcomes(counting.settle()) == {"admitted": 1, "acked": 1}
    assert (counting.gate.refused, counting.gate.client_full) == (1, 0)


def test_a_full_client_refuses_and_nothing_is_counted(count: Callable[..., Counting]) -> None:
    counting = count(**{"queue.buffering.max.messages": 2, "linger.ms": 500})
    for _ in range(2):
        counting.produce("topic", b"value")
    with pytest.raises(BufferError):
        counting.produce("topic", b"value")
    assert outcomes(counting.settle()) == {"admitted": 2, "acked": 2}
    assert (counting.gate.refused, counting.gate.client_full) == (0, 1)


def test_a_permanent_error_is_a_failure_by_its_code(
    count: Callable[..., Counting], mock_kafka: MockKafka
) -> None:
    counting = count()
    mock_kafka.push_errors(ApiKey.PRODUCE, "TOPIC_AUTHORIZATION_FAILED")
    counting.produce("topic", b"1234", b"5")
    reading = counting.settle()
    assert outcomes(reading) == {"admitted": 1, "acked": 1, "failed": 1}
    assert in_bytes(reading) == {"admitted_bytes": 5, "acked_bytes": 5, "failed_bytes": 5}
    assert counting.meter.errors() == {KafkaError.TOPIC_AUTHORIZATION_FAILED: 1}
    assert reading.transient == 0


def test_a_record_that_times_out_unsent_is_transient(
    count: Callable[..., Counting], mock_kafka: MockKafka
) -> None:
    counting = count(**{"message.timeout.ms": 300})
    mock_kafka.broker_down()
    counting.produce("topic", b"1234")
    reading = counting.settle()
    # Only the interceptors learn that it was never sent; without them it may have been written.
    expected = "failed" if isinstance(counting.meter, InterceptedAcks) else "unknown"
    assert outcomes(reading) == {"admitted": 1, "acked": 1, expected: 1}
    assert in_bytes(reading) == {"admitted_bytes": 4, "acked_bytes": 4, f"{expected}_bytes": 4}
    assert counting.meter.errors() == {KafkaError._MSG_TIMED_OUT: 1}
    assert reading.transient == 1


def test_a_record_that_times_out_in_flight_may_have_been_written(
    count: Callable[..., Counting], mock_kafka: MockKafka
) -> None:
    counting = count(**{"message.timeout.ms": 1000})
    counting.produce("topic", b"known by now")
    counting.settle()
    mock_kafka.set_rtt(10)
    counting.produce("topic", b"1234")
    reading = counting.settle()
    assert outcomes(reading) == {"admitted": 2, "acked": 2, "unknown": 1}
    assert counting.meter.errors() == {KafkaError._MSG_TIMED_OUT: 1}


def test_purged_records_are_counted(count: Callable[..., Counting], mock_kafka: MockKafka) -> None:
    mock_kafka.broker_down()
    counting = count()
    for _ in range(3):
        counting.produce("topic", b"value")
    counting.client.purge()
    assert outcomes(counting.settle()) == {"admitted": 3, "acked": 3, "failed": 3}
    assert counting.meter.errors() == {KafkaError._PURGE_QUEUE: 3}


def test_delays_requests_and_responses_are_measured(count: Callable[..., Counting]) -> None:
    counting = count(**{"statistics.interval.ms": 50})
    for _ in range(20):
        counting.produce("topic", b"value")
    counting.settle()
    deadline = time.monotonic() + 30
    while not (reading := counting.meter.reading(counting.gate)).requests and time.monotonic() < deadline:
        counting.client.poll(0.1)
    assert (reading.delays.samples, sum(reading.delays.counts)) == (20, 20)
    assert reading.delays.mean > 0
    assert 1 <= reading.requests <= 20
    assert reading.responses >= 1


def test_a_high_rate_is_sampled(count: Callable[..., Counting]) -> None:
    counting = count()
    counting.meter.begin_window(20_000.0)
    for _ in range(1000):
        counting.produce("topic", b"value")
    samples = counting.settle().delays.samples
    assert 1000 / 16 - 1 <= samples <= 1000 / 10 + 1


def test_statistics_that_the_user_asked_for_arrive(count: Callable[..., Counting]) -> None:
    told: list[str] = []
    counting = count(**{"statistics.interval.ms": 20, "stats_cb": told.append})
    deadline = time.monotonic() + 30
    while not told and time.monotonic() < deadline:
        counting.client.poll(0.1)
    assert told[0].startswith("{")


@pytest.mark.parametrize("interval", [{}, {"statistics.interval.ms": 0}, {"statistics.interval.ms": "0"}])
def test_statistics_that_the_user_did_not_ask_for_stay_away(interval: dict[str, Any]) -> None:
    told: list[str] = []
    meter = ReportedAcks()
    conf: dict[str, Any] = {"stats_cb": told.append, **interval}
    meter.prepare(conf, PureGate(print, print, deque()))
    conf["stats_cb"]('{"brokers": {"b": {"req": {"Produce": 3}, "rx": 2, "rtt": {"avg": 1000}}}}')
    assert (told, conf["statistics.interval.ms"]) == ([], 500)


def test_a_statistics_callback_that_cannot_be_called_is_left_to_the_client() -> None:
    conf: dict[str, Any] = {"stats_cb": None, "on_delivery": 5}
    ReportedAcks().prepare(conf, PureGate(print, print, deque()))
    assert conf == {"stats_cb": None, "on_delivery": 5}


def test_counters_that_fall_are_those_of_a_new_connection() -> None:
    meter = ReportedAcks()
    for requests, responses in ((10, 8), (12, 11), (3, 2)):
        meter.take_statistics(
            f'{{"brokers": {{"b": {{"req": {{"Produce": {requests}}}, "rx": {responses}, "rtt": {{"avg": 500}}}}}}}}'
        )
    reading = meter.reading(PureGate(print, print, deque()))
    assert (reading.requests, reading.responses) == (12, 11)
    assert reading.response_time == pytest.approx(11 * 500e-6)


class Message:
    """What the pure meter asks of a message."""

    def key(self) -> bytes:
        return b"k"

    def latency(self) -> float:
        return 0.001

    def __len__(self) -> int:
        return 4


def test_a_report_in_the_middle_of_another_reading_is_not_lost() -> None:
    # A signal handler may poll, and ask for statistics, between any two steps.
    meter = ReportedAcks()
    with meter._counting:
        meter.count_report(None, Message())
        reading = meter.brief(PureGate(print, print, deque()))
    assert (reading.acked, reading.acked_bytes) == (1, 5)


# ---- the interceptors


@pytest.mark.compiled
def test_two_clients_are_counted_apart_also_when_one_is_made_inside_the_other(mock_kafka: MockKafka) -> None:
    outer = intercepted()
    conf = {"bootstrap.servers": mock_kafka.bootstrap, **QUIET}
    gate = COMPILED.Gate(cimpl.Producer.produce, print, deque(), outer.counter)
    outer.prepare(conf, gate)
    with outer.constructing():
        inner = Counting(intercepted, mock_kafka.bootstrap)
        client = cimpl.Producer(conf)
    gate.forward(client, "topic", b"value")
    for _ in range(2):
        inner.produce("topic", b"value")
    client.flush(30)
    assert outcomes(inner.settle()) == {"admitted": 2, "acked": 2}
    assert outcomes(outer.reading(gate)) == {"admitted": 1, "acked": 1}


@pytest.mark.compiled
def test_a_client_with_copied_configuration_is_not_counted(mock_kafka: MockKafka) -> None:
    counting = Counting(intercepted, mock_kafka.bootstrap)
    conf: dict[str, Any] = {"bootstrap.servers": mock_kafka.bootstrap, **QUIET}
    counting.meter.prepare(conf, counting.gate)
    other = cimpl.Producer(conf)
    other.produce("topic", b"value")
    other.flush(30)
    assert outcomes(counting.settle()) == {}


@pytest.mark.compiled
def test_the_counter_may_go_before_the_client(mock_kafka: MockKafka) -> None:
    counting = Counting(intercepted, mock_kafka.bootstrap)
    counting.produce("topic", b"value")
    client = counting.client
    del counting
    gc.collect()
    assert client.flush(30) == 0


@pytest.mark.compiled
def test_plugins_of_the_user_stay() -> None:
    conf = {"plugin.library.paths": "monitoring-interceptor"}
    meter = intercepted()
    meter.prepare(conf, None)  # type: ignore[arg-type]
    assert conf == {"plugin.library.paths": f"monitoring-interceptor;{interceptors().__file__}"}


@pytest.mark.compiled
def test_both_meters_use_the_same_buckets() -> None:
    delays = [*range(-2, 300), *(2**power + shift for power in range(8, 45) for shift in (-1, 0, 1))]
    assert [interceptors().bucket_of(delay) for delay in delays] == [bucket_of(delay) for delay in delays]
    assert interceptors().BUCKETS == BUCKETS


@pytest.mark.compiled
@pytest.mark.parametrize("power", [-1, 21])
def test_the_sampling_has_bounds(power: int) -> None:
    with pytest.raises(ValueError, match=f"expected a power of two from 0 to 20, got {power}"):
        interceptors().AckCounter().begin_window(power)


@pytest.mark.compiled
def test_a_counter_takes_no_arguments() -> None:
    with pytest.raises(TypeError, match="takes no arguments"):
        interceptors().AckCounter(1)


@pytest.mark.compiled
def test_the_client_rings_when_there_is_something_to_poll_for_again(mock_kafka: MockKafka) -> None:
    counting = Counting(intercepted, mock_kafka.bootstrap)
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    assert counting.meter.ring(writer)

    def rung() -> bool:
        return bool(select.select([reader], [], [], 10)[0]) and os.read(reader, 4096) != b""

    for _ in range(2):
        counting.produce("topic", b"v", on_delivery=lambda *report: None)
        while counting.meter.counter.acked()[0] != counting.gate.ticket:
            time.sleep(0.001)
        assert rung()
        while len(counting.client):
            counting.client.poll(0)
    with pytest.raises(BlockingIOError):  # nothing is left to poll for
        os.read(reader, 4096)
    assert counting.meter.ring(-1)
    counting.produce("topic", b"v")
    assert counting.client.flush(30) == 0
    with pytest.raises(BlockingIOError):
        os.read(reader, 4096)
    meter = counting.meter
    del counting
    gc.collect()
    assert meter.ring(writer) is False
    os.close(reader)
    os.close(writer)


@pytest.mark.compiled
def test_it_rings_at_a_descriptor_alone() -> None:
    with pytest.raises(TypeError, match="int"):
        intercepted().ring("door")  # type: ignore[arg-type]
