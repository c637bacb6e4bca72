"""`Untold`: callbacks that want to know when their record is on disk, and not only what becomes of it in the end."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["CommitAware", "Spilled", "Untold"]


@frozen
class Spilled:
    """The result of a record that was put on disk: it is safe there, and is sent when there is room.

    Attributes:
        topic: Its topic.
        directory: The spool's directory.
        sequence: Its number in the spool, higher than that of every earlier one.
    """

    topic: str
    directory: str
    sequence: int


class CommitAware(Protocol):
    """A callback that is told when its record is on disk.

    Attributes:
        keeps: Whether it is to be called again, with the outcome, after `committed`: else it can be forgotten then.
    """

    @property
    def keeps(self) -> bool: ...

    def committed(self, spilled: Spilled) -> None:
        """Take note, in whichever thread has committed."""

    def left(self, spilled: Spilled) -> None:
        """Take note that the record stays on disk, as its producer is closed: the next one sends it."""

    def __call__(self, error: Any, message: Any, /) -> object: ...


class Untold:
    """The callbacks of one spool that want to be told.

    Args:
        directory: The spool's directory.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._end = 0
        self._waiting: deque[tuple[int, str, CommitAware]] = deque()
        self._keeping: deque[tuple[int, CommitAware, str]] = deque()
        # Held for moments only, and never while something else is waited for: whoever commits has the disk's lock.
        self._lock = threading.Lock()

    def add(self, sequence: int, topic: str, callback: CommitAware) -> None:
        """Remember the callback of the record that was appended last."""
        with self._lock:
            self._waiting.append((sequence, topic, callback))
            end = self._end
        if sequence < end:  # it was committed before we came here
            self.tell(end)

    def tell(self, end: int) -> None:
        """Tell the callbacks of all records before this sequence."""
        told = []
        with self._lock:
            self._end = max(self._end, end)
            waiting = self._waiting
            while waiting and waiting[0][0] < end:
                sequence, topic, callback = waiting.popleft()
                told.append((sequence, topic, callback))
                if callback.keeps:
                    self._keeping.append((sequence, callback, topic))
        for sequence, topic, callback in told:
            callback.committed(Spilled(topic, self._directory, sequence))

    def take(self, sequence: int) -> Callable[[Any, Any], object] | None:
        """Return the callback of a record that is about to be sent; sequences come in ascending order."""
        with self._lock:
            keeping, waiting = self._keeping, self._waiting
            while keeping and keeping[0][0] < sequence:
                keeping.popleft()
            if keeping and keeping[0][0] == sequence:
                return keeping.popleft()[1]
            if waiting and waiting[0][0] == sequence:
                return waiting.popleft()[2]
        return None

    def end(self, taken: Iterable[tuple[int, Any, str]]) -> None:
        """Tell those whose records stay on disk, when everything is committed and nothing is sent any more.

        Args:
            taken: Numbers, callbacks and topics of records that were about to be sent.
        """
        with self._lock:
            keeping, self._keeping = self._keeping, deque()
        for sequence, callback, topic in (*taken, *keeping):
            if hasattr(callback, "left"):
                callback.left(Spilled(topic, self._directory, sequence))
