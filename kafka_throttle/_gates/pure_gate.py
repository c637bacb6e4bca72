"""The gate in pure Python: the equal twin of the compiled one; see kafka_throttle._gates.gate."""

from __future__ import annotations

import itertools
import threading
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any

from kafka_throttle._gates.signatures import POLL, PRODUCE

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterator

__all__ = ["PureGate"]


class PureGate:
    """The gate in pure Python; see kafka_throttle._gates.gate.

    Args:
        forward_to: The client's produce, as a function of the producer and the arguments.
        at_edge: The slow path, in the same form.
        deferred: Where deferred calls are kept.
        count_report: Called with each report (error, message), before the user's callback.

    Attributes:
        only_errors: Whether the user's callback is for failed records alone.
        abandoned: Whether this is a forked child.
    """

    __slots__ = (
        "_adding",
        "_at_edge",
        "_callbacks",
        "_calls",
        "_count_report",
        "_edge",
        "_forward_to",
        "_granted",
        "_reported",
        "_restricted",
        "_strip",
        "abandoned",
        "client_full",
        "deferred",
        "deferring",
        "home",
        "only_errors",
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
        self._count_report = count_report or _count_nothing
        self._granted = 0
        self._restricted = False
        self._edge = -1
        self._strip: Iterator[None] = itertools.repeat(None, 0)
        # Reentrant: a signal handler may produce in the middle of an update.
        self._adding = threading.RLock()
        self._calls: list[int] = []
        self._callbacks: list[int] = []
        self.deferred = deferred
        self._reported = self._report_taker()
        self.deferring = self.home = 0
        self.only_errors = False
        self.abandoned = False
        self.client_full = 0
        self.refused = 0

    # ---- tickets

    @property
    def ticket(self) -> int:
        """Records admitted since the start."""
        with self._adding:
            return self._granted - self._strip.__length_hint__()  # type: ignore[attr-defined, no-any-return]

    def open(self, records: int, bytes: int, record_bytes: float, /) -> None:  # noqa: A002 - the compiled twin's name
        """Let so many records pass from now on, fewer when they would weigh more than `bytes`."""
        with self._adding:
            if self._restricted:
                return
            self._renew(max(0, min(records, int(bytes / record_bytes))))
            self._edge = self._granted

    def close(self) -> None:
        """Let nothing pass."""
        with self._adding:
            self._renew(0)
            self._edge = -1

    def restrict(self, topics: set[str] | None, /) -> None:
        """Let nothing pass: to look at the topic of each record would cost more than the slow path saves."""
        with self._adding:
            self._restricted = topics is not None
            if self._restricted:
                self.close()

    def abandon(self) -> None:
        """Let nothing pass any more, in a forked child: other threads of the parent may have held the lock."""
        self._adding = threading.RLock()
        self.abandoned = True
        self.close()

    def _renew(self, records: int) -> int:
        """Replace the strip and return what was left of it; tickets are never missing from the count meanwhile."""
        strip = itertools.repeat(None, records)
        self._granted += records
        old, self._strip = self._strip, strip
        # list() takes all that is left in one step under the GIL: whoever holds the old strip finds it empty.
        left = len(list(old))
        self._granted -= left
        return left

    def add(self, records: int, bytes: int, /) -> None:  # noqa: A002, ARG002 - the compiled twin's signature
        """Count records that reached the client by another way, or, below 0, some that did not reach it after all."""
        with self._adding:
            if records < 0:
                self._take_back(-records)
                return
            # They use up what the gate was opened for, too.
            taken = len(list(itertools.islice(self._strip, records)))
            beyond = records - taken
            self._granted += beyond

    def _take_back(self, records: int) -> None:
        beyond = max(0, min(records, self.ticket - self._edge))
        self._granted -= beyond
        again = records - beyond
        if again:  # below the edge, a ticket that is given back can be taken once more
            self._renew(self._renew(0) + again)
            self._granted -= again

    def _back(self, *, full: bool) -> None:
        with self._adding:
            self._take_back(1)
            if full:
                self.client_full += 1
            else:
                self.refused += 1

    # ---- the way of a record

    def admit(self, producer: Any, /, *args: Any, **kwargs: Any) -> None:
        """Take a ticket and go to the client, or to the slow path when there is none."""
        for _ in self._strip:  # no loop: it takes one, or none
            try:
                args_, kwargs_ = self._with_stand_ins(args, kwargs)
                return self._forward_to(producer, *args_, **kwargs_)
            except BufferError:
                self._back(full=True)
                break
            except BaseException:  # whatever the client or a tracer raised: counted, and not swallowed
                self._back(full=False)
                raise
        return self._at_edge(producer, *args, **kwargs)

    __call__ = admit

    def forward(self, producer: Any, /, *args: Any, **kwargs: Any) -> None:
        """Count one record and hand it to the client, whose errors pass through."""
        self.add(1, 0)
        try:
            args, kwargs = self._with_stand_ins(args, kwargs)
            self._forward_to(producer, *args, **kwargs)
        except BaseException as error:
            self._back(full=isinstance(error, BufferError))
            raise

    @staticmethod
    def batch(produce_batch: Callable[..., int], /, *args: Any, **kwargs: Any) -> int:
        """Make the client's call for a batch; the compiled twin marks it for its counter."""
        return produce_batch(*args, **kwargs)

    def _with_stand_ins(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if (given := kwargs.get("on_delivery")) is not None:
            kwargs = {**kwargs, "on_delivery": partial(self._reported, given)}
        if (given := kwargs.get("callback")) is not None:
            kwargs = {**kwargs, "callback": partial(self._reported, given)}
        if len(args) > 4:
            callbacks = (given if given is None else self.report(given) for given in args[4:6])
            args = (*args[:4], *callbacks, *args[6:])
        return args, kwargs

    # ---- callbacks

    @property
    def in_callback(self) -> bool:
        """Whether this thread is inside a callback."""
        return get_ident() in self._callbacks

    @property
    def in_client(self) -> bool:
        """Whether this thread is inside a callback, or a call of the client that runs callbacks."""
        ident = get_ident()
        return ident in self._calls or ident in self._callbacks

    @property
    def polling(self) -> bool:
        """Whether a thread is inside a call of the client that runs callbacks."""
        return bool(self._calls)

    def serve(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Make one of the client's calls that run callbacks."""
        ident = get_ident()
        try:
            self._calls.append(ident)  # in here, as Ctrl-C may come right after it
            return call(*args, **kwargs)
        finally:
            self._calls.remove(ident)

    def run(self, callback: Callable[..., Any], /, *args: Any) -> Any:
        """Call what was deferred, as a callback."""
        ident = get_ident()
        try:
            self._callbacks.append(ident)
            return callback(*args)
        finally:
            self._callbacks.remove(ident)

    def stand_in(self, callback: Callable[..., Any], /) -> Callable[..., Any]:
        """Return a callable that calls or defers `callback`."""
        _check_callable(callback)

        def standing_in(*args: Any) -> Any:
            ident = get_ident()
            if self.deferring == ident or self.home not in (0, ident):
                return self.deferred.append((callback, *args))
            return self.run(callback, *args)

        return standing_in

    def guard(self, callback: Callable[..., Any], /) -> Callable[..., Any]:
        """Return a callable that calls `callback` as a callback, and never defers it."""
        _check_callable(callback)

        def guarded(*args: Any) -> Any:
            return self.run(callback, *args)

        return guarded

    def report(self, callback: Callable[..., Any] | None, /) -> Callable[..., Any]:
        """Return the stand-in for a delivery callback; it counts the report first.

        What is not callable is called all the same, as the client does: that is where its TypeError comes from.
        """
        return self.guard(self._count_report) if callback is None else partial(self._reported, callback)

    def _report_taker(self) -> Callable[[Callable[..., Any], Any, Any], Any]:
        """Return what every report goes through: as a closure, which is the cheapest form that Python has."""
        gate, callbacks, count_report = self, self._callbacks, self._count_report

        def reported(callback: Callable[..., Any], error: Any, message: Any) -> Any:
            ident = get_ident()
            try:
                callbacks.append(ident)
                count_report(error, message)
                if error is None and gate.only_errors:
                    return None
                if gate.deferring == ident or gate.home not in (0, ident):
                    return gate.deferred.append((callback, error, message))
                return callback(error, message)
            finally:
                callbacks.remove(ident)

        return reported

    # ---- the same as closures, for one producer

    def produce_of(self, producer: Any) -> Callable[..., None]:
        """Return `admit` for one producer."""
        gate, forward = self, self._forward_to.__get__(producer)

        def produce(*args: Any, **kwargs: Any) -> None:
            for _ in gate._strip:
                try:
                    if kwargs or len(args) > 4:
                        args_, kwargs_ = gate._with_stand_ins(args, kwargs)
                        return forward(*args_, **kwargs_)  # type: ignore[no-any-return]
                    return forward(*args)  # type: ignore[no-any-return]
                except BufferError:
                    gate._back(full=True)
                    break
                except BaseException:  # as in admit()
                    gate._back(full=False)
                    raise
            return gate._at_edge(producer, *args, **kwargs)

        produce.__doc__ = type(producer).produce.__doc__
        produce.__signature__ = PRODUCE.replace(parameters=[*PRODUCE.parameters.values()][1:])  # type: ignore[attr-defined]
        return produce

    def poll_of(
        self, producer: Any, client_poll: Callable[..., int], otherwise: Callable[..., int]
    ) -> Callable[..., int]:
        """Return poll() for one producer.

        Args:
            producer: The producer.
            client_poll: The client's, for when there is nothing to run but what the client does.
            otherwise: The facade's, as a function of the producer and the arguments.
        """
        gate, forward, calls, callbacks = self, client_poll.__get__(producer), self._calls, self._callbacks

        def poll(*args: Any, **kwargs: Any) -> int:
            ident = get_ident()
            try:
                # Marked first, so that whoever is about to poll for the facade sees the mark, or is seen here.
                calls.append(ident)
                if not (gate.deferring or gate.deferred or gate.abandoned or ident in callbacks):
                    return forward(*args, **kwargs)  # type: ignore[no-any-return]
            finally:
                calls.remove(ident)
            return otherwise(producer, *args, **kwargs)

        poll.__doc__ = type(producer).poll.__doc__
        poll.__signature__ = POLL.replace(parameters=[*POLL.parameters.values()][1:])  # type: ignore[attr-defined]
        return poll


def _count_nothing(error: Any, message: Any) -> None:
    """Stand in for a meter."""


def _check_callable(callback: Any) -> None:
    if not callable(callback):
        raise TypeError(f"expected a callable, got {callback!r}")
