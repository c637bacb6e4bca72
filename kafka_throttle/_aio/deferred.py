"""Calls that have to run on the event loop, gathered so that many of them cost one wake-up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka_throttle._shedding.delivery import Deferred

if TYPE_CHECKING:
    import asyncio

__all__ = ["LoopDeferred"]


class LoopDeferred(Deferred):
    """Runs on the loop what any thread appends, in order.

    Args:
        loop: The loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._woken = False

    def append(self, entry: tuple[Any, ...]) -> None:
        """Add a call: (callback, arguments...); what the facade itself has to know is told at once."""
        super().append(entry)
        if self and not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self.run)
            except RuntimeError:  # the loop is closed: nobody is left to be told
                self.clear()

    def run(self) -> None:
        """Run everything; an exception goes to the loop's handler, as that of any callback there."""
        self._woken = False
        while self:
            callback, *arguments = self.popleft()
            try:
                callback(*arguments)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next one has to be told
                self._loop.call_exception_handler(
                    {"message": f"exception in {callback!r}", "exception": error}
                )
