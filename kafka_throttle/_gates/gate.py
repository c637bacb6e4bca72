"""The gate: each offered record takes a ticket; below the edge it goes straight to the client.

This is TCP's sliding window in one comparison: no lock, no clock and no decision per record. Whoever finds the edge
reached calls the slow path (`at_edge`), which asks the engine how far the gate may be opened. The edge is always
"what has been reported, plus the limit", so that a gate nobody looks after lets through one limit and no more.

Two implementations, one protocol, one test suite:

- the compiled one (``_gate.c``): a counter and two comparisons, in records and in bytes;
- its twin (``pure_gate.py``): a strip of tickets, ``itertools.repeat(None, n)``. Taking one is atomic under the GIL, and
  what is left of a strip can be counted. The twin does not weigh records: an opening in bytes is turned into tickets
  with the mean size that the caller gives.

Callbacks of the user are replaced by stand-ins. While the facade itself polls (`deferring`), they put the call into
`deferred`, for the user's own poll() or flush(), which is where the client would have run it. Callbacks run in the order
of the reports: the user's poll() takes the slow path while somebody polls for the facade, and nobody does while `polling`.

The gate also knows what each thread is doing. `in_callback`: a poll() here would abort the process. `in_client`: here
or in a signal handler that interrupted the client's poll(); the user may poll there, and usually leaves with an
exception afterwards, but if the facade did, the client would crash at its next callback.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, Protocol

from kafka_throttle._gates.pure_gate import PureGate
from kafka_throttle._gates.signatures import POLL, PRODUCE

if TYPE_CHECKING:
    import inspect
    from collections import deque
    from collections.abc import Callable

__all__ = ["COMPILED", "Gate", "PureGate", "gated_method", "gated_poll"]


class Gate(Protocol):
    r"""What the shell needs of a gate.

    Attributes:
        ticket: Records admitted since the start.
        client_full: BufferErrors that the client raised.
        refused: Records that the client refused with another error.
        in_callback: Whether this thread is inside a callback.
        in_client: Whether this thread is inside a callback, or a call of the client that runs callbacks.
        polling: Whether a thread is inside a call of the client that runs callbacks.
        deferring: Ident of the thread whose callbacks are deferred; 0 for none.
        home: Ident of the only thread whose callbacks are not deferred: that of an event loop; 0 for all.
        deferred: Calls that wait for the user's poll, each (callback, \*arguments).
    """

    @property
    def ticket(self) -> int: ...
    @property
    def client_full(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def in_callback(self) -> bool: ...
    @property
    def in_client(self) -> bool: ...
    @property
    def polling(self) -> bool: ...
    @property
    def deferred(self) -> deque[tuple[Any, ...]]: ...

    deferring: int
    home: int

    def forward(self, producer: Any, /, *args: Any, **kwargs: Any) -> None:
        """Count one record and hand it to the client, whose errors pass through."""

    def open(self, records: int, bytes: int, record_bytes: float, /) -> None:  # noqa: A002
        """Let so many records and bytes pass from now on."""

    def close(self) -> None:
        """Let nothing pass."""

    def restrict(self, topics: set[str] | None, /) -> None:
        """Let only records of these topics pass, and the others to the slow path; None lifts that.

        The compiled gate looks at the set itself, which may grow meanwhile; its twin lets nothing pass.
        """

    def abandon(self) -> None:
        """Let nothing pass any more, in a forked child: other threads of the parent may have held locks."""

    def add(self, records: int, bytes: int, /) -> None:  # noqa: A002
        """Count records that reached the client by another way."""

    def batch(self, produce_batch: Callable[..., int], /, *args: Any, **kwargs: Any) -> int:
        """Make the client's call for a batch; count it with `add` afterwards."""
        ...

    def stand_in(self, callback: Callable[..., Any], /) -> Callable[..., Any]:
        """Return a callable that calls or defers `callback`."""
        ...

    def guard(self, callback: Callable[..., Any], /) -> Callable[..., Any]:
        """Return a callable that calls `callback` as a callback, and never defers it."""
        ...

    def report(self, callback: Callable[..., Any] | None, /) -> Callable[..., Any] | None:
        """Return the stand-in for a delivery callback."""

    def serve(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Make one of the client's calls that run callbacks."""

    def run(self, callback: Callable[..., Any], /, *args: Any) -> Any:
        """Call what was deferred, as a callback."""


def _compiled() -> Any:
    """Return the compiled twin, or None where it was not built or is not wanted."""
    if os.environ.get("KAFKA_THROTTLE_PURE", "0").lower() not in {"", "0", "false", "no", "off"}:
        return None
    try:
        return importlib.import_module("kafka_throttle._gates._gate")
    except ImportError:
        return None


COMPILED: Any = _compiled()


def gated_method(otherwise: Callable[..., None], doc: str, *, compiled: bool) -> Any:
    """Return the class attribute `produce`: it calls what the instance's slot `__gate__` holds.

    Args:
        otherwise: What is called on an instance whose slot is empty.
        doc: The docstring.
        compiled: Whether the gates are the compiled ones.
    """
    if compiled:
        return COMPILED.GatedMethod(otherwise, doc, _as_text(PRODUCE))

    def produce(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        call = getattr(self, "__gate__", otherwise)
        return call(self, *args, **kwargs)

    produce.__doc__ = doc
    produce.__signature__ = PRODUCE  # type: ignore[attr-defined]
    return produce


def gated_poll(*, compiled: bool) -> Callable[[Callable[..., int]], Any]:
    """Return a decorator for `poll`, which is then called only when there is more to do than what the client does.

    Args:
        compiled: Whether the gates are the compiled ones. If not, the method itself is all there is.
    """

    def decorate(poll: Callable[..., int]) -> Any:
        if compiled:
            return COMPILED.GatedMethod(poll, poll.__doc__, _as_text(POLL), poll=True)
        poll.__signature__ = POLL  # type: ignore[attr-defined]
        return poll

    return decorate


def _as_text(signature: inspect.Signature) -> str:
    return "($" + str(signature)[1:]
