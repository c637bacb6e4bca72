"""`Producer` and `SerializingProducer`: the client's classes with a gate in front.

From produce() to the outcome of a record:

1. ``Producer.produce`` is the gate (``_core/gate.py``). Below the edge the record goes straight to the client.
2. At the edge, `Admission.at_edge` asks the engine for room, waits for it or refuses, as the topic's rule says.
3. The client sends. Each report is counted by the meter (``_adapters/acks.py``), from which the engine learns how far
   the edge may go; the user's callback runs in the user's own poll() or flush().
"""

from __future__ import annotations

import os
from functools import partial
from types import FunctionType, MethodDescriptorType
from typing import TYPE_CHECKING, Any

import confluent_kafka
from confluent_kafka import KafkaError, cimpl

from kafka_throttle import config
from kafka_throttle._adapters.acks import InterceptedAcks, ReportedAcks, interceptors
from kafka_throttle._adapters.confluent import ClientSettings, instrumented_client
from kafka_throttle._admission import Admission
from kafka_throttle._core.gate import PureGate, gated_method
from kafka_throttle._registry import register

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from kafka_throttle._core.gate import Gate
    from kafka_throttle._throttle import Throttle
    from kafka_throttle.statistics import Statistics

__all__ = ["Producer", "SerializingProducer"]

_STOCK = cimpl.Producer
_COMPILED = interceptors()
_CALLBACKS = ("error_cb", "stats_cb", "throttle_cb", "on_delivery")


class Producer(_STOCK):
    """confluent_kafka.Producer with admission control: bounded delay instead of a full buffer.

    Everything that works with ``confluent_kafka.Producer`` works here, in every form:

        producer = Producer({"bootstrap.servers": "localhost:9092"})
        producer.produce("orders", key=b"42", value=b"...", on_delivery=report)
        producer.flush()

    What differs: produce() waits (at most 60 s, as the Java client does) while Kafka takes less than is offered, and
    then raises `Rejected`, which is a BufferError. See `Throttle` for other policies.

    Args:
        conf: The client's configuration, as a dict, keywords, or both; ``throttle.*`` keys configure the facade.
        logger: As for the client.
        throttle: The facade's configuration; None: from `conf` and the environment, else the defaults.

    Raises:
        ConfigurationError: The facade's configuration cannot be used; all problems are named at once.
        KafkaException: The client refuses its own configuration.
    """

    __slots__ = ("__dict__", "__weakref__", "_admission", "_gate")

    _gate: Gate
    _admission: Admission

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make an instance, below the class that a tracing tool has put in the client's place, if there is one."""
        return _STOCK.__new__(_traced(cls), *args, **kwargs)

    def __init__(self, *args: Any, throttle: Throttle | None = None, **kwargs: Any) -> None:
        if len(args) > 1 or not (args or kwargs) or (args and not isinstance(args[0], dict)):
            super().__init__(*args, **kwargs)  # raises, in the client's words
            return
        conf, resolved = config.resolve(throttle, {**(args[0] if args else {}), **kwargs}, os.environ)
        if not resolved.enabled:
            super().__init__(conf)
            return
        meter = InterceptedAcks(_COMPILED) if _COMPILED else ReportedAcks()
        admission = Admission(
            resolved,
            ClientSettings.of(conf),
            meter,
            partial(_make_gate, type(self), meter),
            _poll_of(type(self)),
        )
        self._stand_in(conf, admission)
        meter.prepare(conf, admission.gate)
        with meter.constructing():
            super().__init__(conf)
        self._admission, self._gate = admission, admission.gate
        if isinstance(self._gate, PureGate) and type(self).produce is Producer.produce:
            self.produce = self._gate.shortcut(self)  # type: ignore[method-assign]
        register(admission)

    @staticmethod
    def _stand_in(conf: dict[str, Any], admission: Admission) -> None:
        """Replace the user's callbacks in the client's configuration."""
        for name in _CALLBACKS:
            if callable(conf.get(name)):
                conf[name] = admission.gate.stand_in(conf[name])
        theirs = conf.get("throttle_cb")

        def take_throttle(event: Any) -> Any:
            admission.note_broker_throttle(event)
            return theirs(event) if theirs is not None else None

        if theirs is None or callable(theirs):
            conf["throttle_cb"] = take_throttle
        if hasattr(conf.get("logger"), "log"):
            conf["logger"] = _DeferringLogger(admission.gate, conf["logger"])

    produce = gated_method(
        _STOCK.produce,
        """Hand one record to the client when there is room, else do what its rule says: by default, wait.

        Arguments as for the client: topic, value, key, partition, callback or on_delivery, timestamp, headers.

        Raises:
            Rejected: There is no room and the rule's patience is at its end; it is a BufferError.
            ForkedProducerError: The producer was created before os.fork().
        """,
        compiled=_COMPILED is not None,
    )

    def produce_batch(self, topic: str, messages: list[dict[str, Any]], *args: Any, **kwargs: Any) -> int:
        """Hand a batch to the client, in parts when there is no room for all: see the client's produce_batch.

        Returns:
            Messages that were accepted; the others have ``_error`` set, as with the client.
        """
        admission = self._control()
        if admission is None or not isinstance(messages, list) or not all(type(m) is dict for m in messages):
            return super().produce_batch(topic, messages, *args, **kwargs)
        return _produce_batch(self, admission, super().produce_batch, topic, messages, args, kwargs)

    def poll(self, *args: Any, **kwargs: Any) -> int:
        """Serve callbacks: see the client's poll. What the facade had to put off runs first."""
        admission = self._control()
        if admission is None:
            return super().poll(*args, **kwargs)
        ran = admission.call("poll", admission.run_deferred) if admission.gate.deferred else 0
        if ran:
            return ran + admission.call("poll", super().poll, 0)
        return admission.call("poll", super().poll, *args, **kwargs)

    def flush(self, *args: Any, **kwargs: Any) -> int:
        """Wait until nothing is in flight: see the client's flush."""
        admission = self._control()
        if admission is None:
            return super().flush(*args, **kwargs)
        return admission.call("flush", self._flush, admission, super().flush, args, kwargs)

    @staticmethod
    def _flush(
        admission: Admission, flush: Callable[..., int], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> int:
        raised = admission.run_all_deferred()
        left = flush(*args, **kwargs)
        raised = (
            admission.run_all_deferred() or raised
        )  # another thread's wait may have put some off meanwhile
        if raised is not None:
            raise raised
        return left

    def close(self, *args: Any, **kwargs: Any) -> bool:
        """Flush, and close the client: see the client's close. In a forked child: nothing is left to do."""
        return self._close("close", super().close, *args, **kwargs)

    def __exit__(self, *args: Any) -> Any:
        return self._close("__exit__", super().__exit__, *args)

    def _close(self, name: str, close: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        admission = self._control()
        if admission is None:
            return close(*args, **kwargs)
        if admission.orphaned:
            return True
        try:
            return admission.call(name, close, *args, **kwargs)
        finally:
            admission.close()
            raised = admission.run_all_deferred()
            if raised is not None:
                raise raised

    def __len__(self) -> int:
        admission = self._control()
        return super().__len__() + (len(admission.gate.deferred) if admission else 0)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        admission = self._control()
        if admission is None:
            return f"<{type(self).__name__} not throttled>"
        now = admission.statistics()
        return (
            f"<{type(self).__name__} {now.client_id} {now.state}, {now.in_flight}/{now.limit_records} in flight, "
            f"{now.gate} gate>"
        )

    def statistics(self) -> Statistics:
        """Return an immutable snapshot: the ledger, the limit, the signals, and the client's figures.

        Raises:
            RuntimeError: The facade is switched off (``enabled=False``), so that nothing is counted.
        """
        admission = self._control()
        if admission is None:
            raise RuntimeError(
                "no statistics: kafka_throttle is switched off for this producer (enabled=False)"
            )
        return admission.statistics()

    def _control(self) -> Admission | None:
        """Return the admission, or None when the facade is switched off or the client was never initialised."""
        return getattr(self, "_admission", None)


def _serving(name: str) -> Any:
    """Return a method that forwards to the client's and may run callbacks, after those that were put off."""
    stock = getattr(_STOCK, name)

    def method(self: Producer, *args: Any, **kwargs: Any) -> Any:
        forward = getattr(super(Producer, self), name)
        admission = self._control()
        if admission is None:
            return forward(*args, **kwargs)
        if admission.gate.deferred:
            raised = admission.call(name, admission.run_all_deferred)
            if raised is not None:
                raise raised
        return admission.call(name, forward, *args, **kwargs)

    method.__name__ = name
    method.__qualname__ = f"Producer.{name}"
    method.__doc__ = stock.__doc__
    method.__text_signature__ = getattr(stock, "__text_signature__", None)  # type: ignore[attr-defined]
    return method


# Every other call that waits in the client: inside a callback the client would abort the process.
for _name in (
    "list_topics",
    "cluster_id",
    "init_transactions",
    "begin_transaction",
    "commit_transaction",
    "abort_transaction",
    "send_offsets_to_transaction",
    "set_sasl_credentials",
):
    if hasattr(_STOCK, _name):
        setattr(Producer, _name, _serving(_name))


class SerializingProducer(confluent_kafka.SerializingProducer, Producer):  # type: ignore[misc]
    """confluent_kafka.SerializingProducer with admission control; see `Producer`.

    Args:
        conf: The client's configuration with ``key.serializer`` and ``value.serializer``.
        throttle: The facade's configuration, as for `Producer`.
    """

    def __init__(self, conf: dict[str, Any], *, throttle: Throttle | None = None) -> None:
        super().__init__({**conf, "throttle": throttle} if throttle is not None else conf)


class _DeferringLogger:
    """Stands in for the user's logger: the client calls only its log()."""

    def __init__(self, gate: Gate, logger: Any) -> None:
        self.log = gate.stand_in(logger.log)


_traced_classes: dict[tuple[type, type], type] = {}


def _traced(cls: type) -> type:
    """Return `cls`, below the class that a tracing tool has put in the client's place, if there is one."""
    traced = instrumented_client(Producer)
    if traced is None or issubclass(cls, traced):
        return cls
    key = (cls, traced)
    if key not in _traced_classes:
        namespace = {"__doc__": cls.__doc__, "__module__": cls.__module__, "__slots__": ()}
        _traced_classes[key] = type(cls.__name__, (cls, traced), namespace)
    return _traced_classes[key]


def _next_in_line(cls: type, name: str) -> Callable[..., Any]:
    """Return what ``super(Producer, self).<name>`` finds, as a function of the instance and the arguments."""
    following = cls.__mro__[cls.__mro__.index(Producer) + 1 :]
    found = next(base.__dict__[name] for base in following if name in base.__dict__)
    if isinstance(found, (MethodDescriptorType, FunctionType)):
        return found

    def through_super(self: Producer, *args: Any, **kwargs: Any) -> Any:
        return getattr(super(Producer, self), name)(*args, **kwargs)

    return through_super


def _poll_of(cls: type) -> Callable[[Any, float], int]:
    return _next_in_line(cls, "poll")


def _at_edge(producer: Producer, *args: Any, **kwargs: Any) -> None:
    return producer._admission.at_edge(producer, *args, **kwargs)


def _make_gate(cls: type, meter: InterceptedAcks | ReportedAcks, deferred: deque[tuple[Any, ...]]) -> Gate:
    forward = _next_in_line(cls, "produce")
    if isinstance(meter, InterceptedAcks):
        from kafka_throttle._core._gate import Gate as CompiledGate  # noqa: PLC0415 - present when acks are intercepted

        gate: Gate = CompiledGate(forward, _at_edge, deferred, meter.counter)
        return gate
    return PureGate(forward, _at_edge, deferred, meter.count_report)


def _produce_batch(
    producer: Producer,
    admission: Admission,
    produce_batch: Callable[..., int],
    topic: str,
    messages: list[dict[str, Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> int:
    """Hand a batch over in parts, each as large as there is room for."""
    gate = admission.gate
    # The client reads "callback" per message: stand-ins go into copies, and "_error" comes back from them.
    sent = [
        {**m, "callback": gate.report(m["callback"])} if callable(m.get("callback")) else m for m in messages
    ]
    if len(args) > 1 and callable(args[1]):
        args = (args[0], gate.report(args[1]), *args[2:])
    for name in ("callback", "on_delivery"):
        if callable(kwargs.get(name)):
            kwargs = {**kwargs, name: gate.report(kwargs[name])}
    accepted = done = 0
    while done < len(sent):
        size = _batch_bytes(sent[done : done + 1])
        room = admission.reserve(producer, topic, len(sent) - done, size)
        if not room:
            break
        part = sent[done : done + room]
        good = gate.batch(produce_batch, topic, part, *args, **kwargs)
        gate.add(good, _batch_bytes([m for m in part if "_error" not in m]) if good else 0)
        accepted += good
        done += room
    for original, copy in zip(messages, sent, strict=True):
        if copy is not original and "_error" in copy:
            original["_error"] = copy["_error"]
    if done < len(sent):
        admission.reject_batch(len(sent) - done, _batch_bytes(sent[done:]))
        for message in messages[done:]:
            message["_error"] = KafkaError(
                KafkaError._QUEUE_FULL, "kafka_throttle: there is no room for this message"
            )
    return accepted


def _batch_bytes(messages: list[dict[str, Any]]) -> int:
    parts = (m.get(name) for m in messages for name in ("value", "key"))
    return sum(len(part) for part in parts if isinstance(part, (bytes, str)))
