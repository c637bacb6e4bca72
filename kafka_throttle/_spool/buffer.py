"""Records on their way to the disk, and those that have just got there."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import TYPE_CHECKING

from attrs import define, field

from kafka_throttle._spool.record import SpooledRecord, weigh_headers

if TYPE_CHECKING:
    from kafka_throttle._spool.batch import Row

__all__ = ["Chunk", "Recent"]


@define(eq=False)
class Chunk:
    """What becomes one batch.

    Attributes:
        first: Sequence of the first row.
        spooled_at: When it was begun, in seconds since the epoch.
        rows: The records.
        payload: Their payload bytes.
        origin: Of the segment that it was, or has to be, committed to; empty: of any.
        done: Sequences of the records that were acknowledged before it was committed.
        gone: Whether it will never be committed.
    """

    first: int
    spooled_at: float
    rows: list[Row]
    payload: int
    origin: bytes = b""
    done: set[int] = field(factory=set)
    gone: bool = False

    @property
    def end(self) -> int:
        """Sequence after the last row."""
        return self.first + len(self.rows)

    @property
    def left(self) -> int:
        """Records that are not acknowledged."""
        return len(self.rows) - len(self.done)

    @property
    def left_payload(self) -> int:
        """Their payload bytes."""
        if not self.done:
            return self.payload
        done = tuple(self.done)  # in one step, as others are acknowledged meanwhile
        sizes = self.sizes()
        return self.payload - sum(sizes[sequence - self.first] for sequence in done)

    def records(self) -> list[SpooledRecord]:
        """Return the records."""
        spooled_at, origin = self.spooled_at, self.origin
        return [
            SpooledRecord(number, *row, spooled_at, origin)
            for number, row in enumerate(self.rows, self.first)
        ]

    def left_records(self) -> list[SpooledRecord]:
        """Return the records that are not acknowledged."""
        return [record for record in self.records() if record.sequence not in self.done]

    def sizes(self) -> list[int]:
        """Return the payload bytes of each record."""
        return [len(row[1] or b"") + len(row[2] or b"") + weigh_headers(row[3]) for row in self.rows]


class Recent:
    """The youngest committed chunks, so that a replay that keeps up need not read what was just written."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._chunks: deque[Chunk] = deque()
        self._lock = Lock()

    def put(self, chunk: Chunk) -> None:
        """Keep a chunk that follows the one kept before; the oldest make room."""
        with self._lock:
            self._chunks.append(chunk)
            self._bytes += _weight(chunk)
            while self._bytes > self._most:
                self._drop()

    def take(self, position: int) -> Chunk | None:
        """Return the chunk with the record at `position`, if it is here; older ones are forgotten."""
        with self._lock:
            while self._chunks and self._chunks[0].end <= position:
                self._drop()
            if not self._chunks or self._chunks[0].first > position:
                return None
            chunk = self._chunks[0]
            self._drop()
            return chunk

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._chunks.clear()
            self._bytes = 0

    def _drop(self) -> None:
        self._bytes -= _weight(self._chunks.popleft())


def _weight(chunk: Chunk) -> int:
    # A row is a tuple with two byte strings: about 200 bytes beside what they hold.
    return chunk.payload + 200 * len(chunk.rows)
