"""One owner per directory: a lock that dies with the process."""

from __future__ import annotations

import fcntl
import os
import time
import weakref
from typing import TYPE_CHECKING

from kafka_throttle.exceptions import SpoolLocked

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DirectoryLock", "locked", "owner_of"]

LOCK_NAME = "lock"
# `owner_of` holds the lock for some microseconds: who opens the spool just then tries again.
_TRIES = 5
_PAUSE = 0.01


class DirectoryLock:
    """Holds ``DIRECTORY/lock`` with flock(2) until it is released or the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        """Take the lock.

        Raises:
            SpoolLocked: When another owner has it.
            OSError: When the file cannot be opened.
        """
        descriptor = os.open(directory / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            _lock(descriptor)
        except BlockingIOError:
            pid = _pid_in(descriptor)
            os.close(descriptor)
            raise locked(directory, pid) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        self._descriptor: int | None = descriptor
        _held.add(self)

    def release(self) -> None:
        """Give the lock back."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


_held: weakref.WeakSet[DirectoryLock] = weakref.WeakSet()


def _release_in_child() -> None:
    # A forked child shares the open file: as long as it keeps it, the lock would outlive the parent.
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_release_in_child)


def _lock(descriptor: int) -> None:
    for _ in range(_TRIES - 1):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def locked(directory: Path, pid: int | None) -> SpoolLocked:
    """Return the error for whoever wants a directory that another process has.

    Args:
        directory: The spool's.
        pid: The owner, or None when it did not say.
    """
    owner = f"process {pid}" if pid else "another process"
    return SpoolLocked(
        f"the spool in {str(directory)!r} belongs to {owner}; one producer per directory",
        directory=str(directory),
        pid=pid or None,
    )


def owner_of(directory: Path) -> int | None:
    """Return the pid of the process that has the directory now; None when nobody has, 0 when it did not say."""
    try:
        descriptor = os.open(directory / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid_in(descriptor) or 0
    finally:
        os.close(descriptor)
    return None


def _pid_in(descriptor: int) -> int | None:
    text = os.pread(descriptor, 20, 0).strip()
    return int(text) if text.isdigit() else None
