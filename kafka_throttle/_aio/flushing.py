"""`TaskFlushing`: waits on an event loop for everything that was accepted, wherever it is."""

from __future__ import annotations

import asyncio
from functools import partial
from time import sleep
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kafka_throttle._aio.admission import TaskAdmission
    from kafka_throttle._shedding.shedding import Shedding

__all__ = ["TaskFlushing"]

# It looks this often, in seconds, at those who wait for room.
_LOOK = 0.002


class _AbandonedError(Exception):
    """Nobody waits for a flush any more."""


class TaskFlushing:
    """What flush(), and what closes a producer, wait for.

    Args:
        admission: The producer's admission.
        loop: The loop.
        flush_client: Has the client deliver what it has, within so many seconds; returns how many records it has then,
            if it knows better than the statistics.
    """

    def __init__(
        self,
        admission: TaskAdmission,
        loop: asyncio.AbstractEventLoop,
        flush_client: Callable[[float], Awaitable[int]],
    ) -> None:
        self._admission = admission
        self._loop = loop
        self._flush_client = flush_client

    async def flush(self, seconds: float | None) -> int:
        """Wait until nothing is left of what was accepted before.

        Args:
            seconds: Longest wait; None: as long as records move, and for as long as the client would keep one.

        Returns:
            Records that are left.
        """
        admission, clock = self._admission, self._admission.clock
        patience = admission.settings.message_timeout if seconds is None else seconds
        deadline = clock() + patience
        acked = -1
        while True:
            left = await self._flush(deadline)
            before, acked = acked, admission.meter.brief(admission.gate).acked
            if not left or seconds is not None or acked == before:
                return left
            deadline = clock() + patience  # they move: its patience begins anew

    async def _flush(self, deadline: float) -> int:
        admission, clock = self._admission, self._admission.clock
        last = admission.line.last
        while not admission.passed(last) and clock() < deadline:
            await asyncio.sleep(_LOOK)
        in_client = await self._flush_client(max(0.0, deadline - clock()))
        if admission.shedding is not None and not admission.closed:
            in_client = await self._flush_kept(admission.shedding, deadline)
        now = admission.statistics()
        return now.held + now.spooled + max(now.in_flight, in_client) + now.waiting

    async def _flush_kept(self, shedding: Shedding, deadline: float) -> int:
        """Wait until nothing is kept and the client has delivered what was; return what that has still."""
        clock = self._admission.clock
        while True:
            await self._admission.told()  # what has failed may be kept now
            kept = shedding.kept
            if kept:
                await self._in_thread(shedding.flush, max(0.0, deadline - clock()))
            in_client = await self._flush_client(max(0.0, deadline - clock()))
            await self._admission.told()
            if not (kept or shedding.kept) or clock() >= deadline:
                return in_client

    async def flush_to_close(self, seconds: float | None) -> None:
        """Wait as flush() does, but without a time only moments for what is on disk and does not move."""
        shedding = self._admission.shedding
        if shedding is None or seconds is not None:
            await self.flush(seconds)
            return
        await self._flush(self._admission.clock() + self._admission.settings.message_timeout)
        if shedding.kept:
            await self._in_thread(shedding.flush_to_close)

    async def _in_thread(self, flush: Callable[..., Any], *args: Any) -> None:
        """Wait for what is kept, in a thread; the loop does the work meanwhile."""
        abandoned: list[bool] = []
        try:
            await self._loop.run_in_executor(
                None, partial(flush, *args, partial(_look_after, self._admission, abandoned))
            )
        finally:
            abandoned.append(True)


def _look_after(admission: TaskAdmission, abandoned: list[bool], seconds: float) -> int:
    """Stand in for a client's flush, in a thread."""
    if abandoned:
        raise _AbandonedError
    sleep(seconds)
    now = admission.statistics()
    return now.in_flight + now.waiting
