"""Calls that have to run on the event loop, gathered so that many of them cost one wake-up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka_throttle._shedding.delivery import Deferred

if TYPE_CHECKING:
    import asyncio

__all__ = ["LoopDeferred"]

# So many calls take less than a millisecond.
_PORTION = 256
_ALL = 1 << 62


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
            self._wake()

    def _wake(self) -> None:
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._round)
        except RuntimeError:  # the loop is closed: nobody is left to be told
            self.clear()

    def _round(self) -> None:
        """Run some, and the rest in the next rounds of the loop: others have to have their turn."""
        self.run(_PORTION)
        if self:
            self._loop.call_soon(self._round)
        else:
            self._woken = False
            if self:  # another thread has come in between, and has found us awake
                self._wake()

    def run(self, most: int = _ALL) -> None:
        """Run calls, so many at most; an exception goes to the loop's handler, as that of any callback there."""
        for _ in range(min(most, len(self))):
            callback, *arguments = self.popleft()
            try:
                callback(*arguments)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next one has to be told
                self._loop.call_exception_handler(
                    {"message": f"exception in {callback!r}", "exception": error}
                )
