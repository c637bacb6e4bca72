"""Appends batches to the last segment, and begins a new one when it is full."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

from kafka_throttle._spool.batch import MAX_COUNT, pack
from kafka_throttle._spool.faults import is_damage
from kafka_throttle._spool.segment import (
    LOG_BYTES,
    MAX_RECORDS,
    Damaged,
    Row,
    Segment,
    SegmentFile,
    companions,
    name_of,
    size_on_disk,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kafka_throttle._spool.buffer import Chunk
    from kafka_throttle._spool.store import Store

__all__ = ["Writer"]

# Commits of one record each after which its segment is measured; a batch is measured each time.
_MEASURE_EVERY = 64
_WORTH_DELETING = 1 << 20
# One more transaction, of 16 batches at most, is sure to fit.
_FULL_AT = MAX_RECORDS - 16 * MAX_COUNT


class Writer:
    """Owns the open segment. Its caller sees to it that threads take turns.

    Attributes:
        segment: The segment that takes records, or None.
        committed: Sequence after the last committed record.
    """

    def __init__(self, store: Store, *, segment_bytes: int, page_size: int, explicit: bool) -> None:
        """Continue the store's last segment if it is open.

        Args:
            store: The spool's directory.
            segment_bytes: Size at which a new segment is begun.
            page_size: SQLite's page size in bytes, for new segments.
            explicit: Whether a transaction is begun and committed in steps of its own; one statement alone is faster.
        """
        self._store = store
        self._segment_bytes = segment_bytes
        self._log_bytes = min(segment_bytes // 2, LOG_BYTES)
        self._page_size = page_size
        self._explicit = explicit
        self._file: SegmentFile | None = None
        self._unmeasured = 0
        last = store.segments[-1] if store.segments else None
        self.segment = last if last and not last.closed else None
        self.committed = store.state.next_sequence

    def write(self, chunks: Sequence[Chunk]) -> None:
        """Commit chunks, in one transaction.

        Raises:
            sqlite3.Error, OSError: When nothing of them was committed; the same chunks may be tried again.
        """
        file, segment = self._ready_for(chunks[0])
        rows = [
            Row(chunk.first, len(chunk.rows), chunk.payload, pack(chunk.first, chunk.spooled_at, chunk.rows))
            for chunk in chunks
        ]
        try:
            self._commit(file, rows)
        except BaseException as error:
            self._let_go(error)
            raise
        self.committed = segment.end = chunks[-1].end
        for chunk in chunks:
            chunk.origin = segment.origin
            segment.payload += chunk.payload
        segment.disk += sum(len(row.data or b"") for row in rows)
        self._unmeasured += 1
        if self._explicit or self._unmeasured >= _MEASURE_EVERY:
            self.measure()

    def _commit(self, file: SegmentFile, rows: Sequence[Row]) -> None:
        at = self._store.files.at
        at("before-write")
        if self._explicit:
            file.connection.execute("BEGIN")
            file.insert(rows)
            at("after-write")
            at("before-commit")
            file.connection.execute("COMMIT")
        else:
            for row in rows:
                file.insert_one(row)
        at("after-commit")

    def _let_go(self, error: BaseException) -> None:
        """Close the segment after an error: a fresh connection finds out what is true."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(sqlite3.Error):
                if file.connection.in_transaction:
                    file.connection.execute("ROLLBACK")
            file.close()
        if is_damage(error):
            self.abandon()

    def _ready_for(self, chunk: Chunk) -> tuple[SegmentFile, Segment]:
        """Return the open segment that can take a chunk, a new one if need be."""
        segment = self.segment
        if segment is not None:
            full = segment.disk >= self._segment_bytes or segment.end - segment.first >= _FULL_AT
            if full or segment.end != chunk.first or chunk.origin not in {b"", segment.origin}:
                self.retire()
            else:
                file = self._file = self._file or self._reopened(segment)
                if file is not None:
                    return file, segment
        return self._begin(chunk.first, chunk.origin or os.urandom(8))

    def origin_for(self, sequence: int) -> bytes:
        """Return the origin that a segment for records from `sequence` on should have."""
        segment = self.segment
        return segment.origin if segment is not None and segment.end == sequence else os.urandom(8)

    def _reopened(self, segment: Segment) -> SegmentFile | None:
        """Open the segment again; when it is not what it was, let it be and return None."""
        if not segment.path.exists():
            self.abandon()
            return None
        try:
            file = SegmentFile.writable(segment.path, self._store.files, self._store.fsync, self._log_bytes)
        except (Damaged, sqlite3.DatabaseError) as error:
            if not isinstance(error, Damaged) and not is_damage(error):
                raise
            self.abandon()
            return None
        if (file.last_end() or segment.first) < segment.end:
            file.close()
            self.abandon()
            return None
        return file

    def _begin(self, sequence: int, origin: bytes) -> tuple[SegmentFile, Segment]:
        store = self._store
        path = store.directory / name_of(sequence)
        for leftover in (path, *companions(path)):
            # Only an attempt that failed can have left it: no record has this sequence yet.
            store.files.unlink(leftover)
        segment = Segment(path, sequence, sequence, origin)
        file = self._file = SegmentFile.create(
            path,
            first=sequence,
            origin=origin,
            files=store.files,
            fsync=store.fsync,
            page_size=self._page_size,
            log_bytes=self._log_bytes,
        )
        segment.disk = size_on_disk(path)
        store.segments.append(segment)
        self.segment = segment
        with suppress(sqlite3.OperationalError):  # a segment without a row is found by its file
            store.save(segment)
        return file, segment

    @property
    def is_worth_deleting(self) -> bool:
        """Whether the open segment is large enough to begin a new one only to get rid of it."""
        return self.segment is not None and self.segment.disk > min(self._segment_bytes // 2, _WORTH_DELETING)

    @property
    def is_doubtful(self) -> bool:
        """Whether the open segment's file may hold more than is known of it.

        A commit can fail and have happened all the same. What was tried, and then left in another way than to the disk,
        must not be found there by the next owner: it is not read from a segment that is closed.
        """
        return self.segment is not None and self.segment.end < self._store.state.next_sequence

    def retire(self) -> None:
        """Close the segment for good.

        Raises:
            sqlite3.Error, OSError: When it cannot be completed now; it stays the open one.
        """
        segment = self.segment
        if segment is None:
            return
        if self._file is None:
            self._file = self._reopened(segment)
        if self._file is not None:
            try:
                self._file.seal()
            except BaseException as error:
                self._let_go(error)
                raise
            self._file = None
            segment.disk = size_on_disk(segment.path)
        segment.closed = True
        self.segment = None
        with suppress(sqlite3.OperationalError):  # what the row does not say yet, the file does
            self._store.save(segment)
        self._store.files.at("segment-switch")

    def abandon(self) -> None:
        """Take no more records into the segment; what is wrong with it shows when it is read."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
        if self.segment is not None:
            self.segment.closed = True
            self.segment = None

    def rows(self, segment: Segment, first: int, limit: int) -> list[Row]:
        """Return rows of the open segment: only this connection can read it."""
        if self._file is None:
            self._file = self._reopened(segment)
        if self._file is None:
            raise Damaged("it cannot be opened any more")
        return self._file.rows(first, segment.end, limit)

    def measure(self) -> None:
        """Find out what the open segment has on disk, with what its log is still to add to it."""
        segment = self.segment
        if segment is not None:
            self._unmeasured = 0
            segment.disk = max(size_on_disk(segment.path), self._file.full_size() if self._file else 0)

    def close(self) -> None:
        """Close the connection; the segment stays the open one."""
        file, self._file = self._file, None
        if file is not None and self.segment is not None:
            try:
                file.seal()
            finally:
                file.close()
            self.segment.disk = size_on_disk(self.segment.path)
