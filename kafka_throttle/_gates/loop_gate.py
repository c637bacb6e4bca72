"""The gate of a producer that lives on an event loop; see kafka_throttle._gates.gate for what a gate is.

The client (aiokafka) takes a record by a coroutine of its own, so that the shell hands most records over itself and
the gate only counts them: `live` is changed on the loop alone. What the facade hands over by itself (records that were
kept, and those whose outcome it follows) takes the way through `Handover`, from any thread.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

__all__ = ["LIVE", "LoopGate"]

# Bytes that may pass in one turn of the loop, in which nothing is sent: some batches of the default size.
_TURN = 1 << 16
_MOST_TOPICS = 4096

LIVE: Any = object()
"""In the place of the producer: who asks hands the record over itself."""


class LoopGate:
    """Counts tickets; see the module.

    Args:
        put: Takes a record that the facade hands over: topic, value, key, partition, callback, timestamp, headers; and
            sees to it that `catch_up` is called.
        deferred: Where calls are put that have to run on the loop.

    Attributes:
        left: Records that may pass before somebody has to look for room again.
        live: Records that callers have handed over.
        free: Topics that may pass; None: all.
        held_back: Whether not every record may pass that finds something left.
        shut: Whether the producer takes no more records: nothing passes any more, but those who came before go on.
    """

    __slots__ = (
        "_apart",
        "_behind",
        "_handed",
        "_lock",
        "_put",
        "deferred",
        "deferring",
        "free",
        "held_back",
        "home",
        "left",
        "live",
        "shut",
    )

    client_full = refused = 0
    in_callback = in_client = polling = False

    def __init__(self, put: Callable[..., None], deferred: deque[tuple[Any, ...]]) -> None:
        self._put = put
        self._lock = threading.Lock()
        self._handed = 0
        self._behind = False
        self.deferred = deferred
        self.deferring = self.home = 0
        self.left = self.live = 0
        self.free: set[str] | None = None
        self._apart: set[str] = set()
        self.held_back = self.shut = False

    @property
    def ticket(self) -> int:
        """Records admitted since the start."""
        return self.live + self._handed

    def passes(self, topic: object) -> bool:
        """Return whether a record of this topic may pass while some are held back."""
        free = self.free
        return (not self._behind or topic in self._apart) and (free is None or topic in free)

    def set_apart(self, topic: str) -> None:
        """Take note that nothing of this topic is ever handed over by the facade, so that it overtakes nothing."""
        if len(self._apart) < _MOST_TOPICS:
            self._apart.add(topic)

    def forward(self, producer: Any, /, *args: Any, **kwargs: Any) -> None:
        """Count one record and hand it over, unless who asks does that."""
        if producer is LIVE:
            return
        with self._lock:
            self._handed += 1
            self._behind = self.held_back = True  # what comes by the short way must not overtake it
            self._put(*args, **kwargs)

    def catch_up(self, outgoing: deque[Any]) -> None:
        """Take note that the client has everything that was handed over, if that is so."""
        with self._lock:
            self._behind = bool(outgoing)
            self.held_back = self._behind or self.free is not None

    def open(self, records: int, bytes: int, record_bytes: float, /) -> None:  # noqa: A002 - the protocol's name
        """Let so many records pass from now on, fewer when they would weigh more than `bytes`, or more than one turn's."""
        if self.shut:
            return
        self.left = max(0, min(records, int(min(bytes, _TURN) / record_bytes)))

    def close(self) -> None:
        """Let nothing pass."""
        self.left = 0

    abandon = close

    def restrict(self, topics: set[str] | None, /) -> None:
        """Let only records of these topics pass, and the others to the slow path; None lifts that."""
        with self._lock:
            self.free = topics
            self.held_back = self._behind or topics is not None

    def serve(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Make a call: nothing on a loop comes in between."""
        return call(*args, **kwargs)

    run = serve
