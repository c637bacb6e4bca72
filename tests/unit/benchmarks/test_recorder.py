"""The recorder counts every record once, and keeps no entry for each."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import KafkaError

from benchmarks.recorder import BUCKET, Recorder, Sample


class Report:
    """A message of which only the latency matters."""

    def __init__(self, latency: float) -> None:
        self._latency = latency

    def latency(self) -> float:
        return self._latency


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(start=time.monotonic(), duration=100.0, state=lambda: (3, 7))


def test_reports_are_counted_by_what_became_of_the_record(recorder: Recorder) -> None:
    for code in (None, None, KafkaError._MSG_TIMED_OUT, KafkaError._PURGE_QUEUE):
        recorder.report(None if code is None else KafkaError(code))
    recorder.end_of_load(100, left=0)
    done = recorder.outcome(abandoned=1)
    assert (done.delivered, done.failed, done.errors, done.abandoned) == (2, 1, {"_MSG_TIMED_OUT": 1}, 1)


def test_a_report_may_stand_for_several_records() -> None:
    recorder = Recorder(time.monotonic(), 100.0, lambda: (0, 0), each=64)
    recorder.report(None)
    assert recorder.delivered == 64


def test_a_sample_takes_the_delay_that_the_client_measured(recorder: Recorder) -> None:
    Sample(recorder, intended=time.monotonic())(None, Report(latency=0.5))
    recorder.end_of_load(100, left=0)
    delays = recorder.outcome(0).delays
    assert (delays["whole"]["count"], delays["second half"]["count"]) == (1, 0)
    assert pytest.approx(delays["whole"]["p99"], rel=0.001) == 0.5


def test_the_series_has_a_row_for_each_bucket_even_a_silent_one() -> None:
    start = time.monotonic()
    recorder = Recorder(start, 100.0, lambda: (3, 7))
    recorder.delay(start, 2.0, 2.0)
    recorder.report(None)
    recorder.tick(start + 2 * BUCKET)
    recorder.end_of_load(100, left=0)
    series = recorder.outcome(0).series
    assert [series[column][:2] for column in ("at", "delivered", "p99", "late", "inside", "limit")] == [
        [BUCKET, 2 * BUCKET],
        [1, 0],
        [2.0, None],
        [1, 0],
        [3, 3],
        [7, 7],
    ]
