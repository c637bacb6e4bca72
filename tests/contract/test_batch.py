"""produce_batch() with all its quirks."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError

from kafka_throttle import Block, Fixed, Reject, Rule, Throttle

NARROW = Throttle(limit=Fixed(3))


def nothing(error: Any, message: Any) -> None: ...


def both(sides: Any, form: Any, **conf: Any) -> Any:
    """Return what a form comes to, given equal messages of their own, and what it leaves in them."""
    seen = []
    for make in (sides.stock, sides.facade):
        messages: Any = [{"value": b"1", "key": b"k"}, {"value": "2"}, {}, {"value": None}]
        result = sides.outcome(lambda make=make, messages=messages: form(make(**conf), messages))
        seen.append(
            (result, [{k: getattr(v, "code", lambda v=v: v)() for k, v in m.items()} for m in messages])
        )
    assert seen[1] == seen[0]
    return seen[0]


def mixed(producer: Any, messages: list[Any], *more: Any, **kwargs: Any) -> int:
    messages.extend(more)
    result: int = producer.produce_batch("topic", messages, **kwargs)
    return result


FORMS: dict[str, Any] = {
    "plain": lambda p, m: p.produce_batch("topic", m),
    "by name": lambda p, m: p.produce_batch(topic="topic", messages=m),
    "partition": lambda p, m: p.produce_batch("topic", m, 1),
    "partition and callback": lambda p, m: p.produce_batch("topic", m, 1, nothing),
    "callback none": lambda p, m: p.produce_batch("topic", m, 1, None, nothing),
    "callback by name": lambda p, m: p.produce_batch("topic", m, callback=nothing),
    "on_delivery by name": lambda p, m: p.produce_batch("topic", m, on_delivery=nothing),
    "empty": lambda p, m: p.produce_batch("topic", []),
    "unbound": lambda p, m: type(p).produce_batch(p, "topic", m),
    "headers dropped": lambda p, m: mixed(p, m, {"value": b"v", "headers": {"a": b"1"}}),
    "partition of a message": lambda p, m: mixed(p, m, {"value": b"v", "partition": 1}),
    "unknown key": lambda p, m: mixed(p, m, {"value": b"v", "nonsense": 1}),
    "too large": lambda p, m: mixed(p, m, {"value": b"x" * 2_000_000}),
    # wrong forms
    "topic none": lambda p, m: p.produce_batch(None, m),
    "topic empty": lambda p, m: p.produce_batch("", m),
    "tuple": lambda p, m: p.produce_batch("topic", tuple(m)),
    "none": lambda p, m: p.produce_batch("topic", None),
    "too many": lambda p, m: p.produce_batch("topic", m, 1, None, None, 5),
    "unknown name": lambda p, m: p.produce_batch("topic", m, nonsense=1),
    "partition text": lambda p, m: p.produce_batch("topic", m, "1"),
    "value number": lambda p, m: mixed(p, m, {"value": 5}),
    "key number": lambda p, m: mixed(p, m, {"key": 5}),
    "partition of a message text": lambda p, m: mixed(p, m, {"partition": "1"}),
    "timestamp": lambda p, m: mixed(p, m, {"value": b"v", "timestamp": 1}),
    "headers number": lambda p, m: mixed(p, m, {"value": b"v", "headers": 5}),
}


@pytest.mark.parametrize("form", [pytest.param(form, id=name) for name, form in FORMS.items()])
def test_every_form_comes_to_the_same(sides: Any, form: Any) -> None:
    both(sides, form)


@pytest.mark.parametrize("message", [None, 5, [], "text"])
def test_a_message_that_is_no_dict_is_refused(sides: Any, message: Any) -> None:
    sides.compare(lambda p: p.produce_batch("topic", [{"value": b"1"}, message]))


@pytest.mark.parametrize("args", [(), ("topic",)])
def test_missing_arguments_are_a_type_error(make: Any, args: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        make().produce_batch(*args)


def test_each_message_has_its_own_callback(sides: Any) -> None:
    seen = []
    for producer in (sides.stock(), sides.facade(), sides.facade(throttle=NARROW)):
        told: list[Any] = []

        def note(name: str, told: list[Any] = told) -> Any:
            return lambda error, record: told.append((name, error, record.value()))

        messages = [
            {"value": b"1", "callback": note("own")},
            {"value": b"2"},
            {"value": b"3", "on_delivery": note("ignored")},
            {"value": b"4", "callback": None},
        ]
        given = [dict(one) for one in messages]
        assert producer.produce_batch("topic", messages, 0, callback=note("all")) == 4
        assert producer.flush(30) == 0
        assert messages == given
        seen.append(told)
    assert seen[1:] == [seen[0]] * 2
    assert seen[0] == [("own", None, b"1"), ("all", None, b"2"), ("all", None, b"3"), ("all", None, b"4")]


def test_the_error_of_an_earlier_attempt_stays(sides: Any) -> None:
    seen = []
    for producer in (sides.stock(), sides.facade()):
        messages: list[dict[str, Any]] = [{"value": b"x" * 2_000_000}, {"value": b"small"}]
        first = producer.produce_batch("topic", messages)
        error = messages[0]["_error"].code()
        messages[0]["value"] = b"small enough now"
        second = producer.produce_batch("topic", messages)
        seen.append((first, error, second, "_error" in messages[0], "_error" in messages[1]))
    assert seen[1] == seen[0] == (1, KafkaError.MSG_SIZE_TOO_LARGE, 2, True, False)


def test_a_batch_larger_than_the_limit_goes_in_parts_and_in_order(sides: Any) -> None:
    told: list[Any] = []
    producer = sides.facade(throttle=NARROW)
    messages = [{"value": str(i)} for i in range(50)]
    accepted = producer.produce_batch(
        "topic", messages, 0, lambda error, message: told.append(int(message.value()))
    )
    assert (accepted, producer.flush(30), told) == (50, 0, list(range(50)))


def test_a_batch_is_refused_whole_for_one_bad_message_however_large(sides: Any) -> None:
    producer = sides.facade(throttle=NARROW)
    messages: list[Any] = [{"value": b"v"} for _ in range(50)]
    with pytest.raises(TypeError, match="Message value at index 49 must be bytes or str"):
        producer.produce_batch("topic", [*messages[:49], {"value": 5}])
    assert (producer.flush(30), producer.statistics().delivered) == (0, 0)


def test_what_finds_no_room_has_an_error_and_can_be_offered_again(mock_kafka: Any, sides: Any) -> None:
    refusing = Throttle(rules=[Rule("*", Reject())], limit=Fixed(5), burst=0)
    producer = sides.facade(**{"bootstrap.servers": mock_kafka.bootstrap}, throttle=refusing)
    mock_kafka.broker_down()
    messages: list[dict[str, Any]] = [{"value": str(i)} for i in range(40)]
    accepted = producer.produce_batch("topic", messages)
    refused = [message for message in messages if "_error" in message]
    assert (accepted, len(refused)) == (len(messages) - len(refused), producer.statistics().rejected)
    assert refused
    assert {message["_error"].code() for message in refused} == {KafkaError._QUEUE_FULL}
    assert messages[: len(messages) - len(refused)] == [m for m in messages if "_error" not in m]
    mock_kafka.broker_up()
    assert producer.flush(30) == 0


def test_a_batch_waits_no_longer_than_its_rule_says(mock_kafka: Any, sides: Any) -> None:
    patient = Throttle(rules=[Rule("*", Block(0.05))], limit=Fixed(5), burst=0)
    producer = sides.facade(**{"bootstrap.servers": mock_kafka.bootstrap}, throttle=patient)
    mock_kafka.broker_down()
    assert 1 <= producer.produce_batch("topic", [{"value": b"v"} for _ in range(40)]) < 40
    mock_kafka.broker_up()
    assert producer.flush(30) == 0


def test_after_close_the_client_has_the_words(sides: Any) -> None:
    def form(producer: Any) -> int:
        producer.close()
        result: int = producer.produce_batch("topic", [{"value": b"1"}])
        return result

    assert sides.compare(form)[:2] == ("raised", "RuntimeError")
