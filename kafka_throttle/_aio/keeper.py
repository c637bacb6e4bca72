"""`Keeper`: the thread in which an asyncio facade does what may wait for the disk, in order."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_throttle._admission import Wait
    from kafka_throttle._aio.admission import TaskAdmission
    from kafka_throttle._shedding.shedding import Shedding
    from kafka_throttle._shedding.way import Way

__all__ = ["Keeper"]

_Result = TypeVar("_Result")
# Whoever waits for the disk tries again after so many seconds.
_AGAIN = 0.005


class _Place(NamedTuple):
    """In the place of one in the line: who waits for the disk stands in none."""

    rank: int
    granted: bool = False


class Keeper:
    """Offers records to the ways whose links may wait for the disk, in a thread, first come, first served.

    Args:
        shedding: The producer's ways.
        loop: The loop.
        name: Of the thread.

    Attributes:
        waiting: Tasks that wait for the disk, and stand in no line.
    """

    def __init__(self, shedding: Shedding, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._shedding = shedding
        self._loop = loop
        self._turns: dict[Way, asyncio.Lock] = {}
        self.waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def offer(
        self, way: Way, producer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Wait | None:
        """Do what `Shedding.offer` does, without keeping the loop waiting.

        Raises:
            Rejected: The rule refuses the record.
        """
        if not (way.coming or way.may_wait):
            return self._shedding.offer(way, producer, args, kwargs)
        way.coming += 1
        self._shedding.hold_back(way)  # nobody overtakes what is on its way to the thread
        offered = self._thread.submit(self._shedding.offer, way, producer, args, kwargs)
        offered.add_done_callback(lambda _: self._loop.call_soon_threadsafe(_arrive, way))
        # A caller that is cancelled takes its record back only when the thread has not begun with it.
        return await asyncio.wrap_future(offered)

    async def persist(self, admission: TaskAdmission, way: Way, wait: Wait) -> None:
        """Try again and again, for as long as the rule says, to have a record taken that may not go to the client.

        Others of its group wait on disk, and the disk has no room. Of all that are in this way, one tries at a time.

        Raises:
            Rejected: The rule's patience is at its end, or there is nothing to wait for any more.
        """
        clock = admission.clock
        started = clock()
        deadline = started + wait.policy.timeout
        place = _Place(wait.rank)
        self.waiting += 1
        try:
            async with self._turns.setdefault(way, asyncio.Lock()):
                while clock() < deadline and not (admission.draining or admission.closed):
                    if wait.attempt is None or await self.run(wait.attempt, place, 1):
                        return
                    await asyncio.sleep(_AGAIN)
        finally:
            self.waiting -= 1
        reason = "draining" if admission.draining or admission.closed else "deadline"
        admission.refuse(wait.topic, wait.args, wait.kwargs, reason, wait.policy, clock() - started)

    def submit(self, work: Callable[..., object], *args: Any) -> None:
        """Have something done in the thread."""
        self._thread.submit(work, *args)

    async def run(self, work: Callable[..., _Result], *args: Any) -> _Result:
        """Have something done in the thread, and wait for it."""
        return await asyncio.wrap_future(self._thread.submit(work, *args))

    def close(self) -> None:
        """End the thread when it has done what it was given."""
        self._thread.shutdown(wait=False)


def _arrive(way: Way) -> None:
    way.coming -= 1
