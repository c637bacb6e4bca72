"""What becomes of records that are counted by batches."""

from __future__ import annotations

from types import SimpleNamespace

from confluent_kafka import KafkaError

from kafka_throttle._adapters.batch_meter import BatchMeter

GATE = SimpleNamespace(ticket=3)


def test_errors_are_counted_by_what_they_say_of_the_record() -> None:
    meter = BatchMeter()
    meter.count_lost(10, KafkaError(KafkaError._MSG_TIMED_OUT))
    meter.count_lost(20, KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    meter.count_lost(30, KafkaError(KafkaError._TIMED_OUT_QUEUE))
    reading = meter.reading(GATE)
    assert (reading.admitted, reading.admitted_bytes, reading.acked, reading.acked_bytes) == (3, 60, 3, 60)
    assert (reading.unknown, reading.unknown_bytes, reading.failed, reading.failed_bytes) == (1, 10, 2, 50)
    assert reading.transient == 2
    assert sum(meter.errors().values()) == 3


def test_the_least_round_trip_is_that_of_the_window() -> None:
    meter = BatchMeter()
    for seconds in (0.3, 0.1, 0.2):
        meter.count_response(seconds)
    reading = meter.reading(GATE)
    assert (reading.responses, reading.least_round_trip) == (3, 0.1)
    meter.begin_window(1000.0)
    meter.count_response(0.5)
    assert meter.reading(GATE).least_round_trip == 0.5
