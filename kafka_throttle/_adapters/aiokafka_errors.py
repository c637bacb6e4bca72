"""aiokafka's exceptions in the form that the policies know, and what the facade raises in their stead."""

from __future__ import annotations

from typing import Any

import aiokafka.errors
from aiokafka.errors import KafkaTimeoutError
from confluent_kafka import KafkaError

from kafka_throttle._adapters.confluent import MAY_BE_WRITTEN
from kafka_throttle._records import ShedError
from kafka_throttle.exceptions import Rejected, Shed, known_as

__all__ = ["ClientError", "RejectedHere", "ShedHere", "as_exception", "as_kafka_error", "note_error"]

# Errors of aiokafka itself, which have no number in Kafka's protocol, by what librdkafka calls the same.
_CLIENT_CODES: dict[type[BaseException], int] = {
    aiokafka.errors.ProducerClosed: KafkaError._DESTROY,  # noqa: SLF001 - the client's public names
    aiokafka.errors.KafkaTimeoutError: KafkaError._MSG_TIMED_OUT,  # noqa: SLF001
    aiokafka.errors.KafkaConnectionError: KafkaError._TRANSPORT,  # noqa: SLF001
    aiokafka.errors.NodeNotReadyError: KafkaError._TRANSPORT,  # noqa: SLF001
    aiokafka.errors.ProducerFenced: KafkaError._FENCED,  # noqa: SLF001
}
_NOTED = "_kafka_throttle_error"


class ClientError(KafkaError):
    """An error of aiokafka in the form that the policies know.

    Attributes:
        exception: aiokafka's own.
    """

    exception: BaseException


def as_kafka_error(exception: BaseException, *, sent: bool = True) -> KafkaError:
    """Return the error that an exception of aiokafka means.

    Args:
        exception: The exception.
        sent: Whether the record's batch had been sent, so that it may have been written.
    """
    noted: KafkaError | None = getattr(exception, _NOTED, None)
    if noted is not None:
        return noted
    code = next((code for kind, code in _CLIENT_CODES.items() if isinstance(exception, kind)), None)
    if code is None:
        code = getattr(exception, "errno", None)
    if not isinstance(code, int):
        code = KafkaError._FAIL  # noqa: SLF001
    if code == KafkaError._DESTROY:  # noqa: SLF001
        code = KafkaError._PURGE_INFLIGHT if sent else KafkaError._PURGE_QUEUE  # noqa: SLF001
    elif code in MAY_BE_WRITTEN and not sent:
        code = KafkaError._TIMED_OUT_QUEUE  # noqa: SLF001
    error = ClientError(code, f"{type(exception).__name__}: {exception}")
    error.exception = exception
    return error


def note_error(exception: BaseException, *, sent: bool) -> KafkaError:
    """Return the error that an exception means, and have whoever is given a copy of that know it."""
    if hasattr(exception, _NOTED):  # of another batch, which failed with it
        delattr(exception, _NOTED)
    error = as_kafka_error(exception, sent=sent)
    setattr(exception, _NOTED, error)
    return error


class RejectedHere(Rejected, KafkaTimeoutError):  # type: ignore[misc]
    """`Rejected`, for those who expect what aiokafka raises when its buffer stays full."""


class ShedHere(Shed, aiokafka.errors.KafkaError):  # type: ignore[misc]
    """`Shed`, for those who expect aiokafka's errors."""


known_as(Rejected, RejectedHere)
known_as(Shed, ShedHere)


def as_exception(error: KafkaError, message: Any) -> BaseException:
    """Return aiokafka's exception for an error that came from it, or one of its kind for one that did not."""
    if isinstance(error, ClientError):
        return error.exception
    if isinstance(error, ShedError):
        return ShedHere(error.str(), topic=message.topic(), policy=error.policy, reason=error.reason)
    return aiokafka.errors.KafkaError(error.str())  # type: ignore[no-any-return]
