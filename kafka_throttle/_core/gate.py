"""The gate: each offered record takes a ticket; below the edge it goes straight to the client.

This is TCP's sliding window in one comparison: no lock, no clock and no decision per record. Whoever finds the edge
reached calls the slow path (`at_edge`), which asks the engine how far the gate may be opened. The edge is always
"what has been reported, plus the limit", so that a gate nobody looks after lets through one limit and no more.

Two implementations, one protocol, one test suite:

- the compiled one (``_gate.c``): a counter and two comparisons, in records and in bytes;
- its twin in this module: a strip of tickets, ``itertools.repeat(None, n)``. Taking one is atomic under the GIL, and
  what is left of a strip can be counted. The twin does not weigh records: an opening in bytes is turned into tickets
  with the mean size that the caller gives.

Callbacks of the user are replaced by stand-ins. While the facade itself polls (`deferring`), they put the call into
`deferred`, for the user's own poll() or flush(), which is where the client would have run it.
"""

from __future__ import annotations

import itertools
import os
import threading
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterator

__all__ = ["COMPILED", "Gate", "PureGate", "gated_method"]

_SIGNATURE = "($self, topic, value=None, key=None, partition=-1, callback=None, on_delivery=None, timestamp=0, headers=None)"
_UNSET: Any = object()


class Gate(Protocol):
    """What the shell needs of a gate.

    Attributes:
        ticket: Records admitted since the start.
        client_full: BufferErrors that the client raised.
        refused: Records that the client refused with another error.
        deferring: Ident of the thread whose callbacks are deferred; 0 for none.
        deferred: Calls that wait for the user's poll, each (callback, \\*arguments).
    """

    @property
    def ticket(self) -> int: ...
    @property
    def client_full(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def deferred(self) -> deque[tuple[Any, ...]]: ...

    deferring: int

    def forward(self, producer: Any, /, *args: Any, **kwargs: Any) -> None:
        """Count one record and hand it to the client, whose errors pass through."""

    def open(self, records: int, bytes: int, record_bytes: float, /) -> None:
        """Let so many records and bytes pass from now on."""

    def close(self) -> None:
        """Let nothing pass."""

    def add(self, records: int, bytes: int, /) -> None:
        """Count records that reached the client by another way."""

    def batch(self, produce_batch: Callable[..., int], /, *args: Any, **kwargs: Any) -> int:
        """Make the client's call for a batch; count it with `add` afterwards."""

    def stand_in(self, callback: Callable[..., Any], /) -> Callable[..., Any]:
        """Return a callable that calls or defers `callback`."""

    def report(self, callback: Callable[..., Any] | None, /) -> Callable[..., Any] | None:
        """Return the stand-in for a delivery callback."""


class PureGate:
    """The gate in pure Python; see the module.

    Args:
        forward_to: The client's produce, as a function of the producer and the arguments.
        at_edge: The slow path, in the same form.
        deferred: Where deferred calls are kept.
        count_report: Called with each report (error, message), before the user's callback.
    """

    __slots__ = (
        "_adding",
        "_at_edge",
        "_count_report",
        "_forward_to",
        "_granted",
        "_strip",
        "client_full",
        "deferred",
        "deferring",
        "refused",
    )

    def __init__(
        self,
        forward_to: Callable[..., None],
        at_edge: Callable[..., None],
        deferred: deque[tuple[Any, ...]],
        count_report: Callable[[Any, Any], None] | None = None,
    ) -> None:
        self._forward_to = forward_to
        self._at_edge = at_edge
        self._count_report = count_report or (lambda error, message: None)
        self._granted = 0
        self._strip: Iterator[None] = itertools.repeat(None, 0)
        self._adding = threading.Lock()
        self.deferred = deferred
        self.deferring = 0
        self.client_full = 0
        self.refused = 0

    @property
    def ticket(self) -> int:
        """Records admitted since the start."""
        return self._granted - self._strip.__length_hint__()  # type: ignore[attr-defined, no-any-return]

    def open(self, records: int, bytes: int, record_bytes: float, /) -> None:  # noqa: A002 - the compiled twin's name
        """Let so many records pass from now on, fewer when they would weigh more than `bytes`."""
        records = max(0, min(records, int(bytes / record_bytes) or 1))
        with self._adding:
            self._take_in_strip()
            self._granted += records
            self._strip = itertools.repeat(None, records)

    def close(self) -> None:
        """Let nothing pass."""
        with self._adding:
            self._take_in_strip()

    def add(self, records: int, bytes: int, /) -> None:  # noqa: A002, ARG002 - the compiled twin's signature
        """Count records that reached the client by another way, or, with -1, one that did not reach it."""
        with self._adding:
            self._granted += records

    @staticmethod
    def batch(produce_batch: Callable[..., int], /, *args: Any, **kwargs: Any) -> int:
        """Make the client's call for a batch; the compiled twin marks it for its counter."""
        return produce_batch(*args, **kwargs)

    def _take_in_strip(self) -> None:
        # list() takes all that is left in one step under the GIL: whoever holds the old strip finds it empty.
        self._granted -= len(list(self._strip))

    def admit(self, producer: Any, /, *args: Any, **kwargs: Any) -> None:
        """Take a ticket and go to the client, or to the slow path when there is none."""
        for _ in self._strip:
            try:
                args_, kwargs_ = self._with_stand_ins(args, kwargs)
                return self._forward_to(producer, *args_, **kwargs_)
            except BufferError:
                self._back(full=1)
                break
            except BaseException:
                self._back(full=0)
                raise
        return self._at_edge(producer, *args, **kwargs)

    def forward(self, producer: Any, /, *args: Any, **kwargs: Any) -> None:
        """Count one record and hand it to the client, whose errors pass through."""
        self.add(1, 0)
        try:
            args, kwargs = self._with_stand_ins(args, kwargs)
            self._forward_to(producer, *args, **kwargs)
        except BaseException as error:
            self._back(full=isinstance(error, BufferError))
            raise

    def _back(self, *, full: bool | int) -> None:
        self.add(-1, 0)
        if full:
            self.client_full += 1
        else:
            self.refused += 1

    def _with_stand_ins(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        for name in ("callback", "on_delivery"):
            if kwargs.get(name) is not None:
                kwargs = {**kwargs, name: self.report(kwargs[name])}
        if len(args) > 4:
            callbacks = (given if given is None else self.report(given) for given in args[4:6])
            args = (*args[:4], *callbacks, *args[6:])
        return args, kwargs

    def stand_in(self, callback: Callable[..., Any], /) -> Callable[..., Any]:
        """Return a callable that calls or defers `callback`."""
        if not callable(callback):
            raise TypeError(f"expected a callable, got {callback!r}")

        def standing_in(*args: Any) -> Any:
            if self.deferring and self.deferring == get_ident():
                return self.deferred.append((callback, *args))
            return callback(*args)

        return standing_in

    def report(self, callback: Callable[..., Any] | None, /) -> Callable[..., Any]:
        """Return the stand-in for a delivery callback; it counts the report first."""
        count_report = self._count_report
        if callback is None:
            return count_report
        if not callable(callback):
            return callback  # the client calls it and says what is wrong, as it does without the facade

        def reported(error: Any, message: Any) -> Any:
            count_report(error, message)
            if self.deferring and self.deferring == get_ident():
                return self.deferred.append((callback, error, message))
            return callback(error, message)

        return reported

    def shortcut(self, producer: Any) -> Callable[..., None]:
        """Return `admit` for one producer as a closure: the cheapest form that Python has."""
        forward = self._forward_to.__get__(producer)
        gate = self

        def produce(
            topic: str,
            value: Any = None,
            key: Any = None,
            partition: Any = _UNSET,
            callback: Any = _UNSET,
            on_delivery: Any = _UNSET,
            timestamp: Any = _UNSET,
            headers: Any = _UNSET,
        ) -> None:
            for _ in gate._strip:
                try:
                    if partition is callback is on_delivery is timestamp is headers:
                        return forward(topic, value) if key is None else forward(topic, value, key)
                    return forward(
                        topic, value, key, **rest(partition, callback, on_delivery, timestamp, headers)
                    )
                except BufferError:
                    gate._back(full=1)
                    break
                except BaseException:
                    gate._back(full=0)
                    raise
            more = given(partition, callback, on_delivery, timestamp, headers)
            return gate._at_edge(producer, topic, value, key, **more)

        def rest(
            partition: Any, callback: Any, on_delivery: Any, timestamp: Any, headers: Any
        ) -> dict[str, Any]:
            more = {}
            if partition is not _UNSET:
                more["partition"] = partition
            if callback is not _UNSET:
                more["callback"] = callback if callback is None else gate.report(callback)
            if on_delivery is not _UNSET:
                more["on_delivery"] = on_delivery if on_delivery is None else gate.report(on_delivery)
            if timestamp is not _UNSET:
                more["timestamp"] = timestamp
            if headers is not _UNSET:
                more["headers"] = headers
            return more

        names = ("partition", "callback", "on_delivery", "timestamp", "headers")

        def given(*values: Any) -> dict[str, Any]:
            return {name: value for name, value in zip(names, values, strict=True) if value is not _UNSET}

        produce.__doc__ = getattr(type(producer).produce, "__doc__", None)
        return produce


def _pure_gated_method(without_gate: Callable[..., None], doc: str, signature: str) -> Any:
    """Return the class attribute `produce` for the twin."""

    def produce(self: Any, /, *args: Any, **kwargs: Any) -> None:
        gate = getattr(self, "_gate", None)
        if gate is None:
            return without_gate(self, *args, **kwargs)
        return gate.admit(self, *args, **kwargs)  # type: ignore[no-any-return]

    produce.__doc__ = doc
    produce.__text_signature__ = signature  # type: ignore[attr-defined]
    return produce


def _compiled() -> Any:
    """Return the compiled twin, or None where it was not built or is not wanted."""
    if os.environ.get("KAFKA_THROTTLE_PURE", "0").lower() not in {"", "0", "false", "no", "off"}:
        return None
    try:
        from kafka_throttle._core import _gate  # noqa: PLC0415 - optional
    except ImportError:
        return None
    return _gate


COMPILED: Any = _compiled()


def gated_method(without_gate: Callable[..., None], doc: str, *, compiled: bool) -> Any:
    """Return the class attribute `produce`: it leads to the gate in the instance's slot `_gate`.

    Args:
        without_gate: What is called on an instance that has none.
        doc: The docstring.
        compiled: Whether the gates are the compiled ones.
    """
    make = COMPILED.GatedMethod if compiled else _pure_gated_method
    return make(without_gate, doc, _SIGNATURE)
