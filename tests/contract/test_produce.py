"""All forms of produce(), and what surrounds it."""

from __future__ import annotations

from typing import Any

import pytest


class Text(str):
    __slots__ = ()


def at_run_time(*parts: str) -> str:
    """Return a name that the compiler did not intern."""
    return "".join(parts)


def nothing(error: Any, message: Any) -> None: ...


FORMS: dict[str, Any] = {
    "topic only": lambda p: p.produce("topic"),
    "topic by name": lambda p: p.produce(topic="topic"),
    "value": lambda p: p.produce("topic", b"value"),
    "value and key": lambda p: p.produce("topic", b"value", b"key"),
    "text": lambda p: p.produce("topic", "wärt", "schlüssel"),
    "text subclass": lambda p: p.produce(Text("topic"), Text("value"), key=Text("key")),
    "none": lambda p: p.produce("topic", None, None),
    "empty": lambda p: p.produce("topic", b"", ""),
    "partition": lambda p: p.produce("topic", b"v", None, 1),
    "partition by name": lambda p: p.produce("topic", b"v", partition=1),
    "all by position": lambda p: p.produce("topic", b"v", b"k", 0, None, None, 1234, {"a": b"1"}),
    "callback by position": lambda p: p.produce("topic", b"v", b"k", 0, nothing),
    "on_delivery by position": lambda p: p.produce("topic", b"v", b"k", 0, None, nothing),
    "all by name": lambda p: p.produce(
        topic="topic", value=b"v", key=b"k", partition=0, callback=nothing, timestamp=5, headers=[("a", b"1")]
    ),
    "both callbacks": lambda p: p.produce("topic", callback=nothing, on_delivery=nothing),
    "callbacks none": lambda p: p.produce("topic", callback=None, on_delivery=None),
    "names made at run time": lambda p: p.produce("topic", **{at_run_time("on_", "delivery"): nothing}),
    "callback that cannot be called": lambda p: p.produce(
        "topic", callback=None, on_delivery=None, headers=None
    ),
    "headers as dict": lambda p: p.produce("topic", headers={"a": b"1", "b": "2", "c": None}),
    "headers as list": lambda p: p.produce("topic", headers=[("a", b"1"), ("a", "2")]),
    "headers none": lambda p: p.produce("topic", headers=None),
    "unbound": lambda p: type(p).produce(p, "topic", b"value"),
    "kept": lambda p: [f("topic", b"value") for f in [p.produce] * 3],
    # wrong forms
    "nothing": lambda p: p.produce(),
    "topic none": lambda p: p.produce(None),
    "topic bytes": lambda p: p.produce(b"topic"),
    "topic number": lambda p: p.produce(5, b"value"),
    "topic empty": lambda p: p.produce(""),
    "topic with zero": lambda p: p.produce("to\0pic"),
    "topic twice": lambda p: p.produce("topic", topic="topic"),
    "too many": lambda p: p.produce("topic", b"v", b"k", 0, None, None, 0, None, 9),
    "too many, with a callback": lambda p: p.produce("topic", b"v", b"k", 0, nothing, None, 0, None, 9),
    "unknown name": lambda p: p.produce("topic", nonsense=1),
    "unknown name made at run time": lambda p: p.produce("topic", **{at_run_time("non", "sense"): nothing}),
    "value number": lambda p: p.produce("topic", 5),
    "value bytearray": lambda p: p.produce("topic", bytearray(b"v")),
    "value memoryview": lambda p: p.produce("topic", memoryview(b"v")),
    "value list, key number": lambda p: p.produce("topic", ["v"], key=5),
    "lone surrogate": lambda p: p.produce("topic", "\ud800"),
    "lone surrogate as key": lambda p: p.produce("topic", key="\ud800"),
    "partition none": lambda p: p.produce("topic", b"v", partition=None),
    "partition text": lambda p: p.produce("topic", b"v", partition="0"),
    "partition too large": lambda p: p.produce("topic", b"v", partition=2**40),
    "timestamp none": lambda p: p.produce("topic", timestamp=None),
    "all none": lambda p: p.produce("topic", None, None, None, None, None, None, None),
    "all none by name": lambda p: p.produce(
        "topic", partition=None, callback=None, on_delivery=None, timestamp=None, headers=None
    ),
    "headers number": lambda p: p.produce("topic", headers=5),
    "headers of numbers": lambda p: p.produce("topic", headers=[1, 2]),
    "header value number": lambda p: p.produce("topic", headers={"a": 1}),
    "too large": lambda p: p.produce("topic", b"x" * 2_000_000),
}


@pytest.mark.parametrize("form", [pytest.param(form, id=name) for name, form in FORMS.items()])
def test_every_form_comes_to_the_same(sides: Any, form: Any) -> None:
    sides.compare(form)


def test_a_partition_that_does_not_exist_is_refused_the_same_way(sides: Any) -> None:
    def form(producer: Any) -> None:
        producer.produce("topic", b"known by now")
        producer.flush(30)
        producer.produce("topic", b"value", partition=99)

    assert sides.compare(form)[:2] == ("raised", "KafkaException")


REPORTED: dict[str, Any] = {
    "callback": lambda f: {"callback": f},
    "on_delivery": lambda f: {"on_delivery": f},
    "on_delivery beside callback": lambda f: {"callback": f, "on_delivery": lambda *_: f("wrong", None)},
    "none hides": lambda f: {"callback": None, "on_delivery": f},
    "made at run time": lambda f: {at_run_time("on_", "delivery"): f},
}


@pytest.mark.parametrize("with_default", [False, True])
@pytest.mark.parametrize("form", [pytest.param(form, id=name) for name, form in REPORTED.items()])
def test_the_same_reports_reach_the_same_callbacks(sides: Any, form: Any, with_default: bool) -> None:
    seen: list[list[Any]] = []
    for make in (sides.stock, sides.facade):
        told: list[Any] = []

        def default(error: Any, message: Any, told: list[Any] = told) -> None:
            told.append(("default", error, message.value()))

        def report(error: Any, message: Any, told: list[Any] = told) -> None:
            told.append(
                (error, message and (message.topic(), message.value(), message.key(), message.partition()))
            )

        producer = make(**({"on_delivery": default} if with_default else {}))
        for i in range(3):
            producer.produce("topic", str(i), b"key", 1, **form(report))
        producer.produce("topic", b"last", partition=1)
        assert producer.flush(30) == 0
        seen.append(told)
    assert seen[1] == seen[0]


def test_reports_come_in_the_order_of_the_records(make: Any) -> None:
    told: list[int] = []
    producer = make()
    for i in range(500):
        producer.produce("topic", b"v", partition=0, on_delivery=lambda e, m, i=i: told.append(i))
        if i % 7 == 0:
            producer.poll(0)
    producer.flush(30)
    assert told == list(range(500))


def test_a_callback_that_cannot_be_called_raises_in_flush(make: Any) -> None:
    producer = make()
    producer.produce("topic", b"value", on_delivery=5)
    # The client makes a SystemError of the TypeError; the pure gate does not follow it there.
    with pytest.raises((SystemError, TypeError)):
        producer.flush(30)
    assert producer.flush(30) == 0


def test_callbacks_for_errors_alone_are_not_told_of_successes(make: Any) -> None:
    told: list[Any] = []
    producer = make(**{"delivery.report.only.error": True})
    producer.produce("topic", b"value", on_delivery=lambda *report: told.append(report))
    assert (producer.flush(30), told) == (0, [])
