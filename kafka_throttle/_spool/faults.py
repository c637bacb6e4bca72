"""What an error of SQLite or of the system means for the spool."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kafka_throttle.exceptions import SpoolError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["as_spool_error", "is_damage", "legible", "mapped"]

# SQLite's words; its numeric codes reach Python only from 3.11 on.
_ERRNO = {
    "database or disk is full": errno.ENOSPC,
    "attempt to write a readonly database": errno.EROFS,
    "unable to open database file": errno.EACCES,
    "disk I/O error": errno.EIO,
}

# The other words that SQLite has for a damaged header or schema.
_DAMAGED = ("no such ", "unsupported file format", "malformed ", "Could not decode to UTF-8 ")


def is_damage(error: BaseException) -> bool:
    """Whether the error says that a file is damaged, not that the disk is full, forbidden or failing."""
    # SQLITE_CORRUPT and SQLITE_NOTADB are plain DatabaseErrors in Python, a blob longer than can be is a DataError.
    return type(error) in {sqlite3.DatabaseError, sqlite3.DataError} or (
        isinstance(error, sqlite3.OperationalError) and str(error).startswith(_DAMAGED)
    )


@contextmanager
def legible() -> Iterator[None]:
    """Raise what other damage raises when SQLite's complaint about a schema quotes bytes that are no text."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise sqlite3.DatabaseError(f"malformed schema: {error}") from error


def as_spool_error(action: str, error: BaseException, directory: Path) -> SpoolError:
    """Return what the application gets to see.

    Args:
        action: What could not be done, to follow "cannot".
        error: Of sqlite3 or of the system.
        directory: The spool's.
    """
    if isinstance(error, SpoolError):
        return error
    number = error.errno if isinstance(error, OSError) else _ERRNO.get(str(error))
    detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return SpoolError(
        f"cannot {action} in {str(directory)!r}: {detail}", directory=str(directory), errno=number
    )


@contextmanager
def mapped(action: str, directory: Path) -> Iterator[None]:
    """Raise errors of sqlite3 and of the system as `SpoolError`."""
    try:
        yield
    except SpoolError:
        raise
    except (sqlite3.Error, OSError) as error:
        raise as_spool_error(action, error, directory) from error
