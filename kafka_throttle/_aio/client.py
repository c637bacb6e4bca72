"""`LoopClient`: the blocking facade's client for an event loop, where callbacks run and callers that wait are tasks."""

from __future__ import annotations

from concurrent.futures import wait
from threading import get_ident
from typing import TYPE_CHECKING, Any

from kafka_throttle._aio.admission import TaskAdmission
from kafka_throttle._aio.deferred import LoopDeferred
from kafka_throttle._sync import Producer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection
    from concurrent.futures import Future

    from kafka_throttle._throttle import Throttle

__all__ = ["LoopClient"]

_WIDE = 1 << 62
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
        if not throttle.enabled:
            self.admission.gate.open(_WIDE, _WIDE, 1.0)

    def end(self, timeout: float | None, others: Collection[Future[Any]]) -> None:
        """Close as close() does, when other threads have left the client.

        Args:
            timeout: As for close().
            others: What other threads do in the client.
        """
        if timeout is not None and others and self.flush(timeout):
            self.purge()
            self.flush(_MOMENT)
        wait(others)
        self.close(timeout=timeout)
