"""The spool's way to the file system: one small class, so that tests can make every step fail or end the process.

`Files.at` is called at named points and does nothing. A subclass may raise OSError there, or kill the process:

=================== ========================================================================
``before-write``    a batch is about to be inserted
``after-write``     it is inserted; the transaction is open (commit="group" only)
``before-commit``   the transaction is about to be committed (commit="group" only)
``after-commit``    it is committed
``segment-switch``  a full segment is closed; its successor does not exist yet
``before-acknowledge``, ``after-acknowledge``  around the commit of acknowledgements
``before-delete``   a drained segment is still in its place
``after-rename``    it is marked as drained; the catalogue still knows it
``after-delete``    it is gone
=================== ========================================================================
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from kafka_throttle._spool.faults import legible

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["POINTS", "Files", "Fsync", "Point"]

Fsync = Literal["off", "normal", "full"]
Point = Literal[
    "before-write",
    "after-write",
    "before-commit",
    "after-commit",
    "segment-switch",
    "before-acknowledge",
    "after-acknowledge",
    "before-delete",
    "after-rename",
    "after-delete",
]
POINTS: tuple[Point, ...] = Point.__args__  # type: ignore[attr-defined]


class Files:
    """The real file system."""

    def at(self, point: Point) -> None:
        """Pass a named point."""

    def create(self, path: Path) -> None:
        """Create an empty file that only its owner may read.

        Raises:
            FileExistsError: When there is one.
        """
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

    def connect(self, path: Path, *, fsync: Fsync, immutable: bool = False) -> sqlite3.Connection:
        """Open an existing database in autocommit mode; the caller sees to it that threads take turns.

        Args:
            path: The file; SQLite gives its companions the same permissions.
            fsync: "off", "normal" (at checkpoints) or "full" (at each commit).
            immutable: Promise that nobody writes it: no locks, no companions.

        Raises:
            sqlite3.Error, OSError: When it cannot be opened, or is damaged.
        """
        if not immutable:
            _refuse_unwritable(path)
        mode = "mode=ro&immutable=1" if immutable else "mode=rw"
        connection = sqlite3.connect(
            f"file:{quote(os.fsencode(path.absolute()))}?{mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=5.0,
        )
        with ExitStack() as undo, legible():
            undo.callback(connection.close)
            # What a damaged or hostile schema could do is closed.
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
            if not immutable:
                connection.execute(f"PRAGMA synchronous = {fsync.upper()}")
            undo.pop_all()
        return connection

    def rename(self, source: Path, target: Path) -> None:
        """Give a file a new name, in one step; what had that name is replaced."""
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """Delete a file; it may be gone already."""
        with suppress(FileNotFoundError):
            path.unlink()

    def truncate(self, path: Path) -> None:
        """Make a file empty: frees its room also where a full disk allows nothing else."""
        os.truncate(path, 0)

    def fsync_directory(self, directory: Path) -> None:
        """Make created, renamed and deleted names durable."""
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _refuse_unwritable(path: Path) -> None:
    """Tell a damaged "file format write version" from a read-only disk: SQLite has the same words for both."""
    with path.open("rb") as file:
        header = file.read(19)
    if header.startswith(b"SQLite format 3\0") and header[18:] > b"\x02":
        raise sqlite3.DatabaseError(f"unsupported file format: write version {header[18]}")
