"""`Spool`: a disk queue for records, one owner per directory.

How a record goes. ``append`` gives it a sequence and, with commit="group", puts it into a chunk; a thread commits chunks a few
milliseconds later, one row each, to the open segment. ``read`` hands committed records out in order; ``acknowledge`` takes
note, in any order, of those that were delivered; a segment whose records are all acknowledged is deleted. After a crash
everything committed and not acknowledged is handed out again.

Invariants:

1. What `append` (commit="record") or `commit` has returned for survives the end of the process, and with fsync="full" the
   end of the machine, until it is acknowledged.
2. Records come out in the order of their sequences. A record comes out again only after `rewind` or a restart: then
   every record that is not acknowledged, and at most `save_every` + (length of one `acknowledge`) - 1 that are.
3. Every record leaves in one of four ways: acknowledged; handed out by `expire`, and then acknowledged; withdrawn; lost to
   damage and counted in `lost_records`, its file in the quarantine.
4. An error leaves the spool as it was, and it goes on when the cause is gone.

Locks, in the order in which they may be taken: ``_replaying`` (reading, acknowledging), ``_disk`` (writing), the store's
(catalogue), ``_lock`` (the chunk that is being filled; never held during I/O).
"""

from __future__ import annotations

import os
import sqlite3
import time
import weakref
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Lock, RLock
from typing import TYPE_CHECKING, Literal

from kafka_throttle._spool.batch import MAX_COUNT, Row
from kafka_throttle._spool.buffer import Chunk, Recent
from kafka_throttle._spool.committer import Committer
from kafka_throttle._spool.examine import examine
from kafka_throttle._spool.faults import as_spool_error, mapped
from kafka_throttle._spool.files import Files, Fsync
from kafka_throttle._spool.lock import DirectoryLock
from kafka_throttle._spool.recovery import open_store, prepare_directory
from kafka_throttle._spool.replay import Replay
from kafka_throttle._spool.writer import Writer
from kafka_throttle.exceptions import SpoolError, SpoolFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from kafka_throttle._spool.record import SpooledRecord

__all__ = ["Commit", "Spool"]

Commit = Literal["record", "group"]

_UNLIMITED = 1 << 62
_PLAIN = frozenset({bytes, type(None)})
_MOST_TOPICS = 10_000
# A batch needs up to 26 bytes a record beside its payload, and a row up to two pages.
_RECORD_OVERHEAD = 32
_CHUNK_OVERHEAD = 8192
_CHUNK_BYTES = 1 << 20
# Chunks that may wait for the disk before append() waits for it too.
_MOST_CHUNKS = 16
_RECENT_BYTES = 16 << 20


class Spool:
    """A disk queue. All methods may be called from any thread.

    Attributes:
        directory: Where it is.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        commit: Commit = "group",
        fsync: Fsync = "normal",
        max_bytes: int | None = None,
        max_age: float | None = None,
        segment_bytes: int | None = None,
        group_records: int = 1000,
        group_seconds: float | None = 0.005,
        save_every: int = 1000,
        clock: Callable[[], float] = time.time,
        files: Files | None = None,
    ) -> None:
        """Open a directory, or create it.

        Args:
            directory: The directory; it is made readable for its owner alone.
            commit: "record": on disk when append() returns. "group": soon after.
            fsync: "off": left to the system. "normal": a machine that stops may lose what was committed last, nothing before.
                "full": nothing. A process that is killed loses nothing with any of them.
            max_bytes: Bytes that the segments may have on disk; None for no limit.
            max_age: Seconds after which a record is expired; None for never.
            segment_bytes: Bytes of a segment file; 64 MiB, with `max_bytes` an eighth of it at most.
            group_records: Records of a batch, at most 65 535.
            group_seconds: Seconds after which a group is committed; None: no thread, append() commits every
                `group_records` and the owner calls commit() for the rest.
            save_every: Acknowledgements after which they are saved.
            clock: Seconds since the epoch.
            files: The file system.

        Raises:
            SpoolLocked: When another process, or another Spool, has the directory.
            SpoolError: When the directory cannot be used.
        """
        self.directory = Path(directory)
        if not 1 <= group_records <= MAX_COUNT:
            raise ValueError(f"group_records is {group_records}; it can be 1 to {MAX_COUNT}")
        if segment_bytes is None:
            segment_bytes = 64 << 20 if max_bytes is None else min(max(max_bytes // 8, 1 << 20), 64 << 20)
        self._files = files or Files()
        self._clock = clock
        self._each = commit == "record"
        self._group_records = group_records
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._disk = RLock()
        self._replaying = RLock()
        with mapped("open the spool", self.directory), ExitStack() as undo:
            prepare_directory(self.directory)
            self._owner = DirectoryLock(self.directory)
            undo.callback(self._owner.release)
            self._store = open_store(self.directory, self._files, fsync)
            undo.pop_all()
        # One record a transaction: SQLite logs whole pages, so that small ones are twice as fast.
        self._writer = Writer(
            self._store,
            segment_bytes=segment_bytes,
            page_size=2048 if self._each else 4096,
            explicit=not self._each,
        )
        self._recent = Recent(_RECENT_BYTES)
        self._replay = Replay(
            self._store,
            self._writer,
            self._disk,
            self._recent,
            clock=clock,
            max_age=max_age,
            save_every=save_every,
        )
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
        if not self._each and group_seconds is not None:
            self._committer = Committer(self.commit, group_seconds)
        _open.add(self)

    # -- writing ----------------------------------------------------------------------------------------------------

    def append(  # noqa: PLR0917 - the fields of a record, in the order of all records
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
            room = self._room - size - _RECORD_OVERHEAD
            if not count:
                room -= _CHUNK_OVERHEAD
            if room >= 0:
                if not count:
                    self._begin(room)
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

    def _make_tight_room(self, size: int) -> None:
        """Commit what waits: it may need less room than was reckoned.

        Raises:
            SpoolFull: When a record of `size` bytes does not fit even then.
        """
        self.commit()
        self._make_room()
        if self._room < size + _RECORD_OVERHEAD + _CHUNK_OVERHEAD:
            raise self._full(size)

    def _full(self, size: int) -> SpoolFull:
        return SpoolFull(
            f"the spool in {str(self.directory)!r} has {self.disk_bytes} of {self._max_bytes} bytes on disk; "
            f"a record of {size} bytes does not fit",
            directory=str(self.directory),
        )

    def _append_one(self, row: Row, size: int) -> int:
        needed = size + _RECORD_OVERHEAD + 256
        with self._disk:
            self._face_closed()
            if self._room < needed:
                self._make_room()
                if self._room < needed:
                    raise self._full(size)
            chunk = Chunk(self._first, self._clock(), [row], size)
            try:
                self._writer.write((chunk,))
            except (sqlite3.Error, OSError) as error:
                self._trouble = as_spool_error("write", error, self.directory)
                raise self._trouble from error
            self._trouble = None
            self._room -= needed
            self._first = chunk.end
            self._store.state.next_sequence = chunk.end
            self._recent.put(chunk)
            return chunk.first

    def _begin(self, room: int) -> None:
        self._began = self._clock()
        self._floor = room - _CHUNK_BYTES
        if self._committer is not None:
            self._committer.start()
            self._committer.begun.set()

    def _end_chunk(self) -> int:
        """Close the chunk that is being filled, with the lock held; return how many wait."""
        if self._rows:
            rows, self._rows = self._rows, []
            chunk = Chunk(self._first, self._began, rows, 0)
            chunk.payload = sum(chunk.sizes())
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
                chunks = self._full_chunks[:_MOST_CHUNKS]
            while chunks:
                self._write(chunks)
                with self._lock:
                    del self._full_chunks[: len(chunks)]
                    chunks = self._full_chunks[:_MOST_CHUNKS]
                self._make_room()

    def _write(self, chunks: list[Chunk]) -> None:
        try:
            self._writer.write(chunks)
        except (sqlite3.Error, OSError) as error:
            self._trouble = as_spool_error("write", error, self.directory)
            self._retry_at = time.monotonic() + 0.1
            raise self._trouble from error
        self._trouble = None
        self._store.state.next_sequence = chunks[-1].end
        for chunk in chunks:
            self._recent.put(chunk)

    def _face_trouble(self) -> None:
        """Raise what stands in the way, or try whether it has gone."""
        trouble = self._trouble
        if trouble is not None:
            if time.monotonic() < self._retry_at:
                raise SpoolError(str(trouble), directory=str(self.directory), errno=trouble.errno)
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

    def withdraw(self) -> list[SpooledRecord]:
        """Take back what was appended and could not be committed; it is not in the spool any more."""
        with self._disk, self._lock:
            self._end_chunk()
            chunks, self._full_chunks = self._full_chunks, []
            self._trouble = None
            return [record for chunk in chunks for record in chunk.records()]

    def _remember(self, topic: str) -> None:
        if len(self._topics) >= _MOST_TOPICS:
            self._topics = set()
        self._topics.add(topic)

    # -- reading ----------------------------------------------------------------------------------------------------

    def read(self, limit: int) -> list[SpooledRecord]:
        """Return the next records, in order; fewer than `limit` when there are no more.

        Records that are older than `max_age` are left for `expire`.

        Raises:
            SpoolError: When nothing can be read now.
        """
        with self._replaying:
            problem = self._commit_for_reading()
            with mapped("read", self.directory):
                records = self._replay.take(limit)
            if problem is not None and not records and not self._replay.expired:
                raise problem
            return records

    def expire(self, limit: int) -> list[SpooledRecord]:
        """Return the next records if they are older than `max_age`; acknowledge them when they are accounted for."""
        with self._replaying, mapped("read", self.directory):
            self._face_closed()
            return self._replay.take_expired(limit)

    def rewind(self) -> None:
        """Hand out again, from the first, what was handed out and is not acknowledged."""
        with self._replaying:
            self._recent.clear()
            self._replay.rewind()

    def acknowledge(self, sequences: Iterable[int]) -> int:
        """Remove records that were handed out and are done with.

        Args:
            sequences: Of the records, in any order; a range is fastest. Those that are acknowledged already do not matter.

        Returns:
            How many were not acknowledged before.

        Raises:
            ValueError: When one of them was never handed out; none is acknowledged then.
        """
        ordered = sequences if isinstance(sequences, range) and sequences.step == 1 else sorted(sequences)
        if not ordered:
            return 0
        with self._replaying:
            self._face_closed()
            removed = self._replay.acknowledge(ordered)
            if self._max_bytes is not None:
                self._make_room()
            return removed

    def _commit_for_reading(self) -> SpoolError | None:
        """Commit what waits when the reader has come to it; return why that failed."""
        self._face_closed()
        if self._each or not (self._rows or self._full_chunks):
            return None
        try:
            self.commit()
        except SpoolError as error:
            return error
        return None

    def _face_closed(self) -> None:
        if self._ended is not None:
            raise SpoolError(self._ended, directory=str(self.directory))

    # -- state ------------------------------------------------------------------------------------------------------

    @property
    def records(self) -> int:
        """Records that are not acknowledged, with those that wait to be committed."""
        on_disk = sum(
            segment.end - segment.first - segment.marks.count for segment in tuple(self._store.segments)
        )
        return on_disk + self.uncommitted

    @property
    def uncommitted(self) -> int:
        """Records that wait to be committed."""
        with self._lock:
            return len(self._rows) + sum(len(chunk.rows) for chunk in self._full_chunks)

    @property
    def payload_bytes(self) -> int:
        """Bytes of keys, values and headers of all `records`."""
        on_disk = sum(segment.payload - segment.marks.payload for segment in tuple(self._store.segments))
        with self._lock:
            rows = Chunk(0, 0.0, self._rows, 0).sizes()
            return on_disk + sum(rows) + sum(chunk.payload for chunk in self._full_chunks)

    @property
    def disk_bytes(self) -> int:
        """Bytes of the segments on disk; the quarantine is not counted."""
        return sum(segment.disk for segment in tuple(self._store.segments))

    @property
    def waiting(self) -> bool:
        """Whether there may be something to read: cheap enough to be asked for each record."""
        return self._replay.waiting or bool(self._rows or self._full_chunks)

    @property
    def lost_records(self) -> int:
        """Records that damage made unreadable, since the directory was created."""
        return self._store.state.lost_records

    @property
    def quarantined(self) -> int:
        """Files that were set aside, since the directory was created."""
        return self._store.state.set_aside

    def oldest_age(self) -> float:
        """Return the age of the oldest record that is not acknowledged, in seconds; 0 when there is none."""
        with self._replaying, mapped("read", self.directory):
            spooled_at = self._replay.oldest()
        if spooled_at is None:
            with self._lock:
                chunk = self._full_chunks[0] if self._full_chunks else None
                spooled_at = chunk.spooled_at if chunk else self._began if self._rows else None
        # The clock may have been set back since.
        return 0.0 if spooled_at is None else max(self._clock() - spooled_at, 0.0)

    def close(self) -> None:
        """Commit, save the acknowledgements, end the thread and give the directory free.

        Raises:
            SpoolError: When something could not be written; the directory is free all the same.
        """
        with self._lock:
            if self._ended is not None:
                return
            self._ended = f"the spool in {str(self.directory)!r} is closed"
            # An append() that is past its check finds no room, looks again and sees why.
            self._room = -_UNLIMITED
        if self._committer is not None:
            self._committer.stop()
        with ExitStack() as closing:
            closing.callback(self._end)
            self._commit_all()

    def _end(self) -> None:
        with self._replaying, self._disk, ExitStack() as closing:
            closing.callback(self._owner.release)
            closing.enter_context(mapped("close the spool", self.directory))
            closing.callback(self._store.close)
            closing.callback(self._writer.close)
            self._replay.release()

    def __enter__(self) -> Spool:  # noqa: PYI034 - Self is not in typing before 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Spool {str(self.directory)!r}, {self.records} records, {self.disk_bytes} bytes on disk>"

    def _forget_parent(self) -> None:
        # Locks may be held by threads that the child does not have; SQLite connections must not cross a fork.
        self._lock, self._disk, self._replaying = Lock(), RLock(), RLock()
        self._ended = f"the spool in {str(self.directory)!r} belongs to the parent process"
        self._room = -_UNLIMITED


_open: weakref.WeakSet[Spool] = weakref.WeakSet()


def _forget_in_child() -> None:
    for spool in list(_open):
        spool._forget_parent()  # noqa: SLF001 - this is the class's own module


os.register_at_fork(after_in_child=_forget_in_child)


def _reckoned(payload: int, records: int) -> int:
    return payload + records * _RECORD_OVERHEAD + _CHUNK_OVERHEAD
