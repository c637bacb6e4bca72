"""Which records of one segment are acknowledged: out of order, compact, exact."""

from __future__ import annotations

from array import array
from itertools import compress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Marks"]

_TO_DIGITS = bytes.maketrans(b"\x00\x01", b"01")
_FROM_DIGITS = bytes.maketrans(b"01", b"\x00\x01")


class Marks:
    """One byte a record in memory, one bit a record above the low-water mark on disk.

    Attributes:
        first: Sequence of the segment's first record.
        count: Acknowledged records.
        payload: Their payload bytes.
        dirty: Whether something changed since `dump`.
    """

    __slots__ = ("_flags", "_low", "_sizes", "count", "dirty", "first", "payload")

    def __init__(self, first: int) -> None:
        self.first = first
        self.count = 0
        self.payload = 0
        self.dirty = False
        self._flags = bytearray()
        self._sizes = array("I")
        self._low = 0

    @classmethod
    def load(cls, first: int, low: int, bitmap: bytes, payload: int) -> Marks:
        """Return marks as `dump` gave them.

        Args:
            first: Sequence of the segment's first record.
            low: Records at the start that are all acknowledged.
            bitmap: One bit for each later record, least significant first.
            payload: Payload bytes of what is acknowledged.
        """
        marks = cls(first)
        digits = f"{int.from_bytes(bitmap, 'little'):0{len(bitmap) * 8}b}"[::-1] if bitmap else ""
        marks._flags = bytearray(b"\x01" * low + digits.encode().translate(_FROM_DIGITS))
        marks._low = low
        marks._sizes = array("I", bytes(4 * len(marks._flags)))
        marks.count = marks._flags.count(1)
        marks.payload = payload
        return marks

    def dump(self) -> tuple[int, bytes]:
        """Return the low-water mark, as a count of records, and the bitmap above it."""
        self.dirty = False
        self._rise()
        rest = self._flags[self._low : self._flags.rfind(1) + 1]
        if not rest:
            return self._low, b""
        number = int(rest[::-1].translate(_TO_DIGITS), 2)
        return self._low, number.to_bytes((len(rest) + 7) // 8, "little")

    @property
    def low(self) -> int:
        """Sequence below which everything is acknowledged."""
        self._rise()
        return self.first + self._low

    def _rise(self) -> None:
        hole = self._flags.find(0, self._low)
        self._low = len(self._flags) if hole < 0 else hole

    def learn(self, first: int, sizes: Sequence[int]) -> None:
        """Take note of the payload bytes of the records from `first` on."""
        start = first - self.first
        missing = start + len(sizes) - len(self._flags)
        if missing > 0:
            self._flags.extend(bytes(missing))
            self._sizes.frombytes(bytes(4 * missing))
        self._sizes[start : start + len(sizes)] = array("I", sizes)

    def lose(self, first: int, count: int) -> None:
        """Mark records that cannot be read any more as done."""
        self.learn(first, [0] * count)
        self.add(range(first, first + count))

    def weigh_again(self) -> None:
        """Count the payload bytes anew, after `learn` and `lose` have told all sizes."""
        self.payload = sum(compress(self._sizes, self._flags))
        self.dirty = True

    def missing(self, first: int, count: int) -> bytes | None:
        """Return a 1 for each record that is not acknowledged, or None when none of them is acknowledged."""
        flags = self._flags[first - self.first : first - self.first + count]
        if 1 not in flags:
            return None
        return bytes(0 if each else 1 for each in flags).ljust(count, b"\x01")

    def add(self, sequences: Iterable[int]) -> tuple[int, int]:
        """Acknowledge records of this segment that `learn` knows; return how many are new, and their bytes."""
        flags, sizes, first = self._flags, self._sizes, self.first
        count = payload = 0
        for sequence in sequences:
            index = sequence - first
            if not flags[index]:
                flags[index] = 1
                count += 1
                payload += sizes[index]
        if count:
            self.count += count
            self.payload += payload
            self.dirty = True
        return count, payload
