"""Subclasses, mixins, mocks, documentation, and tools that wrap or replace classes."""

from __future__ import annotations

import inspect
import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any
from unittest import mock

import confluent_kafka
import pytest
from confluent_kafka import cimpl

import kafka_throttle
from kafka_throttle import Fixed, Producer, SerializingProducer, Throttle

if TYPE_CHECKING:
    from collections.abc import Iterator

NARROW = Throttle(limit=Fixed(2))


@pytest.fixture
def conf(bootstrap: str) -> dict[str, Any]:
    return {"bootstrap.servers": bootstrap, "linger.ms": 1, "log_level": 0}


# ---- subclasses


def test_every_public_name_of_the_client_is_there() -> None:
    names = {name for name in dir(confluent_kafka.Producer) if not name.startswith("__")}
    assert names - set(dir(Producer)) == set()


@pytest.mark.parametrize("cls", [Producer, SerializingProducer])
def test_every_attribute_is_documented_as_the_client_wants_it(cls: type) -> None:
    undocumented = [
        name
        for name, value in vars(cls).items()
        if not name.startswith("__") and (value.__doc__ is None or ":" not in value.__doc__)
    ]
    assert undocumented == []


def test_methods_that_run_callbacks_are_all_the_facades_own() -> None:
    # What is left to the client does not run callbacks.
    inherited = {
        name
        for name in dir(confluent_kafka.Producer)
        if callable(getattr(Producer, name)) and getattr(Producer, name) is getattr(cimpl.Producer, name)
    }
    assert {name for name in inherited if not name.startswith("__")} <= {"purge"}


def test_signatures_can_be_read(conf: dict[str, Any]) -> None:
    names = ["topic", "value", "key", "partition", "callback", "on_delivery", "timestamp", "headers"]
    producer = Producer(conf)
    assert list(inspect.signature(producer.produce).parameters) == names
    assert list(inspect.signature(Producer.produce).parameters) == ["self", *names]
    assert str(inspect.signature(producer.poll)) == "(timeout=-1)"


@pytest.mark.parametrize("base", [confluent_kafka.Producer, Producer])
def test_a_subclass_overrides_produce_and_calls_super(conf: dict[str, Any], sides: Any, base: Any) -> None:
    class Prefixing(base):  # type: ignore[misc]
        def __init__(self, conf: dict[str, Any], prefix: str) -> None:
            super().__init__(conf)
            self.prefix = prefix

        def produce(self, topic: str, value: Any = None, **kwargs: Any) -> Any:
            return super().produce(topic, self.prefix + value, **kwargs)

    told: list[Any] = []
    producer = sides.adopt(Prefixing(conf, prefix=">"))
    for _ in range(3):
        producer.produce("topic", "v", on_delivery=lambda error, message: told.append(message.value()))
    assert (producer.flush(30), told) == (0, [b">v"] * 3)


def test_a_subclass_that_overrides_poll_is_never_polled_by_the_facade(
    conf: dict[str, Any], sides: Any
) -> None:
    class Noisy(Producer):
        polled = 0

        def poll(self, *args: Any) -> int:
            self.polled += 1
            return super().poll(*args)  # type: ignore[no-any-return]

    producer = sides.adopt(Noisy(conf, throttle=NARROW))
    for _ in range(50):
        producer.produce("topic", b"v")
    assert producer.flush(30) == 0
    assert (producer.polled, producer.poll(0), producer.polled) == (0, 0, 1)


@pytest.mark.parametrize("base", [confluent_kafka.Producer, Producer])
def test_cooperative_inheritance_goes_through_everybody(conf: dict[str, Any], sides: Any, base: Any) -> None:
    calls: list[str] = []

    class Before:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            calls.append("before")
            super().__init__(*args, **kwargs)

        def produce(self, *args: Any, **kwargs: Any) -> None:
            calls.append("produce")
            super().produce(*args, **kwargs)  # type: ignore[misc]

    class Both(Before, base, ABC):  # type: ignore[misc]
        def named(self) -> str:
            return "named"

    producer = sides.adopt(Both(conf))
    producer.produce("topic", b"v")
    assert (calls, producer.named(), producer.flush(30)) == (["before", "produce"], "named", 0)


def test_an_abstract_subclass_stays_abstract(conf: dict[str, Any]) -> None:
    class Abstract(Producer, ABC):
        @abstractmethod
        def missing(self) -> None: ...

    class Concrete(Abstract):
        def missing(self) -> None: ...

    assert Concrete(conf).missing() is None


@pytest.mark.parametrize("base", [confluent_kafka.Producer, Producer])
def test_a_subclass_may_look_up_attributes_by_itself(conf: dict[str, Any], sides: Any, base: Any) -> None:
    class Dynamic(base):  # type: ignore[misc]
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return name

    producer = sides.adopt(Dynamic(conf))
    producer.produce("topic", b"v")
    assert (producer.anything, producer.flush(30)) == ("anything", 0)


@pytest.mark.parametrize("base", [confluent_kafka.Producer, Producer])
def test_produce_can_get_one_more_name(conf: dict[str, Any], sides: Any, base: Any) -> None:
    class Sending(base):  # type: ignore[misc]
        send = base.produce

    producer, other = sides.adopt(Sending(conf)), sides.adopt(base(conf))
    producer.send("topic", b"v")
    other.produce("topic", b"v")
    assert (producer.flush(30), other.flush(30)) == (0, 0)


# ---- mocks


def test_mocks_of_the_class_know_its_methods() -> None:
    for double in (mock.Mock(spec=Producer), mock.create_autospec(Producer, instance=True)):
        double.produce("topic", b"v", on_delivery=print)
        double.flush(5)
        assert isinstance(double, Producer)
        with pytest.raises(AttributeError):
            double.no_such_method()


def test_a_patched_produce_is_what_new_producers_have(conf: dict[str, Any]) -> None:
    with mock.patch.object(Producer, "produce") as produce:
        Producer(conf).produce("topic", b"v")
    produce.assert_called_once_with("topic", b"v")


def test_produce_can_be_patched_on_one_producer(conf: dict[str, Any], sides: Any) -> None:
    producer = sides.adopt(Producer(conf))
    with mock.patch.object(producer, "produce") as produce:
        producer.produce("topic", b"v")
    produce.assert_called_once_with("topic", b"v")
    producer.produce("topic", b"v")
    assert producer.statistics().offered == 1


# ---- tracing tools


class Traced(cimpl.Producer):  # type: ignore[misc]
    """What OpenTelemetry and Datadog put in the place of the client's class."""

    spans: list[tuple[str, Any]] = []  # noqa: RUF012 - emptied by the fixture

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.spans.append(("made", None))
        super().__init__(*args, **kwargs)

    def produce(self, topic: str, value: Any = None, *args: Any, **kwargs: Any) -> None:
        headers = kwargs.setdefault("headers", [])
        headers.append(("traceparent", b"1"))
        self.spans.append(("produce", topic))
        super().produce(topic, value, *args, **kwargs)

    def poll(self, timeout: float = -1) -> Any:
        self.spans.append(("poll", timeout))
        return super().poll(timeout)


@pytest.fixture(params=["confluent_kafka", "confluent_kafka.cimpl"])
def spans(request: pytest.FixtureRequest) -> Iterator[list[tuple[str, Any]]]:
    """Trace: new producers of whoever looks the class up from now on."""
    Traced.spans.clear()
    with mock.patch(f"{request.param}.Producer", Traced):
        yield Traced.spans


def of(spans: list[tuple[str, Any]], name: str) -> list[Any]:
    return [what for span, what in spans if span == name]


@pytest.mark.parametrize("throttle", [None, NARROW, Throttle(enabled=False)], ids=["open", "narrow", "off"])
def test_a_tracing_tool_sees_each_record_once(
    conf: dict[str, Any], spans: list[tuple[str, Any]], throttle: Throttle | None
) -> None:
    told: list[Any] = []
    producer = Producer(conf, throttle=throttle)
    for _ in range(20):
        producer.produce(
            "topic", b"v", headers=[("a", b"1")], on_delivery=lambda error, message: told.append(error)
        )
    assert producer.flush(30) == 0
    assert (of(spans, "made"), of(spans, "produce"), told) == ([None], ["topic"] * 20, [None] * 20)
    if throttle is None or throttle.enabled:
        assert producer.statistics().delivered == 20
    producer.poll(0)
    assert of(spans, "poll")[-1] == 0


@pytest.mark.usefixtures("spans")
def test_a_traced_producer_is_still_what_it_was(conf: dict[str, Any]) -> None:
    producer = Producer(conf)
    assert isinstance(producer, Traced)
    assert isinstance(producer, Producer)
    assert (type(producer).__name__, type(producer).__qualname__) == ("Producer", "Producer")
    assert type(producer) is type(Producer(conf))


def test_a_wrapper_that_comes_later_is_seen(conf: dict[str, Any], spans: list[tuple[str, Any]]) -> None:
    producer = Producer(conf)
    seen: list[Any] = []
    original = Traced.produce

    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        seen.append(args)
        original(self, *args, **kwargs)

    with mock.patch.object(Traced, "produce", wrapper):
        producer.produce("topic", b"v")
    assert (producer.flush(30), seen, of(spans, "produce")) == (0, [("topic", b"v")], ["topic"])


class Wrapper:
    """A descriptor that passes for a function, as wrapt's do; called unbound, it does not know its instance."""

    def __init__(self, wrapped: Any, seen: list[Any]) -> None:
        self.wrapped, self.seen = wrapped, seen

    @property
    def __class__(self) -> Any:
        return type(self.wrapped)

    def __get__(self, instance: Any, owner: Any) -> Any:
        def bound(*args: Any, **kwargs: Any) -> Any:
            self.seen.append((type(instance).__name__, args))
            return self.wrapped.__get__(instance, owner)(*args, **kwargs)

        return bound

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("called unbound")


def test_a_wrapper_that_passes_for_a_function_is_bound(conf: dict[str, Any], spans: list[Any]) -> None:
    seen: list[Any] = []
    with (
        mock.patch.object(Traced, "produce", Wrapper(Traced.produce, seen)),
        mock.patch.object(Traced, "poll", Wrapper(Traced.poll, seen)),
    ):
        producer = Producer(conf)
        producer.produce("topic", b"v")
        producer.poll(0)
        producer.flush(30)
    assert [call for call in seen if call[1][0] == "topic"] == [("Producer", ("topic", b"v"))]
    assert ("Producer", (0,)) in seen
    assert producer.statistics().delivered == 1


def test_the_facade_can_be_wrapped_itself(conf: dict[str, Any], sides: Any) -> None:
    seen: list[Any] = []
    with mock.patch.object(Producer, "produce", Wrapper(Producer.produce, seen)):
        producer = sides.adopt(Producer(conf))
        producer.produce("topic", b"v")
    assert seen == [("Producer", ("topic", b"v"))]
    assert producer.statistics().offered == 1


def test_the_facade_in_the_clients_place_is_no_tracing_tool(conf: dict[str, Any]) -> None:
    with (
        mock.patch("confluent_kafka.Producer", Producer),
        mock.patch("confluent_kafka.cimpl.Producer", Producer),
    ):
        assert type(confluent_kafka.Producer(conf)) is Producer

        class Sub(Producer): ...

        assert type(Sub(conf)) is Sub


@pytest.mark.usefixtures("spans")
def test_serializing_producers_and_subclasses_are_traced(conf: dict[str, Any]) -> None:
    class Sub(SerializingProducer):
        pass

    for cls in (SerializingProducer, Sub):
        Traced.spans.clear()
        producer = cls(conf)
        producer.produce("topic", b"key", b"value", headers=[])
        assert (producer.flush(30), of(Traced.spans, "produce")) == (0, ["topic"])


# ---- SerializingProducer


def upper(value: Any, context: Any) -> bytes:
    return f"{context.topic}/{context.field}/{value}".upper().encode()


def failing(value: Any, context: Any) -> bytes:
    raise LookupError(value)


@pytest.mark.parametrize("cls", [confluent_kafka.SerializingProducer, SerializingProducer])
def test_key_comes_before_value_and_both_are_serialized(conf: dict[str, Any], sides: Any, cls: Any) -> None:
    told: list[Any] = []
    producer = sides.adopt(cls({**conf, "key.serializer": upper, "value.serializer": upper}))
    producer.produce(
        "topic", "k", "v", 0, lambda error, message: told.append((message.key(), message.value()))
    )
    producer.produce(
        topic="topic", value="v", key="k", on_delivery=lambda e, m: told.append((m.key(), m.value()))
    )
    assert producer.flush(30) == 0
    assert told == [(b"TOPIC/KEY/K", b"TOPIC/VALUE/V")] * 2


@pytest.mark.parametrize("which", ["key", "value"])
def test_a_serializer_that_raises_is_reported_the_same_way(
    conf: dict[str, Any], sides: Any, which: str
) -> None:
    seen = []
    for cls in (confluent_kafka.SerializingProducer, SerializingProducer):
        producer = sides.adopt(cls({**conf, f"{which}.serializer": failing}))
        seen.append(sides.outcome(lambda p=producer: p.produce("topic", "k", "v")))
    assert seen[1] == seen[0]
    assert seen[0][:2] == ("raised", f"{which.capitalize()}SerializationError")


@pytest.mark.parametrize(
    "call",
    [
        lambda p: p.produce("topic", b"k", b"v", callback=print),
        lambda p: p.produce(),
        lambda p: p.produce("topic", b"k", b"v", nonsense=1),
        lambda p: p.produce("topic", 5, b"v"),
        lambda p: p.produce("topic", b"k", b"v", -1, None, 0, None, 9),
    ],
)
def test_wrong_forms_of_the_serializing_produce_are_the_same(
    conf: dict[str, Any], sides: Any, call: Any
) -> None:
    stock, facade = (
        sides.outcome(lambda cls=cls: call(sides.adopt(cls(conf))))
        for cls in (confluent_kafka.SerializingProducer, SerializingProducer)
    )
    assert facade == stock


def test_a_serializing_producer_takes_the_facades_configuration(conf: dict[str, Any], sides: Any) -> None:
    producer = sides.adopt(SerializingProducer({**conf, "value.serializer": upper}, throttle=NARROW))
    for _ in range(20):
        producer.produce("topic", b"k", "v")
    assert (producer.flush(30), producer.statistics().delivered) == (0, 20)
    assert producer.statistics().limit_records == 2


def test_a_serializing_producer_can_be_given_type_parameters(conf: dict[str, Any]) -> None:
    producer = SerializingProducer[str, bytes](conf)
    assert isinstance(producer, SerializingProducer)


# ---- switched off


def test_switched_off_everything_goes_straight_to_the_client(
    conf: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_THROTTLE_ENABLED", "0")
    told: list[Any] = []
    conf["on_delivery"] = lambda error, message: told.append(message.value())
    producer = Producer(conf, logger=logging.getLogger("test"))
    producer.produce("topic", b"1")
    producer.produce_batch("topic", [{"value": b"2"}])
    assert (producer.poll(0) >= 0, producer.flush(30), len(producer), sorted(told)) == (
        True,
        0,
        0,
        [b"1", b"2"],
    )
    assert repr(producer) == "<Producer not throttled>"
    with pytest.raises(RuntimeError, match="switched off"):
        producer.statistics()
    assert isinstance(producer.list_topics(timeout=10), confluent_kafka.admin.ClusterMetadata)
    with producer:
        pass
    with pytest.raises(RuntimeError):
        producer.produce("topic", b"3")


def test_the_name_of_the_gate_is_told(conf: dict[str, Any]) -> None:
    producer = kafka_throttle.Producer(conf)
    assert producer.statistics().gate in {"compiled", "pure"}
    assert repr(producer).endswith(f"{producer.statistics().gate} gate>")
