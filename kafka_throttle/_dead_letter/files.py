"""The files of a file sink: their names, who may write when, and the repair of what a crash left.

A sink at ``letters.jsonl`` has these files beside each other, each for its owner only (0600):

========================== ===========================================================================
``letters.jsonl``          the file that is written
``letters.jsonl.1``, ...   full files; the higher the number, the newer
``letters.jsonl.lock``     locked with flock(2) by whoever writes, renames or rewrites one of the above
``letters.jsonl.torn``     beginnings of lines that a crash has cut off, which hold no letter
========================== ===========================================================================

Under the lock, every file holds whole lines only; a line that a crash has torn is repaired by the next one to write.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kafka_throttle._dead_letter.lines import LONGEST_LINE, letter_in
from kafka_throttle.exceptions import DeadLetterError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Files", "mapped", "open_private", "same_file", "write_whole"]

_BLOCK = 64 * 1024


class Files:
    """The files at one path.

    Attributes:
        path: The file that is written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock: int | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only process that changes the files; the caller sees to it that its threads take turns.

        Raises:
            OSError: When the lock's file cannot be opened.
        """
        if self._lock is None:
            self._lock = open_private(self.beside("lock"), os.O_RDWR | os.O_CREAT, like=self.path)
        lock = self._lock
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Said, and not left to close(): a forked child may have the same open file.
            fcntl.flock(lock, fcntl.LOCK_UN)

    def release(self) -> None:
        """Close the lock's file; `locked` opens it again."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def beside(self, suffix: str) -> Path:
        """Return the path with a suffix after a dot."""
        return self.path.with_name(f"{self.path.name}.{suffix}")

    def full(self) -> list[Path]:
        """Return the full files, oldest first."""
        start = f"{self.path.name}."
        names = (path.name for path in self.path.parent.iterdir())
        numbers = (name.removeprefix(start) for name in names if name.startswith(start))
        return [
            self.beside(str(n))
            for n in sorted(int(n) for n in numbers if n.isascii() and n.isdecimal() and n[0] != "0")
        ]

    def present(self) -> list[Path]:
        """Return the files that there are, oldest first."""
        return [*self.full(), *([self.path] if self.path.exists() else [])]

    def rotate(self) -> None:
        """Give the file that is written the next number; for the owner of the lock."""
        full = self.full()
        newest = int(full[-1].name.rpartition(".")[2]) if full else 0
        self.path.rename(self.beside(str(newest + 1)))

    def repair(self, descriptor: int) -> None:
        """End a file with a whole line; for the owner of the lock.

        Args:
            descriptor: The file, open to read and append.
        """
        size = os.fstat(descriptor).st_size
        if not size or os.pread(descriptor, 1, size - 1) == b"\n":
            return
        start = _start_of_last_line(descriptor, size, self.path)
        torn = os.pread(descriptor, size - start, start)
        try:
            letter_in(torn)
        except DeadLetterError:
            aside = open_private(self.beside("torn"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, like=self.path)
            try:
                write_whole(aside, torn + b"\n")
                os.fsync(aside)
            finally:
                os.close(aside)
            os.ftruncate(descriptor, start)
        else:
            write_whole(descriptor, b"\n")


def open_private(path: Path, flags: int, *, like: Path) -> int:
    """Open a regular file that, when it is created, only its owner may read.

    Args:
        path: The file.
        flags: As for os.open.
        like: Whose owner a file gets that root creates; otherwise root would lock the owner out.

    Raises:
        OSError: When it cannot be opened.
        DeadLetterError: When it is a device, a pipe or the like.
    """
    # Without O_NONBLOCK a pipe would be waited for.
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    with ExitStack() as undo:
        undo.callback(os.close, descriptor)
        _require_regular(descriptor, path)
        if os.geteuid() == 0 and like.exists():
            owner = like.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        undo.pop_all()
    return descriptor


def _require_regular(descriptor: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise DeadLetterError(f"{str(path)!r} is not a regular file")


def write_whole(descriptor: int, data: bytes) -> None:
    """Append bytes to a file, all of them or none; for the owner of the lock.

    Raises:
        OSError: When the disk is full, the file too large or the like; the file is as it was before.
    """
    size = os.fstat(descriptor).st_size
    rest = memoryview(data)
    try:
        while rest:
            # Nearly always once. Only after a part was written does the system say why the rest was not.
            rest = rest[os.write(descriptor, rest) :]
    except BaseException:  # an interrupt must not leave half a line either
        os.ftruncate(descriptor, size)
        raise


def same_file(path: Path, descriptor: int) -> bool:
    """Return whether a path still is the file that was opened."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextmanager
def mapped(action: str, path: Path) -> Iterator[None]:
    """Raise errors of the system as `DeadLetterError`.

    Args:
        action: What was tried, to follow "cannot".
        path: The file.
    """
    try:
        yield
    except OSError as error:
        where = f" ({error.filename!r})" if error.filename not in {None, path, str(path)} else ""
        raise DeadLetterError(f"cannot {action} {str(path)!r}: {error.strerror or error}{where}") from error


def _start_of_last_line(descriptor: int, size: int, path: Path) -> int:
    end = size
    while end and size - end <= LONGEST_LINE:
        start = max(0, end - _BLOCK)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    if not end:
        return 0
    raise DeadLetterError(
        f"{str(path)!r} ends with more than {LONGEST_LINE:,} bytes without a newline: "
        "it is no file of dead letters"
    )
