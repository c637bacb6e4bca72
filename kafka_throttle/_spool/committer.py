"""The thread that commits what was appended a few milliseconds ago."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING

from kafka_throttle.exceptions import SpoolError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Committer"]

_LONGEST_PAUSE = 1.0


class Committer:
    """Calls `commit` a while after `begun` was set, earlier when `full` is.

    Attributes:
        begun: Set when a record waits.
        full: Set when it is time.
    """

    def __init__(self, commit: Callable[[], None], seconds: float) -> None:
        """Prepare the thread; it starts with the first record.

        Args:
            commit: May raise SpoolError: it is called again after a growing pause.
            seconds: How long the first record waits for others.
        """
        self.begun = Event()
        self.full = Event()
        self._commit = commit
        self._seconds = seconds
        self._started = False
        self._stopping = False
        self._thread = Thread(target=self._run, name="kafka-throttle-spool", daemon=True)

    def start(self) -> None:
        """Start the thread unless it runs; call it under a lock."""
        if not self._started and not self._stopping:
            self._started = True
            self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopping = True
        self.full.set()
        self.begun.set()
        if self._started:
            self._thread.join()

    def _run(self) -> None:
        pause = 0.0
        while True:
            self.begun.wait()
            self.begun.clear()
            if not self._stopping:
                self.full.wait(max(self._seconds, pause))
                self.full.clear()
            if self._stopping:
                return
            try:
                self._commit()
                pause = 0.0
            except SpoolError:  # the spool keeps it for the next caller of append()
                pause = min(max(2 * pause, 0.05), _LONGEST_PAUSE)
                self.begun.set()
