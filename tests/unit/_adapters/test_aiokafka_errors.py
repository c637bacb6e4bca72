"""aiokafka's exceptions as errors that the policies know, and back."""

from __future__ import annotations

import aiokafka.errors
import pytest
from aiokafka.errors import KafkaTimeoutError, ProducerClosed
from confluent_kafka import KafkaError

from kafka_throttle._adapters.aiokafka_errors import (
    ClientError,
    RejectedHere,
    ShedHere,
    as_exception,
    as_kafka_error,
    note_error,
)
from kafka_throttle._records import Record, ShedError, message_of
from kafka_throttle.exceptions import Rejected, Shed


@pytest.mark.parametrize(
    ("expected", "exception", "sent"),
    [
        ("_PURGE_INFLIGHT", ProducerClosed(), True),
        ("_PURGE_QUEUE", ProducerClosed(), False),
        ("_MSG_TIMED_OUT", KafkaTimeoutError(), True),
        ("_TIMED_OUT_QUEUE", KafkaTimeoutError(), False),
        ("_TRANSPORT", aiokafka.errors.KafkaConnectionError(), True),
        ("TOPIC_AUTHORIZATION_FAILED", aiokafka.errors.TopicAuthorizationFailedError(), True),
        ("_FAIL", ValueError("what?"), True),
    ],
)
def test_an_exception_of_aiokafka_means_an_error_that_the_policies_know(
    expected: str, exception: BaseException, sent: bool
) -> None:
    error = as_kafka_error(exception, sent=sent)
    assert (error.name(), as_exception(error, None)) == (expected, exception)
    assert isinstance(error, ClientError)


def test_what_is_shed_is_an_error_of_aiokafkas_kind() -> None:
    error = ShedError(ShedError._QUEUE_FULL, "words")
    error.policy, error.reason = "DropOldest", "max_age"
    record = Record("orders", b"v", None, -1, 0, None, None, 1, 0.0)
    raised = as_exception(error, message_of(record, error))
    assert isinstance(raised, (Shed, aiokafka.errors.KafkaError))
    assert isinstance(raised, ShedHere)
    assert (raised.topic, raised.policy, raised.reason, "words" in str(raised)) == (
        "orders", "DropOldest", "max_age", True
    )  # fmt: skip


def test_an_error_of_the_facade_is_one_of_aiokafkas_kind() -> None:
    raised = as_exception(KafkaError(KafkaError._FAIL, "words"), None)
    assert type(raised) is aiokafka.errors.KafkaError
    assert "words" in str(raised)


def test_a_rejection_is_what_aiokafka_raises_when_its_buffer_stays_full() -> None:
    rejected = RejectedHere("words", topic="orders", reason="deadline")
    assert isinstance(rejected, KafkaTimeoutError)
    assert isinstance(rejected, Rejected)
    assert (rejected.reason, rejected.retriable) == ("deadline", KafkaTimeoutError.retriable)


def test_what_is_noted_of_an_exception_is_of_the_batch_that_failed_last() -> None:
    exception = ProducerClosed()
    assert note_error(exception, sent=True).name() == "_PURGE_INFLIGHT"
    assert note_error(exception, sent=False).name() == "_PURGE_QUEUE"
    assert as_kafka_error(exception).name() == "_PURGE_QUEUE"
