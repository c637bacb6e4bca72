"""`Flushing`: waits for everything that was accepted, wherever it is."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from kafka_throttle.exceptions import SpoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kafka_throttle._admission import Admission
    from kafka_throttle._shedding.way import Way

__all__ = ["Flushing"]

# A producer that is closed waits so long, in seconds, for what is on disk and does not move.
_PATIENCE = 2.0
# It looks this often, in seconds, at what is kept.
_SLICE = 0.02


class Flushing:
    """What flush() and close() do when records are kept.

    Args:
        admission: The producer's admission.
        ways: The ways of its rules.
        commit: Puts on disk what waits to be.
    """

    def __init__(self, admission: Admission, ways: Sequence[Way], commit: Callable[[], None]) -> None:
        self._admission = admission
        self._commit = commit
        self._ways = ways

    def flush(self, seconds: float, serve: Callable[[float], int]) -> int:
        """Wait until nothing is kept any more and the client has delivered everything.

        Args:
            seconds: Longest wait; below 0: as long as records move, and for as long as the client would keep one.
            serve: Runs callbacks for so many seconds, and returns how many records the client has.

        Returns:
            Records that are left, with callbacks that have not run.

        Raises:
            SpoolError: Some are left, and cannot be put on disk either.
        """
        with suppress(SpoolError):  # what the client has can be delivered all the same
            self._commit()
        settings = self._admission.settings
        left = self._wait(
            serve, lambda: settings.message_timeout if seconds < 0 else seconds, again=seconds < 0
        )
        if left:
            self._commit()
        return left

    def flush_to_close(self, serve: Callable[[float], int]) -> int:
        """Wait as flush() does, but only moments for what is on disk and does not move: its next owner sends it.

        Args:
            serve: As for flush().

        Returns:
            Records that are left.
        """
        with suppress(SpoolError):  # close() says so
            self._commit()
        settings = self._admission.settings
        return self._wait(serve, lambda: _PATIENCE if self._safe() else settings.message_timeout, again=True)

    def _wait(self, serve: Callable[[float], int], patience: Callable[[], float], *, again: bool) -> int:
        """Serve until nothing is left, or the patience is at its end, which begins anew with each record that moves."""
        clock = self._admission.clock
        since = clock()
        left = self._left(serve, 0.0)
        while left and (remaining := since + patience() - clock()) > 0:
            before, left = left, self._left(serve, min(_SLICE, remaining))
            if again and left < before:
                since = clock()
        return left

    def _left(self, serve: Callable[[float], int], seconds: float) -> int:
        """Run callbacks for so many seconds, and return the records that are not done, wherever they move meanwhile."""
        in_client = serve(seconds)
        now = self._admission.statistics()
        # Reports are counted before they are served: what the client had a moment ago may be there still.
        left = now.held + now.spooled + max(now.in_flight, in_client) + now.deferred_callbacks
        return left or serve(0.0)

    def _safe(self) -> bool:
        """Whether all that is left is on disk."""
        now = self._admission.statistics()
        refused = any(spooled.uncommitted for way in self._ways for spooled in way.spools)
        return now.held == 0 and not refused and now.in_flight <= sum(way.out for way in self._ways)
