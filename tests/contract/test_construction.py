"""All forms in which a producer can be made."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import confluent_kafka
import pytest

import kafka_throttle
from kafka_throttle import ConfigurationError, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

CONF = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}


def nothing(*args: Any) -> None: ...


def compare(sides: Any, form: Callable[[type], Any]) -> tuple[str, ...]:
    stock, facade = (
        sides.outcome(lambda cls=cls: isinstance(form(cls), confluent_kafka.Producer))
        for cls in sides.classes
    )
    assert facade == stock
    return stock


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda cls: cls(CONF), id="dict"),
        pytest.param(lambda cls: cls(CONF, acks="all"), id="dict and keywords"),
        pytest.param(lambda cls: cls({**CONF, "acks": "nonsense"}, acks="all"), id="keywords win"),
        pytest.param(lambda cls: cls(**CONF), id="keywords"),
        pytest.param(lambda cls: cls(CONF, logger=logging.getLogger("test")), id="logger"),
        pytest.param(lambda cls: cls({**CONF, "logger": logging.getLogger("test")}), id="logger inside"),
        pytest.param(lambda cls: cls({}), id="empty dict"),
        pytest.param(lambda cls: cls({**CONF, "error_cb": nothing, "stats_cb": nothing}), id="callbacks"),
        pytest.param(lambda cls: cls({**CONF, "throttle_cb": nothing, "on_delivery": nothing}), id="more callbacks"),
        pytest.param(lambda cls: cls({**CONF, "default.topic.config": {"acks": 1}}), id="default.topic.config"),
    ],
)  # fmt: skip
def test_a_producer_is_made(sides: Any, form: Callable[[type], Any]) -> None:
    assert compare(sides, form) == ("returned", "True")


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda cls: cls(), id="nothing"),
        pytest.param(lambda cls: cls(None), id="None"),
        pytest.param(lambda cls: cls([]), id="list"),
        pytest.param(lambda cls: cls("x"), id="text"),
        pytest.param(lambda cls: cls({}, {}), id="two dicts"),
        pytest.param(lambda cls: cls({}, {}, **CONF), id="two dicts and keywords"),
        pytest.param(lambda cls: cls({**CONF, "no.such.property": 1}), id="unknown property"),
        pytest.param(lambda cls: cls({**CONF, "linger.ms": "soon"}), id="wrong value"),
        pytest.param(lambda cls: cls({**CONF, "linger.ms": -1}), id="value out of range"),
        pytest.param(lambda cls: cls({**CONF, 5: 6}), id="key that is no text"),
        pytest.param(lambda cls: cls({**CONF, "queue.buffering.max.messages": "many"}), id="wrong limit"),
        pytest.param(lambda cls: cls({**CONF, "delivery.report.only.error": "yes"}), id="wrong truth value"),
        *(
            pytest.param(lambda cls, name=name, value=value: cls({**CONF, name: value}), id=f"{name}={value}")
            for name in ("error_cb", "stats_cb", "throttle_cb", "on_delivery", "logger")
            for value in (None, 5)
        ),
    ],
)
def test_wrong_forms_raise_the_same_words(sides: Any, form: Callable[[type], Any]) -> None:
    compare(sides, form)


def test_some_of_these_really_raise(sides: Any) -> None:
    assert compare(sides, lambda cls: cls()) == ("raised", "TypeError", "expected configuration dict")
    assert compare(sides, lambda cls: cls({**CONF, "error_cb": 5}))[:2] == ("raised", "TypeError")


def test_the_applications_dict_is_left_alone(make: Any) -> None:
    default = {"acks": 1}
    conf = {**CONF, "error_cb": nothing, "default.topic.config": default, "client.id": "a"}
    before = dict(conf)
    make(**conf)
    kafka_throttle.Producer(conf)
    assert (conf, default) == (before, {"acks": 1})


def test_no_producer_is_made_twice(sides: Any) -> None:
    def again(producer: Any) -> None:
        producer.__init__(CONF)

    assert sides.compare(again)[:2] == ("raised", "RuntimeError")


def test_one_that_was_never_made_says_so(sides: Any) -> None:
    for call in (
        lambda p: p.produce("topic"),
        lambda p: p.poll(0),
        lambda p: p.flush(0),
        lambda p: p.produce_batch("topic", [{"value": b"1"}]),
        lambda p: p.list_topics(timeout=0),
        len,
        bool,
    ):
        stock, facade = (
            sides.outcome(lambda cls=cls, call=call: call(cls.__new__(cls))) for cls in sides.classes
        )
        assert facade == stock
    assert repr(kafka_throttle.Producer.__new__(kafka_throttle.Producer)) == "<Producer not throttled>"


def test_the_facade_is_configured_beside_the_client() -> None:
    producer = kafka_throttle.Producer(CONF, throttle=Throttle(limit=kafka_throttle.Fixed(7)))
    assert producer.statistics().limit_records in {0, 7}
    with pytest.raises(ConfigurationError):
        kafka_throttle.Producer({**CONF, "throttle.no_such_key": 1})
    with pytest.raises(TypeError, match="expected configuration dict"):
        kafka_throttle.Producer(throttle=Throttle())


def test_it_is_one_of_the_clients_producers(sides: Any) -> None:
    producer = sides.facade()
    assert isinstance(producer, confluent_kafka.Producer)
    assert isinstance(producer, confluent_kafka.cimpl.Producer)
    assert issubclass(kafka_throttle.SerializingProducer, confluent_kafka.SerializingProducer)
    assert issubclass(kafka_throttle.SerializingProducer, kafka_throttle.Producer)
