"""The writing half of a spool: what was appended, until it is committed."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from threading import Lock, RLock
from typing import TYPE_CHECKING

from kafka_throttle._spool.buffer import Chunk, Recent
from kafka_throttle._spool.committer import Committer
from kafka_throttle._spool.examine import examine
from kafka_throttle._spool.faults import as_spool_error
from kafka_throttle.exceptions import SpoolError, SpoolFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kafka_throttle._spool.batch import Row
    from kafka_throttle._spool.record import SpooledRecord
    from kafka_throttle._spool.store import Store
    from kafka_throttle._spool.writer import Writer

__all__ = ["Intake"]

_UNLIMITED = 1 << 62
_PLAIN = frozenset({bytes, type(None)})
_MOST_TOPICS = 10_000
# What `max_bytes` is reckoned with. Everything is on disk twice for a while: in SQLite's log and in the database. A batch needs
# up to 26 bytes a record beside its payload; a row touches some pages that are not full.
_RECORD_OVERHEAD = 64
_CHUNK_OVERHEAD = 32_768
_ALONE_OVERHEAD = 16_384
_CHUNK_BYTES = 2 << 20
# Chunks that may wait for the disk before append() waits for it too.
_MOST_CHUNKS = 16
# With less room than this, append() may look on the disk for more.
_TIGHT = 4 << 20
# Bytes of committed chunks that are kept for a replay that keeps up.
_RECENT_BYTES = 16 << 20


class Intake:
    """Takes records, and has them committed one by one or in groups. `Spool` is what it is a half of.

    A group is a list of tuples under a lock, packed all at once when it is committed: a record costs its tuple, its size
    and the lock.

    What the disk refuses waits in its chunk for the next attempt. Meanwhile it may be handed out from there (`refused`); a
    chunk whose records are all acknowledged before the disk takes it is dropped. Only the first can be: what is committed
    follows without a gap.

    Attributes:
        on_commit: Called with the sequence after the last one that is on disk, by whichever thread has committed.
    """

    def __init__(
        self,
        store: Store,
        writer: Writer,
        clock: Callable[[], float],
        *,
        each: bool,
        max_bytes: int | None,
        group_records: int,
        group_seconds: float | None,
    ) -> None:
        """Begin with nothing.

        Args:
            store: The spool's directory.
            writer: Commits chunks.
            clock: Seconds since the epoch.
            each: Commit each record before append() returns.
            max_bytes: Bytes that the segments may have on disk; None for no limit.
            group_records: Records of a chunk.
            group_seconds: Seconds after which a chunk is committed; None for no thread.
        """
        self.on_commit: Callable[[int], None] | None = None
        self._store = store
        self._writer = writer
        self._clock = clock
        self._each = each
        self._max_bytes = max_bytes
        self._group_records = group_records
        self._lock = Lock()
        self._disk = RLock()
        self._recent = Recent(_RECENT_BYTES)
        self._topics: set[str] = set()
        self._rows: list[Row] = []
        self._first = self._store.state.next_sequence
        self._began = 0.0
        self._full_chunks: list[Chunk] = []
        self._trouble: SpoolError | None = None
        self._ended: str | None = None
        self._retry_at = 0.0
        self._room = _UNLIMITED
        self._floor = 0
        self._make_room()
        self._committer = None
        if not each and group_seconds is not None:
            self._committer = Committer(self.commit, group_seconds)

    def append(
        self,
        topic: str,
        key: bytes | None = None,
        value: bytes | None = None,
        headers: Iterable[tuple[str, bytes | None]] | None = None,
        timestamp: int = 0,
        partition: int = -1,
    ) -> int:
        """Add a record.

        Args:
            topic: The topic.
            key: The key.
            value: The value.
            headers: Names and values; order and duplicates are kept.
            timestamp: Milliseconds since the epoch; 0 when the client shall choose.
            partition: The partition; -1 when the client shall choose.

        Returns:
            The record's sequence, higher than every earlier one.

        Raises:
            SpoolFull: When it does not fit under `max_bytes`.
            SpoolError: When the disk refuses (or refused a moment ago).
            TypeError, ValueError: When the record is not one.
        """
        if (
            topic not in self._topics
            or value.__class__ not in _PLAIN
            or key.__class__ not in _PLAIN
            or headers is not None
            or timestamp
            or partition != -1
        ):
            checked, size = examine(topic, key, value, headers, timestamp, partition)
            self._remember(topic)
        else:
            checked = None
            size = len(value or b"") + len(key or b"")
        if self._each:
            return self._append_one((topic, key, value, checked, timestamp, partition), size)
        if self._trouble is not None:
            self._face_trouble()
        with self._lock:
            rows = self._rows
            count = len(rows)
            sequence = self._first + count
            room = self._room - size - size - _RECORD_OVERHEAD
            if not count:
                room -= _CHUNK_OVERHEAD
            if room >= 0:
                if not count:
                    self._begin(room + size + size + _RECORD_OVERHEAD)
                self._room = room
                rows.append((topic, key, value, checked, timestamp, partition))
                if count + 1 < self._group_records and room >= self._floor:
                    return sequence
                waiting = self._end_chunk()
            else:
                waiting = -1
        if waiting < 0:
            self._make_tight_room(size)
            return self.append(
                topic, key, value, headers if checked is None else checked, timestamp, partition
            )
        if waiting >= _MOST_CHUNKS or self._committer is None:
            # The record is accepted: an error now is for the next one.
            with suppress(SpoolError):
                self.commit()
        return sequence

    @property
    def may_wait(self) -> bool:
        """Whether append() may have to wait for the disk."""
        return (
            self._each
            or self._trouble is not None
            or len(self._full_chunks) >= _MOST_CHUNKS - 1
            or self._room < _TIGHT
        )

    @property
    def next_sequence(self) -> int:
        """The sequence of the next record."""
        if self._each:
            return max(self._first, self._writer.committed)
        with self._lock:
            return self._first + len(self._rows)

    def _make_tight_room(self, size: int) -> None:
        """Commit what waits: it may need less room than was reckoned.

        Raises:
            SpoolFull: When a record of `size` bytes does not fit even then.
        """
        self.commit()
        self._make_room()
        if self._room < 2 * size + _RECORD_OVERHEAD + _CHUNK_OVERHEAD:
            raise self._full(size)

    def _full(self, size: int) -> SpoolFull:
        return SpoolFull(
            f"the spool in {str(self._store.directory)!r} has {self.disk_bytes} of {self._max_bytes} bytes on disk; "
            f"a record of {size} bytes does not fit",
            directory=str(self._store.directory),
        )

    def _append_one(self, row: Row, size: int) -> int:
        needed = 2 * size + _ALONE_OVERHEAD
        with self._disk:
            self._face_closed()
            self._first = max(self._first, self._writer.committed)  # Ctrl-C may have come between the two
            if self._room < needed:
                self._writer.measure()
                self._make_room()
                if self._room < needed:
                    raise self._full(size)
            chunk = Chunk(self._first, self._clock(), [row], size)
            try:
                self._writer.write((chunk,))
            except (sqlite3.Error, OSError) as error:
                self._trouble = as_spool_error("write", error, self._store.directory)
                raise self._trouble from error
            self._trouble = None
            self._room -= needed
            self._first = chunk.end
            self._store.state.next_sequence = chunk.end
            self._recent.put(chunk)
            if self.on_commit is not None:
                self.on_commit(chunk.end)
            return chunk.first

    def _begin(self, room: int) -> None:
        """Begin a chunk when there is `room`, with the lock held."""
        self._began = self._clock()
        self._floor = room - _CHUNK_BYTES
        if self._committer is not None:
            self._committer.start()
            self._committer.begun.set()

    def _end_chunk(self) -> int:
        """Close the chunk that is being filled, with the lock held; return how many wait."""
        if self._rows:
            rows, self._rows = self._rows, []
            # What append() took from the room since the chunk was begun: counted once a record, not once more here.
            taken = self._floor + _CHUNK_BYTES - self._room
            chunk = Chunk(self._first, self._began, rows, (taken - len(rows) * _RECORD_OVERHEAD) // 2)
            self._full_chunks.append(chunk)
            self._first = chunk.end
            if self._committer is not None:
                self._committer.full.set()
        return len(self._full_chunks)

    def commit(self) -> None:
        """Commit everything that was appended before.

        Raises:
            SpoolError: When the disk refuses; the records wait for the next attempt, or for `withdraw`.
        """
        self._face_closed()
        self._commit_all()

    def _commit_all(self) -> None:
        with self._disk:
            with self._lock:
                self._end_chunk()
                self._drop_done()
                chunks = self._full_chunks[:_MOST_CHUNKS]
            while chunks:
                self._write(chunks)
                with self._lock:
                    del self._full_chunks[: len(chunks)]
                    chunks = self._full_chunks[:_MOST_CHUNKS]
                self._make_room()

    def _drop_done(self) -> None:
        """Drop what need not be committed any more, with both locks held."""
        while self._full_chunks and not self._full_chunks[0].left:
            self._let_go(self._full_chunks.pop(0))

    def _let_go(self, chunk: Chunk) -> None:
        chunk.gone = True
        self._store.state.next_sequence = chunk.end
        if self._max_bytes is not None:
            self._room += _reckoned(chunk.payload, len(chunk.rows))

    def _write(self, chunks: list[Chunk]) -> None:
        try:
            self._writer.write(chunks)
        except (sqlite3.Error, OSError) as error:
            self._trouble = as_spool_error("write", error, self._store.directory)
            self._retry_at = time.monotonic() + 0.1
            raise self._trouble from error
        self._trouble = None
        self._store.state.next_sequence = chunks[-1].end
        for chunk in chunks:
            self._recent.put(chunk)
        if self.on_commit is not None:
            self.on_commit(chunks[-1].end)

    def _face_trouble(self) -> None:
        """Raise what stands in the way, or try whether it has gone."""
        trouble = self._trouble
        if trouble is not None:
            if time.monotonic() < self._retry_at:
                raise SpoolError(str(trouble), directory=str(self._store.directory), errno=trouble.errno)
            self.commit()

    def _make_room(self) -> None:
        """Reckon anew how many bytes may be appended, from what is on disk and what waits."""
        if self._max_bytes is None:
            return
        with self._lock:
            if self._ended is not None:
                return
            waiting = sum(_reckoned(chunk.payload, len(chunk.rows)) for chunk in self._full_chunks)
            if self._rows:
                waiting += self._floor + _CHUNK_BYTES + _CHUNK_OVERHEAD - self._room
            room = self._max_bytes - self.disk_bytes - waiting
            self._floor += room - self._room
            self._room = room

    @property
    def trouble(self) -> SpoolError | None:
        """Why the disk refused what was last tried."""
        return self._trouble

    def _refused(self, sequence: int) -> Chunk | None:
        """Return the chunk with the record at `sequence`, or the next, when the disk refuses it: to be handed out from memory.

        Its records' ids are settled by that: it can be committed to a segment of this origin alone.
        """
        if self._trouble is None:
            return None
        with self._disk, self._lock:
            if sequence < self._writer.committed:  # the disk has taken it after all
                return None
            self._end_chunk()
            for chunk in self._full_chunks:
                if chunk.end > sequence:
                    first = self._full_chunks[0]
                    chunk.origin = first.origin or self._writer.origin_for(first.first)
                    return chunk
            return None

    def withdraw(self) -> list[SpooledRecord]:
        """Take back what was appended and could not be committed; it is not in the spool any more."""
        with self._disk, self._lock:
            self._end_chunk()
            chunks, self._full_chunks = self._full_chunks, []
            self._trouble = None
            for chunk in chunks:
                self._let_go(chunk)
            return [record for chunk in chunks for record in chunk.left_records()]

    def _remember(self, topic: str) -> None:
        if len(self._topics) >= _MOST_TOPICS:
            self._topics = set()
        self._topics.add(topic)

    @property
    def uncommitted(self) -> int:
        """Records that wait to be committed, and are not acknowledged."""
        with self._lock:
            return len(self._rows) + sum(chunk.left for chunk in self._full_chunks)

    @property
    def uncommitted_bytes(self) -> int:
        """Their payload bytes."""
        with self._lock:
            sizes = Chunk(0, 0.0, self._rows, 0).sizes()
            return sum(sizes) + sum(chunk.left_payload for chunk in self._full_chunks)

    @property
    def disk_bytes(self) -> int:
        """Bytes of the segments on disk; the quarantine is not counted."""
        return sum(segment.disk for segment in tuple(self._store.segments))

    def _oldest_uncommitted(self) -> float | None:
        with self._lock:
            if self._full_chunks:
                return self._full_chunks[0].spooled_at
            return self._began if self._rows else None

    def _face_closed(self) -> None:
        if self._ended is not None:
            raise SpoolError(self._ended, directory=str(self._store.directory))

    def _end_intake(self, why: str) -> bool:
        """Take no more records; return whether this was the first call."""
        with self._lock:
            if self._ended is not None:
                return False
            self._end_chunk()
            self._ended = why
            # An append() that is past its check finds no room, looks again and sees why.
            self._room = -_UNLIMITED
        if self._committer is not None:
            self._committer.stop()
        return True


def _reckoned(payload: int, records: int) -> int:
    return 2 * payload + records * _RECORD_OVERHEAD + _CHUNK_OVERHEAD
