"""produce_batch(): a batch goes to the client in parts, each as large as there is room for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException

from kafka_throttle._sizes import bytes_of_messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_throttle._blocking import BlockingAdmission
    from kafka_throttle._gates.gate import Gate

__all__ = ["produce_batch", "produce_each", "with_stand_ins"]

_ERROR = "_error"
_FIELDS = ("value", "key", "partition", "timestamp", "callback")


def with_stand_ins(
    gate: Gate, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what follows topic and messages in a call, with stand-ins for the callbacks.

    Args:
        gate: Makes the stand-ins.
        args: Positional arguments: partition, callback.
        kwargs: Keyword arguments.
    """
    callbacks = (given if given is None else gate.report(given) for given in args[1:2])
    args = (*args[:1], *callbacks, *args[2:])
    for name in ("callback", "on_delivery"):
        if kwargs.get(name) is not None:
            kwargs = {**kwargs, name: gate.report(kwargs[name])}
    return args, kwargs


def produce_batch(
    producer: Any,
    admission: BlockingAdmission,
    topic: str,
    messages: list[dict[str, Any]],
    send: Callable[[list[dict[str, Any]]], int],
    defaults: dict[str, Any],
) -> int:
    """Hand a batch over.

    Args:
        producer: The facade.
        admission: Its admission.
        topic: The topic.
        messages: The messages, as the client takes them.
        send: The client's produce_batch for a list of messages.
        defaults: Partition and callback of the messages that have none, as produce() takes them.

    Returns:
        How many were accepted; the others have ``_error`` set, as with the client.
    """
    if not all(isinstance(message, dict) for message in messages):
        return send(messages)  # raises, in the client's words
    # A rule that keeps or follows records has to see each of them.
    if admission.throttle.rule_for(topic).tracked and all(map(_is_plain, messages)):
        return produce_each(admission, producer, topic, messages, defaults)
    # The client refuses a whole batch for one bad message. In parts, some would be sent already.
    whole = not all(map(_is_sound, messages))
    accepted = done = 0
    while done < len(messages):
        left = len(messages) - done
        room = admission.reserve(producer, topic, left, bytes_of_messages(messages[done : done + 1]))
        if not room:
            break
        part = messages[done:] if whole else messages[done : done + room]
        accepted += _hand_over(admission, part, send)
        done += len(part)
    _refuse(admission, messages[done:])
    return accepted


def produce_each(
    admission: BlockingAdmission,
    producer: Any,
    topic: str,
    messages: list[dict[str, Any]],
    defaults: dict[str, Any],
) -> int:
    """Offer the messages of a batch one by one, for a topic whose rule keeps or follows records.

    Args:
        admission: The producer's admission.
        producer: The facade.
        topic: The topic.
        messages: The messages, as the client takes them.
        defaults: Partition and callback of those that have none.

    Returns:
        How many were accepted; the others have ``_error`` set, as with the client.
    """
    accepted = 0
    for message in messages:
        given = {name: message[name] for name in _FIELDS if message.get(name) is not None}
        try:
            admission.at_edge(producer, topic, **{**defaults, **given})
        except BufferError as error:
            message[_ERROR] = KafkaError(KafkaError._QUEUE_FULL, str(error))  # noqa: SLF001 - a public name
        except KafkaException as error:
            message[_ERROR] = error.args[0]
        else:
            accepted += 1
    return accepted


def _hand_over(
    admission: BlockingAdmission, messages: list[dict[str, Any]], send: Callable[[list[dict[str, Any]]], int]
) -> int:
    gate = admission.gate
    # The client reads "callback" of each message: stand-ins go into copies, and "_error" comes back from them.
    sent = [
        m if m.get("callback") is None else {**m, "callback": gate.report(m["callback"])} for m in messages
    ]
    # The client leaves the error of an earlier attempt in its place.
    earlier = [message.get(_ERROR) for message in sent]
    # Counted before, so that no record is reported before it is admitted; taken back afterwards.
    gate.add(len(sent), bytes_of_messages(sent))
    good = 0
    failed = sent
    try:
        good = gate.batch(send, sent)
        failed = [m for m, error in zip(sent, earlier, strict=True) if m.get(_ERROR) is not error]
    finally:
        gate.add(good - len(sent), -bytes_of_messages(failed))
    admission.refusals.count_batch(len(sent) - good, bytes_of_messages(failed))
    for message, copy in zip(messages, sent, strict=True):
        if _ERROR in copy:
            message[_ERROR] = copy[_ERROR]
    return good


def _refuse(admission: BlockingAdmission, messages: list[dict[str, Any]]) -> None:
    admission.refusals.count_batch(len(messages), bytes_of_messages(messages))
    for message in messages:
        message[_ERROR] = KafkaError(
            KafkaError._QUEUE_FULL,  # noqa: SLF001 - the client's public name for it
            "kafka_throttle: there is no room for this message",
        )


def _is_sound(message: dict[str, Any]) -> bool:
    """Return whether the client takes such a message; unsure is no."""
    return _is_plain(message) and message.get("timestamp") is None and message.get("headers") is None


def _is_plain(message: dict[str, Any]) -> bool:
    """Return whether such a message can be offered by itself; the client sends no headers in a batch."""
    return all(isinstance(message.get(name), (bytes, str, type(None))) for name in ("value", "key")) and all(
        isinstance(message.get(name), (int, type(None))) for name in ("partition", "timestamp")
    )
