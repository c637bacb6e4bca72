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
4. An error leaves the spool as it was, and it goes on when the cause is gone. What the disk refuses is handed out from
   memory meanwhile, in its turn, and is not committed any more once it is acknowledged.

Locks, in the order in which they may be taken: ``_replaying`` (reading, acknowledging), ``_disk`` (writing), the store's
(catalogue), ``_lock`` (the chunk that is being filled; never held during I/O).
"""

from __future__ import annotations

import atexit
import os
import time
import weakref
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Lock, RLock
from typing import TYPE_CHECKING, Literal

from kafka_throttle._publish import logger
from kafka_throttle._spool.batch import MAX_COUNT
from kafka_throttle._spool.faults import mapped
from kafka_throttle._spool.files import Files, Fsync
from kafka_throttle._spool.intake import Intake
from kafka_throttle._spool.lock import DirectoryLock
from kafka_throttle._spool.recovery import open_store, prepare_directory
from kafka_throttle._spool.replay import Replay
from kafka_throttle._spool.writer import Writer
from kafka_throttle.exceptions import SpoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from kafka_throttle._spool.record import SpooledRecord

__all__ = ["Commit", "Spool"]

Commit = Literal["record", "group"]

_SEGMENT_BYTES = 64 << 20
_LEAST_BYTES = 256 << 10


class Spool(Intake):
    """A disk queue. All methods may be called from any thread.

    Attributes:
        directory: Where it is.
        unwritten: Records that `close` could not put on disk.
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
        if max_bytes is not None and max_bytes < _LEAST_BYTES:
            raise ValueError(f"max_bytes is {max_bytes}; it can be {_LEAST_BYTES} or more, or None")
        if segment_bytes is None:
            segment_bytes = _SEGMENT_BYTES if max_bytes is None else min(max_bytes // 8, _SEGMENT_BYTES)
        with mapped("open the spool", self.directory), ExitStack() as undo:
            prepare_directory(self.directory)
            self._owner = DirectoryLock(self.directory)
            undo.callback(self._owner.release)
            store = open_store(self.directory, files or Files(), fsync)
            undo.pop_all()
        each = commit == "record"
        # One record a transaction: SQLite logs whole pages, so that small ones are twice as fast.
        page_size = 2048 if each else 4096
        writer = Writer(store, segment_bytes=segment_bytes, page_size=page_size, explicit=not each)
        super().__init__(
            store,
            writer,
            clock,
            each=each,
            max_bytes=max_bytes,
            group_records=group_records,
            group_seconds=group_seconds,
        )
        self._opened_at = self._first
        self.unwritten: list[SpooledRecord] = []
        self._replaying = RLock()
        self._replay = Replay(
            store,
            writer,
            self._disk,
            self._recent,
            self._refused,
            clock=clock,
            max_age=max_age,
            save_every=save_every,
        )
        _open.add(self)

    def read(self, limit: int) -> list[SpooledRecord]:
        """Return the next records, in order; fewer than `limit` when there are no more.

        What cannot be committed comes in its turn, as long as it is in memory. Records that are older than `max_age` are left for `expire`.

        Raises:
            SpoolError: When nothing can be read now.
        """
        with self._replaying:
            self._commit_for_reading()
            with mapped("read", self.directory):
                return self._replay.take(limit)

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

    def _commit_for_reading(self) -> None:
        """Commit what waits when the reader has come to it; what the disk refuses is read from memory."""
        self._face_closed()
        refused = self._trouble is not None and time.monotonic() < self._retry_at
        if not self._each and not refused and (self._rows or self._full_chunks):
            with suppress(SpoolError):
                self.commit()

    @property
    def opened_at(self) -> int:
        """The first sequence that this owner gives: what is lower was left by an earlier one."""
        return self._opened_at

    @property
    def records(self) -> int:
        """Records that are not acknowledged, with those that wait to be committed."""
        with self._replaying:
            self._replay.settle()
            on_disk = sum(
                segment.end - segment.first - segment.marks.count for segment in tuple(self._store.segments)
            )
            return on_disk + self.uncommitted

    @property
    def payload_bytes(self) -> int:
        """Bytes of keys, values and headers of all `records`."""
        with self._replaying:
            self._replay.settle()
            on_disk = sum(segment.payload - segment.marks.payload for segment in tuple(self._store.segments))
            return on_disk + self.uncommitted_bytes

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
            spooled_at = self._oldest_uncommitted()
        # The clock may have been set back since.
        return 0.0 if spooled_at is None else max(self._clock() - spooled_at, 0.0)

    def close(self) -> None:
        """Commit, save the acknowledgements, end the thread and give the directory free.

        Raises:
            SpoolError: When something could not be written; the directory is free all the same, and records that are not
                on disk are in `unwritten`.
        """
        if not self._end_intake(f"the spool in {str(self.directory)!r} is closed"):
            return
        with ExitStack() as closing:
            closing.callback(self._end)
            try:
                self._commit_all()
            except SpoolError:
                self.unwritten = self.withdraw()
                raise

    def _end(self) -> None:
        with self._replaying, self._disk, ExitStack() as closing:
            closing.callback(self._owner.release)
            closing.enter_context(mapped("close the spool", self.directory))
            closing.callback(self._store.close)
            closing.callback(self._writer.close)
            self._replay.tidy()

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
        self._room = -1 << 62


_open: weakref.WeakSet[Spool] = weakref.WeakSet()


def _forget_in_child() -> None:
    for spool in list(_open):
        spool._forget_parent()  # noqa: SLF001 - this is the class's own module


os.register_at_fork(after_in_child=_forget_in_child)


@atexit.register
def _commit_at_exit() -> None:
    # What was accepted a moment before the application ended must not die with the thread that would commit it.
    for spool in list(_open):
        try:
            spool.commit()
        except SpoolError as error:
            if spool.uncommitted:
                logger.error("%s: %d records are lost with the end of the process", error, spool.uncommitted)
