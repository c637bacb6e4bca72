"""One file of the spool: a run of batches without gaps.

Format, version 1. A segment is an SQLite database, application_id "ktsp", user_version 1, in WAL mode, named
``<first sequence, 20 digits>-<generation, 3 digits>.segment``::

    CREATE TABLE head (id INTEGER PRIMARY KEY, data BLOB)
    CREATE TABLE batches (first INTEGER PRIMARY KEY, records INTEGER, payload INTEGER, data BLOB)

``head`` has one row: magic "kts", version 1 (1 byte), CRC-32 of the rest (4), first sequence (8), origin (8), numbers
little-endian. ``batches`` has a row for each batch (see `kafka_throttle._spool.batch`): its first sequence, its count of
records, their payload bytes, the packed batch; NULL instead of the batch, in a rebuilt
generation and with a payload of 0, says that these records were lost to damage and have been counted; anywhere else it
is damage.

Invariants: the rows follow one another without a gap from the segment's first sequence on; ``records`` and ``payload``
are what the batch says; rows are only ever added, in the transaction that commits their records; of two generations of
one segment the higher is right and the lower is damaged; a file without the table ``batches`` never held a record.
Names: ``.segment`` holds records, ``.new`` is being written by a repair and holds nothing that is not elsewhere,
``.drained`` holds nothing that anybody waits for.
"""

from __future__ import annotations

import re
import sqlite3
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from attrs import Factory, define, field

from kafka_throttle._spool.faults import legible
from kafka_throttle._spool.marks import Marks

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kafka_throttle._spool.files import Files, Fsync

__all__ = [
    "MAX_RECORDS",
    "Damaged",
    "Row",
    "Segment",
    "SegmentFile",
    "companions",
    "name_of",
    "parse_name",
    "size_on_disk",
]

VERSION = 1
APPLICATION_ID = 0x6B747370
MAX_RECORDS = 1 << 21
_NAME = re.compile(r"(\d{20})-(\d{3})\.segment")
_HEAD = struct.Struct("<3sBIQ8s")
_CRC_END = 8
LOG_BYTES = 4 << 20
_SCHEMA = (
    "CREATE TABLE head (id INTEGER PRIMARY KEY, data BLOB)",
    "CREATE TABLE batches (first INTEGER PRIMARY KEY, records INTEGER, payload INTEGER, data BLOB)",
)
_INSERT = "INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?)"


class Damaged(Exception):
    """A segment does not hold what it should."""


class Row(NamedTuple):
    """A row of ``batches``."""

    first: int
    records: int
    payload: int
    data: bytes | None


def _no_marks(segment: Segment) -> Marks:
    return Marks(segment.first)


@define
class Segment:
    """What is known of a segment without opening it.

    Attributes:
        path: The file.
        first: Sequence of its first record.
        end: Sequence after its last committed record.
        origin: Eight random bytes that make its record ids unique.
        payload: Payload bytes of its records.
        disk: Bytes on disk.
        closed: Whether it takes no more records.
        marks: What is acknowledged.
    """

    path: Path
    first: int
    end: int
    origin: bytes
    payload: int = 0
    disk: int = 0
    closed: bool = False
    marks: Marks = field(default=Factory(_no_marks, takes_self=True), kw_only=True)

    @property
    def generation(self) -> int:
        """How often it was rebuilt after damage."""
        name = parse_name(self.path.name)
        return name[1] if name else 0

    @property
    def drained(self) -> bool:
        """Whether every record is acknowledged and none can come."""
        return self.closed and self.marks.count >= self.end - self.first


def name_of(first: int, generation: int = 0) -> str:
    """Return the file name of a segment."""
    return f"{first:020d}-{generation:03d}.segment"


def parse_name(name: str) -> tuple[int, int] | None:
    """Return first sequence and generation, or None when it is no segment's name."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def companions(path: Path) -> tuple[Path, Path]:
    """Return SQLite's write-ahead log and its index."""
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def size_on_disk(path: Path) -> int:
    """Return the bytes of a segment with its write-ahead log."""
    total = 0
    for each in (path, companions(path)[0]):
        with suppress(FileNotFoundError):
            total += each.stat().st_size
    return total


class SegmentFile:
    """An open segment. Its owner sees to it that threads take turns.

    Every error is sqlite3's own or `Damaged`; the caller maps them.

    Attributes:
        path: The file.
        connection: Its connection.
        is_shell: Whether its creation was interrupted before a record could be written.
    """

    is_shell = False

    def __init__(self, path: Path, files: Files, fsync: Fsync) -> None:
        """Open an existing file.

        Raises:
            Damaged: When it is no segment, or not one that this release reads.
            sqlite3.OperationalError: When it cannot be opened.
        """
        self.path = path
        self._files = files
        wal = companions(path)[0]
        # What has no write-ahead log is complete and is never written again: it needs no lock and no companion.
        immutable = not wal.exists() or wal.stat().st_size == 0
        self.connection = files.connect(path, fsync=fsync, immutable=immutable)
        try:
            with legible():
                self._check()
        except BaseException:
            self.connection.close()
            raise

    @classmethod
    def writable(cls, path: Path, files: Files, fsync: Fsync, log_bytes: int = LOG_BYTES) -> SegmentFile:
        """Open a segment to write to it; SQLite moves its log into it when the log has `log_bytes`."""
        self = cls.__new__(cls)
        self.path = path
        self._files = files
        self.connection = files.connect(path, fsync=fsync)
        try:
            with legible():
                self._own(log_bytes)
                self._check()
        except BaseException:
            self.connection.close()
            raise
        return self

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        first: int,
        origin: bytes,
        files: Files,
        fsync: Fsync,
        page_size: int,
        log_bytes: int = LOG_BYTES,
    ) -> SegmentFile:
        """Create a segment.

        Args:
            path: The file; it must not exist.
            first: Sequence of its first record.
            origin: Eight random bytes.
            files: The file system.
            fsync: How durable.
            page_size: SQLite's page size in bytes.
            log_bytes: Bytes of its write-ahead log at which SQLite moves it into the database.
        """
        self = cls.__new__(cls)
        self.path = path
        self._files = files
        files.create(path)
        self.connection = files.connect(path, fsync=fsync)
        try:
            execute = self.connection.execute
            execute(f"PRAGMA page_size = {page_size}")
            execute(f"PRAGMA application_id = {APPLICATION_ID}")
            execute(f"PRAGMA user_version = {VERSION}")
            self._own(log_bytes)
            body = struct.pack("<Q8s", first, origin)
            execute("BEGIN")
            execute("CREATE TABLE head (id INTEGER PRIMARY KEY, data BLOB)")
            execute(
                "CREATE TABLE batches (first INTEGER PRIMARY KEY, records INTEGER, payload INTEGER, data BLOB)"
            )
            execute(
                "INSERT INTO head VALUES (1, ?)", (_HEAD.pack(b"kts", VERSION, crc32(body), first, origin),)
            )
            execute("COMMIT")
            if fsync != "off":
                files.fsync_directory(path.parent)
        except BaseException:
            self.connection.close()
            raise
        return self

    def _own(self, log_bytes: int) -> None:
        # One owner has the directory's lock anyway: SQLite's own locks and shared memory would cost half the speed.
        self.connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute(f"PRAGMA wal_autocheckpoint = {log_bytes // self._pragma('page_size')}")
        self.connection.execute(f"PRAGMA journal_size_limit = {log_bytes}")

    def _pragma(self, name: str) -> int:
        value = self.connection.execute(f"PRAGMA {name}").fetchone()[0]
        return int(value)

    def _check(self) -> None:
        self.is_shell = self._is_shell()
        if self.is_shell:
            return
        application, version = self._pragma("application_id"), self._pragma("user_version")
        if application != APPLICATION_ID:
            raise Damaged("it is not a segment of a spool")
        if version != VERSION:
            raise Damaged(f"it has version {version}; this release reads version {VERSION}")
        # SQLite reports a damaged schema in many ways, some of which look like mistakes in a statement.
        tables = tuple(
            row[0] for row in self.connection.execute("SELECT sql FROM sqlite_master ORDER BY rowid")
        )
        if tables != _SCHEMA:
            raise Damaged("its schema is unreadable")

    def head(self) -> tuple[int, bytes]:
        """Return the first sequence and the origin."""
        row = self.connection.execute("SELECT data FROM head WHERE id = 1").fetchone()
        data = row[0] if row else None
        if (
            not isinstance(data, bytes)
            or len(data) != _HEAD.size
            or crc32(data[_CRC_END:]) != _HEAD.unpack(data)[2]
        ):
            raise Damaged("its head is unreadable")
        _, _, _, first, origin = _HEAD.unpack(data)
        return first, origin

    def _is_shell(self) -> bool:
        """Whether nothing but the first page was ever written: its creation was interrupted, no record is in it."""
        if self._pragma("page_count") > 1 or self.path.stat().st_size > self._pragma("page_size"):
            return False
        return not self.connection.execute("SELECT 1 FROM sqlite_master").fetchone()

    def log_frames(self) -> int:
        """Return the frames of the write-ahead log that SQLite takes for committed; write them to the database."""
        return int(self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1])

    def summary(self, first: int) -> tuple[int, int, int]:
        """Return the end, the records and the payload bytes of the batches from sequence `first` on."""
        end, records, payload = self.connection.execute(
            "SELECT max(first + records), sum(records), sum(payload) FROM batches WHERE first >= ?", (first,)
        ).fetchone()
        if end is None:
            return first, 0, 0
        if not (isinstance(end, int) and isinstance(records, int) and isinstance(payload, int)):
            raise Damaged("its index has something else than numbers")
        return end, records, payload

    def last_end(self) -> int | None:
        """Return the sequence after the last record; None when there is no batch."""
        row = self.connection.execute(
            "SELECT first + records FROM batches ORDER BY first DESC LIMIT 1"
        ).fetchone()
        return row[0] if row and isinstance(row[0], int) else None

    def insert(self, rows: Iterable[Row]) -> None:
        """Add batches; REPLACE, because a commit that failed may have happened all the same."""
        self.connection.executemany(_INSERT, rows)

    def insert_one(self, row: Row) -> None:
        """Add one batch; outside a transaction it is committed at once."""
        self.connection.execute(_INSERT, row)

    def rows(self, first: int, end: int, limit: int) -> list[Row]:
        """Return up to `limit` rows from the batch that holds sequence `first` on, below `end`."""
        found = self.connection.execute(
            "SELECT first, records, payload, data FROM batches WHERE first >= "
            "(SELECT max(first) FROM batches WHERE first <= ?) AND first < ? ORDER BY first LIMIT ?",
            (first, end, limit),
        )
        return [Row(*row) for row in found]

    def full_size(self) -> int:
        """Return the bytes of the database, with what its log is still to add to it, and of the log."""
        with suppress(FileNotFoundError):
            pages = self._pragma("page_count") * self._pragma("page_size")
            return pages + companions(self.path)[0].stat().st_size
        return 0

    def seal(self) -> None:
        """Bring everything into the database itself and close."""
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.connection.close()

    def close(self) -> None:
        """Close; what the log holds is found again."""
        with suppress(sqlite3.Error):
            self.connection.close()
