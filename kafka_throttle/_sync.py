"""`Producer` and `SerializingProducer`: the client's classes with a gate in front.

From produce() to the outcome of a record:

1. ``Producer.produce`` is the gate (``_gates/gate.py``). Below the edge the record goes straight to the client.
2. At the edge, `Admission.at_edge` asks the engine for room, waits for it or refuses, as the topic's rule says.
3. The client sends. Each report is counted by the meter (``_adapters/acks.py``), from which the engine learns how far
   the edge may go; the user's callback runs in the user's own poll() or flush().
"""

from __future__ import annotations

import os
import types
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import confluent_kafka

from kafka_throttle import config
from kafka_throttle._adapters.acks import InterceptedAcks, ReportedAcks, interceptors
from kafka_throttle._adapters.confluent import ClientSettings
from kafka_throttle._adapters.instrumented import STOCK, next_in_line, traced
from kafka_throttle._batch import produce_batch, with_stand_ins
from kafka_throttle._blocking import BlockingAdmission
from kafka_throttle._closing import flush_kept, serve_all, serve_last
from kafka_throttle._gates.gate import COMPILED, PureGate, gated_method, gated_poll
from kafka_throttle._registry import register

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from kafka_throttle._admission import Admission
    from kafka_throttle._gates.gate import Gate
    from kafka_throttle._shedding.shedding import Shedding
    from kafka_throttle._throttle import Throttle
    from kafka_throttle.statistics import Statistics

__all__ = ["SWITCHED_OFF", "Producer", "SerializingProducer"]

SWITCHED_OFF = "no statistics: kafka_throttle is switched off for this producer (enabled=False)"
_INTERCEPTORS = interceptors()
_CALLBACKS = ("error_cb", "stats_cb", "throttle_cb", "on_delivery")


class Producer(STOCK):
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

    # What produce() calls. The client's tests want a docstring on every name that does not begin with two underscores.
    __slots__ = ("__admission__", "__dict__", "__gate__", "__weakref__")

    __admission__: BlockingAdmission | None
    __gate__: Callable[..., None]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make an instance, below the class that a tracing tool has put in the client's place, if there is one."""
        made: Any = STOCK.__new__(traced(cls, Producer), *args, **kwargs)
        made.__admission__ = None
        return made

    def __init__(self, *args: Any, throttle: Throttle | None = None, **kwargs: Any) -> None:
        if len(args) > 1 or not (args or kwargs) or (args and not isinstance(args[0], dict)):
            # Raises, in the client's words; but it takes empty keywords for a configuration.
            super().__init__(*args, **kwargs) if kwargs else super().__init__(*args)
            return
        conf, resolved = config.resolve(throttle, {**(args[0] if args else {}), **kwargs}, os.environ)
        if resolved.enabled:
            self.__begin__(conf, resolved, BlockingAdmission)
        else:
            super().__init__(conf)
            self.__gate__ = next_in_line(Producer, type(self), "produce")

    def __begin__(self, conf: dict[str, Any], resolved: Throttle, make_admission: Callable[..., Any]) -> None:
        """Construct the client, with a gate in front."""
        meter = InterceptedAcks(_INTERCEPTORS) if _INTERCEPTORS else ReportedAcks()
        poll = next_in_line(Producer, type(self), "poll")
        admission = make_admission(
            resolved, ClientSettings.of(conf), meter, partial(_make_gate, type(self), meter, poll), poll
        )
        if resolved.tracked and resolved.enabled:
            admission.shedding = _shedding(admission, conf)
        _stand_in(conf, admission)
        meter.prepare(conf, admission.gate)
        with ExitStack() as undo, meter.constructing():
            if admission.shedding is not None:
                undo.callback(admission.shedding.close)
            super().__init__(conf)
            undo.pop_all()
        self.__admission__ = admission
        self.__gate__ = admission.gate
        if isinstance(admission.gate, PureGate):
            self._take_shortcuts(admission.gate, poll)
        register(admission, self)
        if admission.shedding is not None:
            admission.shedding.start(self)

    def _take_shortcuts(self, gate: PureGate, client_poll: Callable[..., int]) -> None:
        """Put closures in the place of methods that nobody overrides: in Python, each call on the way counts."""
        if type(self).produce is _PRODUCE:
            self.produce = gate.produce_of(self)
        if type(self).poll is _POLL:
            self.poll = gate.poll_of(self, client_poll, _POLL)

    produce = gated_method(
        STOCK.produce,
        """Hand one record to the client when there is room, else do what its rule says: by default, wait.

        Arguments as for the client: topic, value, key, partition, callback or on_delivery, timestamp, headers.

        Raises:
            Rejected: There is no room and the rule's patience is at its end; it is a BufferError.
            ForkedProducerError: The producer was created before os.fork().
        """,
        compiled=_INTERCEPTORS is not None,
    )

    @gated_poll(compiled=_INTERCEPTORS is not None)
    def poll(self, *args: Any, **kwargs: Any) -> int:
        """Serve callbacks: see the client's poll. What the facade had to put off runs first."""
        admission = self.__admission__
        if admission is None:
            return super().poll(*args, **kwargs)
        return admission.polling.poll(super().poll, *args, **kwargs)

    def produce_batch(self, topic: str, messages: list[dict[str, Any]], *args: Any, **kwargs: Any) -> int:
        """Hand a batch to the client, in parts when there is no room for all: see the client's produce_batch.

        Returns:
            Messages that were accepted; the others have ``_error`` set, as with the client.
        """
        admission = self.__admission__
        if admission is None or not isinstance(topic, str) or not isinstance(messages, list):  # type: ignore[redundant-expr]
            return super().produce_batch(topic, messages, *args, **kwargs)
        forward = super().produce_batch
        defaults = {**dict(zip(("partition", "callback"), args, strict=False)), **kwargs}
        args, kwargs = with_stand_ins(admission.gate, args, kwargs)
        return produce_batch(
            self, admission, topic, messages, lambda part: forward(topic, part, *args, **kwargs), defaults
        )

    def flush(self, *args: Any, **kwargs: Any) -> int:
        """Wait until nothing is in flight: see the client's flush."""
        admission = self.__admission__
        if admission is None:
            return super().flush(*args, **kwargs)
        left: int
        if admission.shedding is None:
            left = admission.polling.call("flush", serve_all, admission, super().flush, args, kwargs)
        else:
            left = admission.polling.call("flush", flush_kept, admission, super().flush, *args, **kwargs)
        admission.tend()
        return left

    def drain(self, timeout: float = -1) -> int:
        """Refuse new records, and wait until everything is delivered that was accepted.

        produce() raises `Rejected` with reason ``"draining"`` from now on, whatever comes of it.

        Args:
            timeout: Longest wait in seconds; below 0 as with flush().

        Returns:
            Records that are left: in the client, held or on disk.
        """
        admission = self.__admission__
        if admission is not None:
            admission.drain()
        return self.flush(timeout)

    def purge(self, *args: Any, **kwargs: Any) -> None:
        """Give up what the client has, and what is held in memory: see the client's purge. What is on disk stays."""
        admission = self.__admission__
        if admission is not None and admission.shedding is not None:
            in_queue = args[0] if args else kwargs.get("in_queue", True)
            if in_queue:
                admission.shedding.purge()
        super().purge(*args, **kwargs)

    def close(self, *args: Any, timeout: float | None = None, **kwargs: Any) -> bool:
        """Flush, and close the client: see the client's close. In a forked child: nothing is left to do.

        Args:
            *args: As for the client.
            timeout: Longest wait in seconds for what was accepted; what is left in the client then is given up, and
                reported so, and what is on disk stays there. None: as long as the client would keep a record, but
                only moments for what is on disk and does not move.
            **kwargs: As for the client.

        Raises:
            SpoolError: Something could not be put on disk; the client is closed all the same.
        """
        admission = self.__admission__
        if admission is None:
            return super().close(*args, **kwargs)
        if admission.polling.orphaned:
            return True
        raised: Exception | None = None
        if timeout is not None and not admission.closed and not admission.gate.in_callback:
            patience = float(timeout)
            try:
                left = self.flush(patience)
            except Exception as error:  # noqa: BLE001 - whatever a callback raises, the client is closed; raised below
                left, raised = 1, error
            if admission.shedding is not None:
                admission.shedding.stop()  # or it would hand over again what is purged
            if left:
                admission.drain()  # or who waits would hand over again what is purged
                super().purge()
        flush_first = (super().flush, super().purge) if timeout is None else None
        closed: bool = admission.polling.call(
            "close", serve_last, admission, super().close, args, kwargs, flush_first
        )
        if raised is not None:
            raise raised
        return closed

    def __exit__(self, *args: object) -> Any:
        admission = self.__admission__
        if admission is None:
            return super().__exit__(*args)
        if admission.polling.orphaned:
            return None
        return admission.polling.call(
            "__exit__", serve_last, admission, super().__exit__, args, {}, (super().flush, super().purge)
        )

    def __len__(self) -> int:
        admission = self.__admission__
        return super().__len__() + (admission.kept if admission else 0)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        admission = self.__admission__
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
        admission = self.__admission__
        if admission is None:
            raise RuntimeError(SWITCHED_OFF)
        return admission.statistics()


_PRODUCE, _POLL = Producer.produce, Producer.poll


def _stand_in(conf: dict[str, Any], admission: Admission) -> None:
    """Replace the user's callbacks in the client's configuration."""
    gate = admission.gate
    for name in _CALLBACKS:
        if callable(conf.get(name)):
            conf[name] = gate.stand_in(conf[name])
    theirs = conf.get("throttle_cb")

    def take_throttle(event: Any) -> Any:
        admission.note_broker_throttle(event)
        return theirs(event) if theirs is not None else None

    if "throttle_cb" not in conf or callable(theirs):
        conf["throttle_cb"] = gate.guard(take_throttle)
    if hasattr(conf.get("logger"), "log"):
        conf["logger"] = _DeferringLogger(gate, conf["logger"])


def _shedding(admission: Admission, conf: dict[str, Any]) -> Shedding:
    """Return what keeps, follows or gives up records, which only some configurations need and pay the import of."""
    from kafka_throttle._shedding.check import check_client  # noqa: PLC0415
    from kafka_throttle._shedding.shedding import Shedding  # noqa: PLC0415

    check_client(conf, admission.throttle)
    return Shedding(admission, admission.throttle, conf, conf.get("on_delivery"))


def _waiting(name: str, *, serves: bool) -> Any:
    """Return a method that forwards to the client's, but not inside a callback.

    Args:
        name: Its name.
        serves: Whether the client runs callbacks in it: then those that were put off run first.
    """
    stock = getattr(STOCK, name)

    def method(self: Producer, *args: Any, **kwargs: Any) -> Any:
        forward = getattr(super(Producer, self), name)
        admission = self.__admission__
        if admission is None:
            return forward(*args, **kwargs)
        if serves:
            return admission.polling.call(name, serve_all, admission, forward, args, kwargs)
        admission.polling.refuse(name)
        return forward(*args, **kwargs)

    method.__name__ = name
    method.__qualname__ = f"Producer.{name}"
    method.__doc__ = stock.__doc__
    method.__text_signature__ = getattr(stock, "__text_signature__", None)  # type: ignore[attr-defined]
    return method


# Every other call that waits in the client: inside a callback the client would abort the process.
for _name, _serves in {
    "list_topics": False,
    "cluster_id": False,
    "init_transactions": False,
    "begin_transaction": False,
    "commit_transaction": True,
    "abort_transaction": True,
    "send_offsets_to_transaction": False,
    "set_sasl_credentials": False,
}.items():
    if hasattr(STOCK, _name):
        setattr(Producer, _name, _waiting(_name, serves=_serves))


class SerializingProducer(confluent_kafka.SerializingProducer, Producer):  # type: ignore[misc]
    """confluent_kafka.SerializingProducer with admission control; see `Producer`.

    Args:
        conf: The client's configuration with ``key.serializer`` and ``value.serializer``.
        throttle: The facade's configuration, as for `Producer`.
    """

    # The client's class is generic from some version on; at run time the parameters say nothing.
    __class_getitem__: Any = classmethod(types.GenericAlias)

    def __init__(self, conf: dict[str, Any], *, throttle: Throttle | None = None) -> None:
        super().__init__({**conf, "throttle": throttle} if throttle is not None else conf)


class _DeferringLogger:
    """Stands in for the user's logger: the client calls only its log()."""

    def __init__(self, gate: Gate, logger: Any) -> None:
        self.log = gate.stand_in(logger.log)


def _at_edge(producer: Producer, *args: Any, **kwargs: Any) -> Any:
    return producer.__admission__.at_edge(producer, *args, **kwargs)  # type: ignore[union-attr]


def _make_gate(
    cls: type,
    meter: InterceptedAcks | ReportedAcks,
    poll: Callable[..., int],
    deferred: deque[tuple[Any, ...]],
) -> Gate:
    forward = next_in_line(Producer, cls, "produce")
    if isinstance(meter, InterceptedAcks):
        gate: Gate = COMPILED.Gate(forward, _at_edge, deferred, meter.counter, poll)
        return gate
    return PureGate(forward, _at_edge, deferred, meter.count_report)
