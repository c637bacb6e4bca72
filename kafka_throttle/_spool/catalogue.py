"""What is known of all segments, so that opening a spool does not mean opening them.

Format, version 1. ``catalogue.db`` is an SQLite database, application_id "ktca", user_version 1, in WAL mode::

    CREATE TABLE entries (first INTEGER PRIMARY KEY, data BLOB)

Each row is packed, numbers little-endian, behind magic "ktc", version 1 (1 byte) and the CRC-32 of the rest (4). The
row with ``first`` -1 is the state of the spool: next sequence (8), records lost to damage (8), files set aside (8). Every
other row is a segment: first sequence (8), generation (4), closed (1), end (8), payload bytes (8), bytes on disk (8),
origin (8), acknowledged payload bytes (8), count of records acknowledged from the start (8), then one bit for each
later record, least significant first, 1 for acknowledged.

Invariants: a row may be older than its segment (fewer records, fewer acknowledgements), never ahead of it; a closed
segment has exactly the records that its row says; a row goes before its ``.drained`` file does. All of it can be found
again from the segments, except for the acknowledgements: without them records are replayed once more, never lost.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING
from zlib import crc32

from attrs import define, frozen

from kafka_throttle._spool.faults import legible
from kafka_throttle._spool.marks import Marks
from kafka_throttle._spool.segment import MAX_RECORDS, Segment, name_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kafka_throttle._spool.files import Files, Fsync

__all__ = ["CATALOGUE_NAME", "Catalogue", "CatalogueDamaged", "Known", "State"]

CATALOGUE_NAME = "catalogue.db"
VERSION = 1
APPLICATION_ID = 0x6B746361
_STATE_KEY = -1
_PREFIX = struct.Struct("<3sBI")
_STATE = struct.Struct("<QQQ")
_ENTRY = struct.Struct("<QIBQQQ8sQQ")


class CatalogueDamaged(Exception):
    """The catalogue is not one that this release reads."""


@define
class State:
    """What belongs to the spool as a whole.

    Attributes:
        next_sequence: Sequence of the next record.
        lost_records: Records that damage made unreadable.
        set_aside: Files in the quarantine.
    """

    next_sequence: int = 1
    lost_records: int = 0
    set_aside: int = 0


@frozen
class Known:
    """What a catalogue says.

    Attributes:
        state: Of the spool; None when its row is unreadable.
        segments: By first sequence.
        unreadable: Rows that were left out.
    """

    state: State | None
    segments: dict[int, Segment]
    unreadable: int


class Catalogue:
    """The open catalogue. Its owner sees to it that threads take turns."""

    def __init__(self, directory: Path, files: Files, fsync: Fsync, *, read_only: bool = False) -> None:
        """Open the catalogue of a directory, or create it.

        Raises:
            CatalogueDamaged: When the file is something else.
            sqlite3.Error: When it cannot be opened, or is damaged.
        """
        self.path = directory / CATALOGUE_NAME
        self._files = files
        if not read_only and not self.path.exists():
            files.create(self.path)
        self._connection = files.connect(self.path, fsync=fsync, immutable=False)
        try:
            with legible():
                self._prepare(read_only=read_only)
        except BaseException:  # raised again: only the connection must not stay open
            self._connection.close()
            raise

    def _prepare(self, *, read_only: bool) -> None:
        execute = self._connection.execute
        if read_only:
            execute("PRAGMA query_only = ON")
        elif not execute("SELECT 1 FROM sqlite_master").fetchone():
            execute(f"PRAGMA application_id = {APPLICATION_ID}")
            execute(f"PRAGMA user_version = {VERSION}")
            execute("PRAGMA journal_mode = WAL")
            execute("CREATE TABLE entries (first INTEGER PRIMARY KEY, data BLOB)")
        application = execute("PRAGMA application_id").fetchone()[0]
        version = execute("PRAGMA user_version").fetchone()[0]
        if (application, version) != (APPLICATION_ID, VERSION):
            raise CatalogueDamaged(f"application_id {application:#x}, version {version}")

    def load(self) -> Known:
        """Return everything that is readable; every row is checked by itself."""
        # Damage to SQLite's own pages is found before rows that it hides could be missed.
        verdict = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise CatalogueDamaged(str(verdict))
        state = None
        segments = {}
        unreadable = 0
        for first, data in self._connection.execute("SELECT first, data FROM entries"):
            body = _checked(data)
            if body is None:
                unreadable += 1
            elif first == _STATE_KEY and len(body) == _STATE.size:
                state = State(*_STATE.unpack(body))
            else:
                segment = _unpacked(body, self.path.parent)
                if segment is None or segment.first != first:
                    unreadable += 1
                else:
                    segments[first] = segment
        return Known(state, segments, unreadable)

    def save(self, segments: Iterable[Segment], state: State) -> None:
        """Write rows, in one transaction."""
        chosen = list(segments)
        rows = [(segment.first, _packed(segment)) for segment in chosen]
        rows.append(
            (_STATE_KEY, _sealed(_STATE.pack(state.next_sequence, state.lost_records, state.set_aside)))
        )
        try:
            self._write("INSERT OR REPLACE INTO entries VALUES (?, ?)", rows)
        except BaseException:  # raised again: the marks are still to be saved
            for segment in chosen:
                segment.marks.dirty = True
            raise

    def remove(self, first: int, *, durable: bool) -> None:
        """Forget a segment.

        Args:
            first: Its first sequence.
            durable: Also after the machine stops, not only the process.
        """
        self._write("DELETE FROM entries WHERE first = ?", [(first,)])
        if durable:
            self._connection.execute("PRAGMA wal_checkpoint(FULL)")

    def _write(self, statement: str, rows: list[tuple[int, bytes]] | list[tuple[int]]) -> None:
        try:  # Ctrl-C may come with the very end of the first call
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(statement, rows)
            self._connection.execute("COMMIT")
        except BaseException:  # raised again: half a change must not be kept
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close."""
        self._connection.close()


def _sealed(body: bytes) -> bytes:
    return _PREFIX.pack(b"ktc", VERSION, crc32(body)) + body


def _checked(data: object) -> bytes | None:
    if not isinstance(data, bytes) or len(data) < _PREFIX.size:
        return None
    body = data[_PREFIX.size :]
    return body if _PREFIX.unpack_from(data) == (b"ktc", VERSION, crc32(body)) else None


def _packed(segment: Segment) -> bytes:
    marks = segment.marks
    low, bitmap = marks.dump()
    fixed = _ENTRY.pack(
        segment.first,
        segment.generation,
        segment.closed,
        segment.end,
        segment.payload,
        segment.disk,
        segment.origin,
        marks.payload,
        low,
    )
    return _sealed(fixed + bitmap)


def _unpacked(body: bytes, directory: Path) -> Segment | None:
    if len(body) < _ENTRY.size:
        return None
    first, generation, closed, end, payload, disk, origin, gone, low = _ENTRY.unpack_from(body)
    bitmap = body[_ENTRY.size :]
    if not (
        0 <= end - first <= MAX_RECORDS and low + len(bitmap) * 8 < end - first + 8 and generation < 1000
    ):
        return None
    return Segment(
        directory / name_of(first, generation),
        first,
        end,
        origin,
        payload,
        disk,
        bool(closed),
        marks=Marks.load(first, low, bitmap, gone),
    )
