"""produce_batch(): a batch goes to the client in parts, each as large as there is room for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError

from kafka_throttle._sizes import bytes_of_messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_throttle._admission import Admission
    from kafka_throttle._core.gate import Gate

__all__ = ["produce_batch", "with_stand_ins"]

_ERROR = "_error"


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
    admission: Admission,
    topic: str,
    messages: list[dict[str, Any]],
    send: Callable[[list[dict[str, Any]]], int],
) -> int:
    """Hand a batch over.

    Args:
        producer: The facade.
        admission: Its admission.
        topic: The topic.
        messages: The messages, as the client takes them.
        send: The client's produce_batch for a list of messages.

    Returns:
        How many were accepted; the others have ``_error`` set, as with the client.
    """
    if not all(isinstance(message, dict) for message in messages):
        return send(messages)  # raises, in the client's words
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


def _hand_over(
    admission: Admission, messages: list[dict[str, Any]], send: Callable[[list[dict[str, Any]]], int]
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
    admission.reject_batch(len(sent) - good, bytes_of_messages(failed))
    for message, copy in zip(messages, sent, strict=True):
        if _ERROR in copy:
            message[_ERROR] = copy[_ERROR]
    return good


def _refuse(admission: Admission, messages: list[dict[str, Any]]) -> None:
    admission.reject_batch(len(messages), bytes_of_messages(messages))
    for message in messages:
        message[_ERROR] = KafkaError(
            KafkaError._QUEUE_FULL,  # noqa: SLF001 - the client's public name for it
            "kafka_throttle: there is no room for this message",
        )


def _is_sound(message: dict[str, Any]) -> bool:
    """Return whether the client takes such a message; unsure is no."""
    return (
        all(isinstance(message.get(name), (bytes, str, type(None))) for name in ("value", "key"))
        and isinstance(message.get("partition"), (int, type(None)))
        and message.get("timestamp") is None
        and message.get("headers") is None
    )
