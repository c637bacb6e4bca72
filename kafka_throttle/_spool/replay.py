"""Reads what was committed, in order, and keeps account of what is acknowledged.

While the disk refuses, it reads on in memory: chunks that could not be committed are handed out all the same, and wait in
`_ahead` until they are committed, or done and gone.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from contextlib import suppress
from itertools import compress
from typing import TYPE_CHECKING

from kafka_throttle._spool.batch import Batch, BatchError, begun_at, unpack
from kafka_throttle._spool.faults import is_damage
from kafka_throttle._spool.rebuild import rebuild
from kafka_throttle._spool.segment import Damaged, Row, Segment, SegmentFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import RLock

    from kafka_throttle._spool.buffer import Chunk, Recent
    from kafka_throttle._spool.record import SpooledRecord
    from kafka_throttle._spool.store import Store
    from kafka_throttle._spool.writer import Writer

__all__ = ["Replay"]

# Bytes that one look at the disk should bring: enough to make it cheap, little enough to hold in memory.
_FETCH_BYTES = 1 << 20
_FETCH_ROWS = 1024


class Replay:
    """The reading half of a spool. Its caller sees to it that threads take turns.

    Attributes:
        position: Sequence of the next record that will be looked at.
        expired: Records that were older than `max_age` when their turn came.
    """

    def __init__(
        self,
        store: Store,
        writer: Writer,
        disk: RLock,
        recent: Recent,
        refused: Callable[[int], Chunk | None],
        *,
        clock: Callable[[], float],
        max_age: float | None,
        save_every: int,
    ) -> None:
        """Start at the first record that is not acknowledged.

        Args:
            store: The spool's directory.
            writer: The writing half.
            disk: Held while the writer is used.
            recent: Chunks that were just committed.
            refused: Given a sequence, returns the chunk from there on that the disk refuses, if it does.
            clock: Seconds since the epoch.
            max_age: Seconds after which a record is expired.
            save_every: Acknowledgements after which they are saved.
        """
        self._store = store
        self._writer = writer
        self._disk = disk
        self._recent = recent
        self._refused = refused
        self._ahead: dict[int, Chunk] = {}
        self._clock = clock
        self._max_age = max_age
        self._save_every = save_every
        self._unsaved = 0
        self._file: SegmentFile | None = None
        self._file_of: Segment | None = None
        self._fetch_rows = 8
        self._rows: list[Row] = []
        self._ready: list[SpooledRecord] = []
        self._ready_at = 0.0
        self.expired: list[SpooledRecord] = []
        self._handed = 0
        self._oldest = (0, 0, 0.0)
        self.position = 0
        self.rewind()

    def rewind(self) -> None:
        """Go back to the first record that is not acknowledged."""
        self._ready = []
        self._rows = []
        self.expired = []
        segments = self._store.segments
        self.position = segments[0].marks.low if segments else self._writer.committed

    @property
    def waiting(self) -> bool:
        """Whether there may be something to read."""
        return bool(self._ready) or self.position < self._writer.committed

    def take(self, limit: int) -> list[SpooledRecord]:
        """Return up to `limit` records; expired ones go to `expired`."""
        taken: list[SpooledRecord] = []
        self.settle()
        self._sort_out()
        while len(taken) < limit and len(self.expired) < limit:
            try:
                if not self._ready and not self._fill():
                    break
            except (sqlite3.Error, OSError):
                if taken:  # they have left: what stands in the way is met again by the next call
                    break
                raise
            missing = limit - len(taken)
            if not taken and len(self._ready) <= missing:
                taken, self._ready = self._ready, []
            else:
                taken += self._ready[:missing]
                del self._ready[:missing]
        return taken

    def take_expired(self, limit: int) -> list[SpooledRecord]:
        """Return up to `limit` records that are too old; stops at the first that is not."""
        self.settle()
        self._sort_out()
        while len(self.expired) < limit and not self._ready and self._fill():
            pass
        taken, self.expired = self.expired[:limit], self.expired[limit:]
        return taken

    def _sort_out(self) -> None:
        """Move what is ready, and has become too old while it was, to `expired`."""
        if self._max_age is not None and self._clock() - self._ready_at > self._max_age:
            self.expired += self._ready
            self._ready = []

    def _fill(self) -> bool:
        """Make the next batch ready; return whether there was one."""
        while self.position < self._writer.committed:
            segment = self._store.segment_at(self.position)
            if segment is None or (self.position >= segment.end and segment is not self._writer.segment):
                following = self._store.segment_after(self.position)
                if following is None:
                    self.position = self._writer.committed
                    break
                self.position = following.first  # which may have nothing yet
                continue
            chunk = self._recent.take(self.position)
            try:
                if chunk is not None:
                    self._make_ready(segment, chunk.first, chunk.records(), chunk.sizes(), chunk.spooled_at)
                else:
                    self._read_batch(segment)
            except Damaged as finding:
                self._heal(segment, str(finding))
                continue
            return True
        chunk = self._refused(self.position)
        if chunk is None:
            return False
        self._ahead[chunk.first] = chunk
        self._hand_over(chunk.first, chunk.end, chunk.left_records(), chunk.spooled_at)
        return True

    def _read_batch(self, segment: Segment) -> None:
        if not self._rows or self._rows[-1].first != self.position:
            self._rows = self._fetch(segment)
        row = self._rows.pop()
        start = row.first
        if not start <= self.position < start + row.records:
            raise Damaged(f"the record with sequence {self.position} is missing")
        end = start + row.records
        if end > segment.end or (self._rows and self._rows[-1].first != end):
            raise Damaged(f"{row.records} records at sequence {start} do not end where the next begin")
        if row.data is None:
            if not segment.generation or row.payload:
                raise Damaged(f"the batch at sequence {start} has gone")
            segment.marks.lose(start, row.records)
            self.position = end
            return
        batch = _checked(row, segment.origin)
        # With commit="record" every record is a batch: many of them are made ready at once. (Ages are one by one.)
        while row.records == 1 and self._max_age is None and self._follows(start + len(batch.records)):
            try:
                more = _checked(self._rows[-1], segment.origin)
            except Damaged:  # found again when it is the next
                break
            del self._rows[-1]
            batch.records += more.records
            batch.sizes += more.sizes
        self._make_ready(segment, start, batch.records, batch.sizes, batch.spooled_at)

    def _follows(self, sequence: int) -> bool:
        """Whether the row that was fetched next has records, from `sequence` on."""
        return bool(self._rows) and self._rows[-1].first == sequence and self._rows[-1].data is not None

    def _fetch(self, segment: Segment) -> list[Row]:
        """Return the next rows of a segment, last first."""
        try:
            rows = self._rows_of(segment, self.position, self._fetch_rows)
        except sqlite3.DatabaseError as error:
            if is_damage(error) or not segment.path.exists():
                raise Damaged(str(error)) from error
            raise
        except OverflowError as error:  # a damaged row says that it has a blob of more than 2 GiB
            raise Damaged(str(error)) from error
        if not rows:
            raise Damaged(f"there is nothing at sequence {self.position}")
        if not all(map(_is_well_typed, rows)):
            raise Damaged("its index has something else than numbers and batches")
        size = max(sum(len(row.data or b"") for row in rows) // len(rows), 1)
        self._fetch_rows = min(max(_FETCH_BYTES // size, 1), _FETCH_ROWS)
        rows.reverse()
        return rows

    def _rows_of(self, segment: Segment, first: int, limit: int) -> list[Row]:
        if segment is self._writer.segment:
            with self._disk:
                if segment is self._writer.segment:  # it may have been closed while we waited
                    return self._writer.rows(segment, first, limit)
        return self._opened(segment).rows(first, segment.end, limit)

    def _opened(self, segment: Segment) -> SegmentFile:
        if self._file is None or self._file_of is not segment:
            self.release()
            self._file = SegmentFile(segment.path, self._store.files, self._store.fsync)
            self._file_of = segment
        return self._file

    def release(self) -> None:
        """Close the file that is being read."""
        file, self._file, self._file_of = self._file, None, None
        self._rows = []
        if file is not None:
            file.close()

    def _make_ready(
        self,
        segment: Segment,
        first: int,
        records: list[SpooledRecord],
        sizes: Sequence[int],
        spooled_at: float,
    ) -> None:
        segment.marks.learn(first, sizes)
        wanted = segment.marks.missing(first, len(records))
        if wanted is not None:
            records = list(compress(records, wanted))
        self._hand_over(first, first + len(sizes), records, spooled_at)

    def _hand_over(self, first: int, end: int, records: list[SpooledRecord], spooled_at: float) -> None:
        position, self.position = self.position, end
        self._handed = max(self._handed, end)
        if position > first:
            records = [record for record in records if record.sequence >= position]
        self._ready = records
        self._ready_at = spooled_at
        self._sort_out()

    def _heal(self, segment: Segment, reason: str) -> None:
        """Replace a damaged segment; its readable records are replayed, the others are counted as lost."""
        with self._disk:
            if segment is self._writer.segment:
                self._writer.abandon()
            self.release()
            segment.closed = True
            rebuild(self._store, segment, f"damaged: {reason}")

    def oldest(self) -> float | None:
        """Return when the first record that is not acknowledged was spooled; None when there is none on disk."""
        self.settle()
        for segment in self._store.segments:
            low = segment.marks.low
            if low >= segment.end:
                continue
            first, end, spooled_at = self._oldest
            if not first <= low < end:
                row = self._row_at(segment, low)
                if row is None or row.data is None:
                    continue
                self._oldest = first, end, spooled_at = row.first, row.first + row.records, begun_at(row.data)
            return spooled_at
        return None

    def _row_at(self, segment: Segment, sequence: int) -> Row | None:
        """Return a row, or None when it is damaged: that is dealt with when it is read."""
        try:
            rows = self._rows_of(segment, sequence, 1)
        except Damaged:
            return None
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                return None
            raise
        return rows[0] if rows and _is_well_typed(rows[0]) else None

    def acknowledge(self, sequences: Sequence[int]) -> int:
        """Take note that records are done with.

        Args:
            sequences: In ascending order.

        Returns:
            How many were not acknowledged before.

        Raises:
            ValueError: When one of them was never handed out.
        """
        if sequences[-1] >= max(self.position, self._handed):
            raise ValueError(
                f"record {sequences[-1]} was not read yet: only what was read can be acknowledged"
            )
        self.settle()
        ahead = 0
        if self._ahead:
            ahead = self._acknowledge_ahead(sequences)
            sequences = sequences[: bisect_left(sequences, min(self._ahead))]
        total = at = 0
        while at < len(sequences):
            segment = self._store.segment_at(sequences[at])
            if segment is None or sequences[at] >= segment.end:
                following = self._store.segment_after(sequences[at])
                at = bisect_left(sequences, following.first, at) if following else len(sequences)
                continue
            stop = bisect_left(sequences, segment.end, at)
            count, _ = segment.marks.add(sequences[at:stop])
            total += count
            at = stop
            if segment.marks.count >= segment.end - segment.first:
                self._drained(segment)
        self._unsaved += total
        if self._unsaved >= self._save_every:
            self.save()
        return total + ahead

    def _acknowledge_ahead(self, sequences: Sequence[int]) -> int:
        total = 0
        for chunk in self._ahead.values():
            before = len(chunk.done)
            chunk.done.update(
                sequences[bisect_left(sequences, chunk.first) : bisect_left(sequences, chunk.end)]
            )
            total += len(chunk.done) - before
        return total

    def settle(self) -> None:
        """Have what was handed out before it was committed in its segment's account, if it is committed now."""
        for chunk in list(self._ahead.values()):
            if not chunk.gone:
                if chunk.end > self._writer.committed:
                    return
                self._enter(chunk)
            del self._ahead[chunk.first]

    def _enter(self, chunk: Chunk) -> None:
        segment = self._store.segment_at(chunk.first)
        if segment is None or chunk.first >= segment.end:  # damage has taken it meanwhile
            return
        segment.marks.learn(chunk.first, chunk.sizes())
        count, _ = segment.marks.add(sorted(chunk.done))
        self._unsaved += count
        if segment.marks.count >= segment.end - segment.first:
            self._drained(segment)

    def _drained(self, segment: Segment) -> None:
        """Delete a segment whose records are all acknowledged, unless it is open and small."""
        if segment is self._writer.segment and self._writer.is_worth_deleting:
            self._retire_drained()
        self._delete_drained()

    def _retire_drained(self) -> None:
        with self._disk, suppress(sqlite3.Error, OSError):
            segment = self._writer.segment
            drained = segment is not None and segment.marks.count >= segment.end - segment.first
            if drained or self._writer.is_doubtful:
                self._writer.retire()

    def _delete_drained(self) -> None:
        for drained in [each for each in self._store.segments if each.drained]:
            if self._file_of is drained:
                self.release()
            with suppress(
                OSError, sqlite3.Error
            ):  # it is tried again with the next one, and at the next opening
                self._store.delete(drained)

    def tidy(self) -> None:
        """Let go of the files, and delete what holds nothing that is still wanted."""
        self.release()
        self.settle()
        self._retire_drained()
        self._delete_drained()

    def save(self) -> None:
        """Save the acknowledgements; when it fails they are saved later, and could be replayed once more after a crash."""
        with suppress(OSError, sqlite3.Error):
            self._store.save()
            self._unsaved = 0


def _checked(row: Row, origin: bytes) -> Batch:
    """Return the batch of a row.

    Raises:
        Damaged: When it is none, or another than the index says.
    """
    first, records, payload, data = row
    try:
        batch = unpack(data or b"", origin)
    except BatchError as error:
        raise Damaged(f"the batch at sequence {first}: {error}") from error
    if batch.first != first or len(batch.records) != records or sum(batch.sizes) != payload:
        raise Damaged(f"the batch at sequence {first} is not what the index says")
    return batch


def _is_well_typed(row: tuple[object, ...]) -> bool:
    """Whether a row has the types that it should have: SQLite holds anything in any column."""
    first, records, payload, data = row
    numbers = isinstance(first, int) and isinstance(records, int) and isinstance(payload, int)
    return numbers and (data is None or isinstance(data, bytes))
