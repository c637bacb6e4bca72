"""`LoopClient`: the blocking facade's client for an event loop, where callbacks run and callers that wait are tasks."""

from __future__ import annotations

from concurrent.futures import wait
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any

from kafka_throttle._aio.admission import TaskAdmission
from kafka_throttle._aio.deferred import LoopDeferred
from kafka_throttle._sync import SWITCHED_OFF, Producer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection
    from concurrent.futures import Future

    from kafka_throttle._throttle import Throttle
    from kafka_throttle.statistics import Statistics

__all__ = ["LoopClient"]

# What was given up is reported within so many seconds.
_MOMENT = 1.0


class LoopClient(Producer):
    """A client whose produce() returns what the caller has to await, or None; what waits is for threads.

    Args:
        conf: The client's configuration.
        throttle: The facade's.
        loop: The loop, which is the one that runs.

    Attributes:
        admission: Decides.
        deferred: Runs on the loop what is reported elsewhere.
    """

    def __init__(self, conf: dict[str, Any], throttle: Throttle, loop: asyncio.AbstractEventLoop) -> None:
        deferred = self.deferred = LoopDeferred(loop)

        def make_admission(*args: Any) -> TaskAdmission:
            *ours, _ = args  # nobody polls but the loop
            return TaskAdmission(loop, *ours, None, deferred=deferred)

        self.__begin__(conf, throttle, make_admission)
        self.admission: TaskAdmission = self.__admission__  # type: ignore[assignment]
        self.admission.gate.home = get_ident()
        if self.admission.shedding is not None:
            self.admission.keep(self.admission.shedding)

    @property
    def hand_over(self) -> Callable[..., Any]:
        """What takes a record: produce(), or where the facade is switched off, what is behind the gate."""
        return self.produce if self.admission.throttle.enabled else partial(self.admission.gate.forward, self)

    @property
    def outstanding(self) -> int:
        """Records and events that the client has."""
        return super(Producer, self).__len__()

    def send(self, seconds: float) -> int:
        """Have the client send what it has without lingering, and wait for reports, so many seconds at most."""
        left: int = self.admission.polling.call("flush", super(Producer, self).flush, seconds)
        return left

    def give_up(self) -> None:
        """Give up what the client has, and have that reported."""
        self.purge()
        self.send(_MOMENT)

    def end(self, others: Collection[Future[Any]]) -> None:
        """Close, when other threads have left the client: what it has still is given up."""
        wait(others)
        self.close(timeout=0)

    def statistics(self) -> Statistics:
        """Return a snapshot: see `Producer.statistics`."""
        if not self.admission.throttle.enabled:
            raise RuntimeError(SWITCHED_OFF)
        return super().statistics()

    def __repr__(self) -> str:
        if self.admission.throttle.enabled:
            return super().__repr__()
        return f"<{type(self).__name__} not throttled>"
