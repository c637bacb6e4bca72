"""The file sink: one line of JSON for each letter, in files that are rotated and never deleted."""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING

from kafka_throttle._dead_letter.files import Files, mapped, open_private, same_file, write_whole
from kafka_throttle._dead_letter.lines import line_of
from kafka_throttle._units import format_bytes
from kafka_throttle.exceptions import DeadLetterError

if TYPE_CHECKING:
    from pathlib import Path

    from kafka_throttle._dead_letter.letter import Letter
    from kafka_throttle._dead_letter.sinks import Done

__all__ = ["FileSink"]


class FileSink:
    """Writes letters to a file while the caller waits: when `write` returns, the system has the whole line.

    Several threads, several sinks and several processes may write to the same path; they take turns. A letter
    survives the end of the process at once, and that of the machine after `flush` or `close`.
    """

    def __init__(
        self, path: str | os.PathLike[str], max_bytes: int = 64 * 2**20, files: int | None = 5
    ) -> None:
        """Create or open the file, and its directory when that is missing.

        Args:
            path: The file.
            max_bytes: Size at which it is full; a letter that alone is larger has a file to itself.
            files: How many files there may be; when the last is full, `write` raises. None for any number.

        Raises:
            DeadLetterError: When it cannot be written.
        """
        self._files = Files(path)
        self._max_bytes = max_bytes
        self._most_files = files
        self._turn = threading.Lock()
        self._descriptor: int | None = None
        self._end = -1
        self._closed = False
        with ExitStack() as undo, mapped("open the file of dead letters", self._files.path):
            undo.callback(self._let_go)
            self._files.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._files.locked():
                self._files.repair(self._opened())
            undo.pop_all()
        _open_sinks.add(self)

    def __repr__(self) -> str:
        return f"<FileSink {str(self._files.path)!r}{', closed' if self._closed else ''}>"

    @property
    def pending(self) -> int:
        """Letters written whose `done` was not called yet: none, ever."""
        return 0

    def write(self, letter: Letter, done: Done) -> None:
        """Append a letter, and call `done` with None.

        Args:
            letter: The letter.
            done: Called before this returns, in the same thread.

        Raises:
            DeadLetterError: When the files are full, the disk refuses, or the sink is closed; nothing was written.
        """
        line = line_of(letter)
        with self._turn:
            self._require_open()
            with mapped("write a dead letter to", self._files.path), self._files.locked():
                self._append(line)
        done(None)

    def flush(self, timeout: float | None = None) -> int:  # noqa: ARG002 (of every sink)
        """Make what was written survive the end of the machine.

        Args:
            timeout: Not needed: nothing is waited for but the disk.

        Returns:
            Letters left: 0.

        Raises:
            DeadLetterError: When the disk refuses.
        """
        with self._turn, mapped("flush", self._files.path):
            if self._descriptor is not None:
                os.fsync(self._descriptor)
                _fsync_directory(self._files.path.parent)
        return 0

    def close(self, timeout: float | None = None) -> int:
        """Flush and close; `write` raises from then on.

        Args:
            timeout: As for `flush`.

        Returns:
            Letters left: 0.

        Raises:
            DeadLetterError: When the disk refuses to flush; the sink is closed all the same.
        """
        try:
            return self.flush(timeout)
        finally:
            with self._turn:
                self._closed = True
                self._let_go()

    def _append(self, line: bytes) -> None:
        descriptor = self._opened()
        size = os.fstat(descriptor).st_size
        if size != self._end:  # another process wrote last, and may have been killed at it
            self._files.repair(descriptor)
            size = os.fstat(descriptor).st_size
        if size and size + len(line) > self._max_bytes:
            self._rotate(descriptor)
            descriptor, size = self._opened(), 0
        self._end = -1
        write_whole(descriptor, line)
        self._end = size + len(line)

    def _opened(self) -> int:
        """Return the file that has the path now: another process may have rotated or rewritten the one we knew."""
        path = self._files.path
        if self._descriptor is not None and not same_file(path, self._descriptor):
            os.close(self._descriptor)
            self._descriptor = None
        if self._descriptor is None:
            self._descriptor = open_private(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, like=path)
            self._end = -1
        return self._descriptor

    def _rotate(self, descriptor: int) -> None:
        present = len(self._files.full()) + 1
        if self._most_files is not None and present >= self._most_files:
            raise DeadLetterError(
                f"the file of dead letters {str(self._files.path)!r} is full: {present} of {self._most_files} files "
                f"of {format_bytes(self._max_bytes)} each; requeue the letters, move full files away, or allow more"
            )
        os.fsync(descriptor)  # for the promise of flush(), which will not reach it any more
        self._files.rotate()

    def _require_open(self) -> None:
        if self._closed:
            raise DeadLetterError(f"the file of dead letters {str(self._files.path)!r} is closed")

    def _let_go(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
        self._files.release()

    def _renew(self) -> None:
        """Share neither lock nor open files with the parent process."""
        self._turn = threading.Lock()
        self._let_go()


def _fsync_directory(directory: Path) -> None:
    """Make the names of created and renamed files durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_open_sinks: weakref.WeakSet[FileSink] = weakref.WeakSet()


def _in_child() -> None:
    for sink in list(_open_sinks):
        sink._renew()  # noqa: SLF001 (the same module)


os.register_at_fork(after_in_child=_in_child)
