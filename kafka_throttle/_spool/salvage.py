"""Gets the batches out of a damaged segment without SQLite's help.

SQLite stops at the first page that makes no sense, and silently ends a write-ahead log at the first frame whose checksum is
wrong. Here every page of the database and every frame of the log is looked at by itself: a leaf of a table is recognised
by its type byte, its cells are followed through their overflow pages, and what comes out counts only if it is a batch
with the right CRC. So a damaged page costs the batches that lie on it, not those behind it.

The layout of pages, cells and frames is SQLite's published file format (https://www.sqlite.org/fileformat2.html). All
numbers are big-endian. Every offset and length is checked before it is used; nothing here writes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kafka_throttle._spool.batch import BatchError, head_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["batches_in", "committed_frames"]

_TABLE_LEAF = 0x0D
_PAGE_SIZES = {1 << power for power in range(9, 16)}
_DEFAULT_PAGE_SIZES = (4096, 2048)
_FRAME_HEADER = 24
_LOG_HEADER = 32


def batches_in(database: bytes, log: bytes) -> dict[int, bytes]:
    """Return every batch that can be read, by its first sequence.

    Args:
        database: The segment file.
        log: Its write-ahead log; empty when there is none.
    """
    found: dict[int, bytes] = {}
    whole = memoryview(database)
    for size in _page_sizes(database):
        pages = [whole[start : start + size] for start in range(0, len(database), size)]
        current = dict(enumerate(pages, 1))
        newer = _frames(memoryview(log), size)
        current.update(newer)
        leaves = [*pages, *(page for _, page in newer)]
        for page in leaves:
            for data in _blobs(page, current, size):
                try:
                    first, _ = head_of(data)
                except BatchError:
                    continue
                found.setdefault(first, data)
        if found:
            break
    return found


def committed_frames(log: bytes) -> int:
    """Return how many frames of a write-ahead log were committed, judged by salts and commit marks alone.

    SQLite counts fewer when a checksum is wrong. -1 says that the log's own header is damaged.
    """
    if len(log) < _LOG_HEADER + _FRAME_HEADER:
        return 0
    magic, _, size = struct.unpack_from(">III", log)
    if magic not in {0x377F0682, 0x377F0683} or not _log_header_is_right(log):
        return -1
    committed = 0
    salts = log[16:24]
    step = _FRAME_HEADER + size
    for number, at in enumerate(range(_LOG_HEADER, len(log) - step + 1, step), 1):
        if log[at + 8 : at + 16] != salts:
            # Frames of an earlier round follow; but one damaged salt in the middle is not the end.
            following = at + step
            if log[following + 8 : following + 16] != salts:
                break
        elif log[at + 4 : at + 8] != b"\0\0\0\0":
            committed = number
    return committed


def _log_header_is_right(log: bytes) -> bool:
    order = ">" if log[3] & 1 else "<"
    one = two = 0
    words = struct.unpack_from(f"{order}6I", log)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + two) & 0xFFFFFFFF
        two = (two + odd + one) & 0xFFFFFFFF
    return struct.unpack_from(">II", log, 24) == (one, two)


def _page_sizes(database: bytes) -> list[int]:
    stated = int.from_bytes(database[16:18], "big")
    likely = [stated] if stated in _PAGE_SIZES else []
    return [*likely, *(size for size in _DEFAULT_PAGE_SIZES if size != stated)]


def _frames(log: memoryview, size: int) -> list[tuple[int, memoryview]]:
    """Return page number and page of the committed frames, in order, without those of an earlier round of the log."""
    step = _FRAME_HEADER + size
    salts = bytes(log[16:24])
    frames = []
    committed = 0
    for at in range(_LOG_HEADER, len(log) - step + 1, step):
        if log[at + 8 : at + 16] == salts:
            frames.append((int.from_bytes(log[at : at + 4], "big"), log[at + _FRAME_HEADER : at + step]))
            if any(log[at + 4 : at + 8]):
                committed = len(frames)
    return frames[:committed]


def _blobs(page: memoryview, pages: dict[int, memoryview], size: int) -> Iterator[bytes]:
    """Yield what may be a batch: the end of each cell of a table's leaf."""
    if len(page) < 8 or page[0] != _TABLE_LEAF:
        return
    count = int.from_bytes(page[3:5], "big")
    for at in range(8, min(8 + 2 * count, len(page) - 1), 2):
        payload = _payload(page, int.from_bytes(page[at : at + 2], "big"), pages, size)
        # The batch is the last column: what goes before it are a record header and two numbers.
        start = payload.find(b"ktb", 0, 40)
        if start > 0:
            yield payload[start:]


def _payload(page: memoryview, at: int, pages: dict[int, memoryview], size: int) -> bytes:
    """Return the content of the cell at `at`, with its overflow pages; empty when it makes no sense."""
    length, at = _varint(page, at)
    _, at = _varint(page, at)
    if not 0 < length <= size * len(pages):
        return b""
    most = size - 35
    if length <= most:
        return bytes(page[at : at + length])
    least = (size - 12) * 32 // 255 - 23
    local = least + (length - least) % (size - 4)
    if local > most:
        local = least
    parts = [page[at : at + local]]
    missing = length - local
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    while missing > 0:
        overflow = pages.get(following)
        if overflow is None or len(overflow) < size:
            return b""
        parts.append(overflow[4 : 4 + missing])
        missing -= size - 4
        following = int.from_bytes(overflow[:4], "big")
    return b"".join(parts)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for index in range(9):
        if at >= len(data):
            return 0, at
        byte = data[at]
        at += 1
        if index == 8:
            return value << 8 | byte, at
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value, at
