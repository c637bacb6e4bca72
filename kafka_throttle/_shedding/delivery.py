"""`Delivery`: stands in for the callback of a record that the facade follows to its outcome."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kafka_throttle._records import Record
    from kafka_throttle._shedding.way import Way

__all__ = ["Deferred", "Delivery"]


class Delivery:
    """Tells the record's way of its outcome at once, and the user's callback when its time has come.

    Args:
        way: The record's way.
        record: The record.
        sequence: Its number in the spool that keeps it; -1: it is in none.
        spool: Which of the way's spools that is.
    """

    __slots__ = ("record", "sequence", "spool", "way")

    def __init__(self, way: Way, record: Record, sequence: int = -1, spool: Any = None) -> None:
        self.way = way
        self.record = record
        self.sequence = sequence
        self.spool = spool

    @property
    def _callback(self) -> Any:
        callback = self.record.callback
        return self.way.default_callback if callback is None else callback

    def __call__(self, error: Any, message: Any) -> None:
        """Take the report in the user's own poll() or flush(), or on an event loop."""
        if error is not None and self.way.elsewhere is not None:
            self.way.elsewhere(self, error, message)
        elif self.way.settle(self, error):
            callback = self._callback
            if callback is not None:
                callback(error, message)

    def put_off(self, error: Any, message: Any, deferred: deque[tuple[Any, ...]]) -> None:
        """Take the report while the facade polls: the user's callback has to wait."""
        if self.way.settle(self, error):
            callback = self._callback
            if callback is not None:
                deque.append(deferred, (callback, error, message))


class Deferred(deque[Any]):
    """Calls that wait for the user's poll(). What the facade itself has to know is told at once."""

    def append(self, entry: tuple[Any, ...]) -> None:
        """Add a call: (callback, arguments...)."""
        callback = entry[0]
        if callback.__class__ is Delivery:
            callback.put_off(entry[1], entry[2], self)
        else:
            super().append(entry)
