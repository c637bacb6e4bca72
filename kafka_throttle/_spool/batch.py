"""Records packed into a batch: the unit that is written, checked and read.

Format, version 1. All numbers are little-endian; ``n`` is the count of records::

    offset  bytes  field
    0       3      magic "ktb"
    3       1      version of the format: 1
    4       4      CRC-32 of everything after this field
    8       8      sequence of the first record; the others follow without a gap
    16      8      when the batch was begun, seconds since the epoch, IEEE double
    24      4      n, 1 to 65 535
    28      1      flags: 1 one topic, 2 no keys, 4 no headers, 8 no timestamps, 16 no partitions
    29      1      0
    30      2      count of distinct topics, 1 to n
    32             for each topic: length (2 bytes), UTF-8 name
            2n     topic of each record, an index into the above      (not with flag 1)
            4n     length of each key, -1 for None                    (not with flag 2: all are None)
            4n     length of each value, -1 for None
            4n     length of each header block, -1 for None           (not with flag 4: all are None)
            8n     timestamp of each record                           (not with flag 8: all are 0)
            4n     partition of each record                           (not with flag 16: all are -1)
                   the keys, the values, the header blocks, each end to end

A header block is a count (2 bytes) and for each header the length of its name (2 bytes), the UTF-8 name, the length of
its value (4 bytes, -1 for None) and the value.

Invariants: the CRC is right; the lengths add up to the end of the batch exactly; no length is below -1. `unpack` trusts
none of it and raises `BatchError` before a length is used that the data cannot have. A batch never changes.
"""

from __future__ import annotations

import struct
from itertools import accumulate, pairwise, repeat
from typing import TYPE_CHECKING
from zlib import crc32

from attrs import define

from kafka_throttle._spool.record import Headers, SpooledRecord, weigh_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "MAX_COUNT",
    "MAX_TEXT",
    "VERSION",
    "Batch",
    "BatchError",
    "Row",
    "begun_at",
    "head_of",
    "pack",
    "unpack",
]

VERSION = 1
MAX_COUNT = 0xFFFF
MAX_TEXT = 0xFFFF  # bytes of a topic's or a header's name, and headers of one record
_MAGIC = b"ktb"
_PREFIX = struct.Struct("<3sBI")
_HEAD = struct.Struct("<QdIBBH")
_START = _PREFIX.size + _HEAD.size
_ONE_TOPIC, _NO_KEYS, _NO_HEADERS, _NO_TIMESTAMPS, _NO_PARTITIONS = 1, 2, 4, 8, 16
_PLAIN = _ONE_TOPIC | _NO_HEADERS | _NO_TIMESTAMPS | _NO_PARTITIONS
_U16 = struct.Struct("<H")
_I32 = struct.Struct("<i")
_I64 = struct.Struct("<q")

Row = tuple[str, "bytes | None", "bytes | None", "Headers | None", int, int]
"""Topic, key, value, headers, timestamp, partition."""


class BatchError(ValueError):
    """The bytes are not a batch, or not any more."""


@define
class Batch:
    """A batch that was read.

    Attributes:
        first: Sequence of the first record.
        spooled_at: When the batch was begun, in seconds since the epoch.
        records: The records, in order.
        sizes: Payload bytes of each record.
    """

    first: int
    spooled_at: float
    records: list[SpooledRecord]
    sizes: list[int]


def pack(first: int, spooled_at: float, rows: Sequence[Row]) -> bytes:
    """Return `rows` as one batch.

    Args:
        first: Sequence of the first row.
        spooled_at: Seconds since the epoch.
        rows: 1 to `MAX_COUNT` rows, whose values are in range.
    """
    count = len(rows)
    if count == 1:
        return _pack_one(first, spooled_at, rows[0])
    topics, keys, values, headers, timestamps, partitions = zip(*rows, strict=True)
    flags = 0
    index = {topic: number for number, topic in enumerate(dict.fromkeys(topics))}
    names = [topic.encode() for topic in index]
    parts = [_U16.pack(len(name)) + name for name in names]
    if len(index) == 1:
        flags |= _ONE_TOPIC
    else:
        parts.append(struct.pack(f"<{count}H", *map(index.__getitem__, topics)))
    key_lengths = _lengths(keys)
    if max(key_lengths) < 0:
        flags |= _NO_KEYS
    else:
        parts.append(struct.pack(f"<{count}i", *key_lengths))
    parts.append(struct.pack(f"<{count}i", *_lengths(values)))
    blocks: list[bytes | None] = []
    if any(each is not None for each in headers):
        blocks = [None if each is None else _pack_headers(each) for each in headers]
        parts.append(struct.pack(f"<{count}i", *_lengths(blocks)))
    else:
        flags |= _NO_HEADERS
    if any(timestamps):
        parts.append(struct.pack(f"<{count}q", *timestamps))
    else:
        flags |= _NO_TIMESTAMPS
    if partitions.count(-1) == count:
        flags |= _NO_PARTITIONS
    else:
        parts.append(struct.pack(f"<{count}i", *partitions))
    parts += filter(None, keys)
    parts += filter(None, values)
    parts += filter(None, blocks)
    return _sealed(_HEAD.pack(first, spooled_at, count, flags, 0, len(index)) + b"".join(parts))


def _sealed(body: bytes) -> bytes:
    return _PREFIX.pack(_MAGIC, VERSION, crc32(body)) + body


def _pack_one(first: int, spooled_at: float, row: Row) -> bytes:
    """Return what `pack` does for one row, in a fifth of the time: commit="record" packs every record alone."""
    topic, key, value, headers, timestamp, partition = row
    name = topic.encode()
    flags = _ONE_TOPIC
    parts = _U16.pack(len(name)) + name
    if key is None:
        flags |= _NO_KEYS
        key = b""
    else:
        parts += _I32.pack(len(key))
    parts += _I32.pack(-1 if value is None else len(value))
    block = b""
    if headers is None:
        flags |= _NO_HEADERS
    else:
        block = _pack_headers(headers)
        parts += _I32.pack(len(block))
    if timestamp:
        parts += _I64.pack(timestamp)
    else:
        flags |= _NO_TIMESTAMPS
    if partition == -1:
        flags |= _NO_PARTITIONS
    else:
        parts += _I32.pack(partition)
    return _sealed(_HEAD.pack(first, spooled_at, 1, flags, 0, 1) + parts + key + (value or b"") + block)


def _lengths(column: Sequence[bytes | None]) -> list[int]:
    try:
        return list(map(len, column))  # type: ignore[arg-type]
    except TypeError:  # there is a None
        return [-1 if each is None else len(each) for each in column]


def _pack_headers(headers: Headers) -> bytes:
    parts = [_U16.pack(len(headers))]
    for name, value in headers:
        encoded = name.encode()
        parts += (
            _U16.pack(len(encoded)),
            encoded,
            _I32.pack(-1 if value is None else len(value)),
            value or b"",
        )
    return b"".join(parts)


def head_of(data: bytes) -> tuple[int, int]:
    """Return the first sequence and the count of a batch whose CRC is right.

    Raises:
        BatchError: When it is not a batch, is damaged, or is of an unknown version.
    """
    if len(data) < _START:
        raise BatchError(f"{len(data)} bytes are too few for a batch")
    magic, version, crc = _PREFIX.unpack_from(data)
    if magic != _MAGIC:
        raise BatchError("not a batch: the magic is missing")
    if version not in _READERS:
        raise BatchError(f"batch of version {version}; this release reads {sorted(_READERS)}")
    if crc32(memoryview(data)[_PREFIX.size :]) != crc:
        raise BatchError("the CRC is wrong")
    first, _, count, _, _, _ = _HEAD.unpack_from(data, _PREFIX.size)
    return first, count


def begun_at(data: bytes) -> float:
    """Return when the batch was begun, in seconds since the epoch; 0.0 when it is too short to say."""
    return float(_HEAD.unpack_from(data, _PREFIX.size)[1]) if len(data) >= _START else 0.0


def unpack(data: bytes, origin: bytes) -> Batch:
    """Return the batch in `data`.

    Args:
        data: What `pack` made.
        origin: Eight bytes of the segment, for the identity of its records.

    Raises:
        BatchError: When it is not a batch, is damaged, or is of an unknown version.
    """
    head_of(data)
    try:
        return _READERS[data[3]](data, origin)
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise BatchError(f"the batch contradicts itself: {error}") from error


def _unpack_1(data: bytes, origin: bytes) -> Batch:
    first, spooled_at, count, flags, _, topic_count = _HEAD.unpack_from(data, _PREFIX.size)
    if count == 1 and flags & _PLAIN == _PLAIN:
        return _unpack_plain(data, origin, first, spooled_at, flags)
    if not 1 <= count <= MAX_COUNT or not 1 <= topic_count <= count:
        raise BatchError(f"{count} records of {topic_count} topics")
    at = _START
    names = []
    for _ in range(topic_count):
        name, at = _text(data, at)
        names.append(name)

    def column(code: str, width: int) -> tuple[int, ...]:
        nonlocal at
        values = struct.unpack_from(f"<{count}{code}", data, at)
        at += count * width
        return values

    topics = repeat(names[0]) if flags & _ONE_TOPIC else [names[each] for each in column("H", 2)]
    key_lengths = () if flags & _NO_KEYS else column("i", 4)
    value_lengths = column("i", 4)
    block_lengths = () if flags & _NO_HEADERS else column("i", 4)
    timestamps = repeat(0) if flags & _NO_TIMESTAMPS else column("q", 8)
    partitions = repeat(-1) if flags & _NO_PARTITIONS else column("i", 4)
    keys, at = _slices(data, at, key_lengths)
    values, at = _slices(data, at, value_lengths)
    blocks, at = _slices(data, at, block_lengths)
    if at != len(data):
        raise BatchError(f"{len(data) - at} bytes are left over")
    headers = [None if block is None else _unpack_headers(block) for block in blocks]
    columns = zip(
        range(first, first + count),
        topics,
        keys or repeat(None),
        values,
        headers or repeat(None),
        timestamps,
        partitions,
        repeat(spooled_at),
        repeat(origin),
        strict=False,
    )
    # What SpooledRecord._make does, without a Python call for each record.
    records = list(map(tuple.__new__, repeat(SpooledRecord), columns))
    return Batch(first, spooled_at, records, _sizes(value_lengths, key_lengths, headers))


def _unpack_plain(data: bytes, origin: bytes, first: int, spooled_at: float, flags: int) -> Batch:
    """Return what `_unpack_1` does for one plain record, in a third of the time: see `_pack_one`."""
    topic, at = _text(data, _START)
    key_length = -1
    if not flags & _NO_KEYS:
        (key_length,) = _I32.unpack_from(data, at)
        at += _I32.size
    (value_length,) = _I32.unpack_from(data, at)
    at += _I32.size
    middle = at + max(key_length, 0)
    if min(key_length, value_length) < -1 or middle + max(value_length, 0) != len(data):
        raise BatchError(f"lengths of {key_length} and {value_length} bytes do not end where the batch does")
    key = None if key_length < 0 else data[at:middle]
    value = None if value_length < 0 else data[middle:]
    record = SpooledRecord(first, topic, key, value, None, 0, -1, spooled_at, origin)
    return Batch(first, spooled_at, [record], [len(data) - at])


_READERS: dict[int, Callable[[bytes, bytes], Batch]] = {1: _unpack_1}


def _text(data: bytes, at: int) -> tuple[str, int]:
    (length,) = _U16.unpack_from(data, at)
    at += _U16.size
    if at + length > len(data):
        raise BatchError(f"a name of {length} bytes reaches beyond the end")
    return data[at : at + length].decode(), at + length


def _slices(data: bytes, at: int, lengths: Sequence[int]) -> tuple[list[bytes | None], int]:
    """Cut `data` from `at` on into pieces; None for a length of -1."""
    if not lengths:
        return [], at
    lowest = min(lengths)
    if lowest < -1:
        raise BatchError(f"a length of {lowest}")
    present = lengths if lowest >= 0 else [max(each, 0) for each in lengths]
    ends = list(accumulate(present, initial=at))
    if ends[-1] > len(data):
        raise BatchError(f"the lengths reach {ends[-1] - len(data)} bytes beyond the end")
    if lowest >= 0:
        return [data[start:end] for start, end in pairwise(ends)], ends[-1]
    pairs = zip(lengths, ends, strict=False)
    return [None if length < 0 else data[start : start + length] for length, start in pairs], ends[-1]


def _unpack_headers(block: bytes) -> Headers:
    (count,) = _U16.unpack_from(block)
    at = _U16.size
    headers = []
    for _ in range(count):
        name, at = _text(block, at)
        (length,) = _I32.unpack_from(block, at)
        at += _I32.size
        if length < -1 or at + length > len(block):
            raise BatchError(f"a header value of {length} bytes reaches beyond the end")
        headers.append((name, None if length < 0 else block[at : at + length]))
        at += max(length, 0)
    if at != len(block):
        raise BatchError(f"{len(block) - at} bytes are left over after the headers")
    return tuple(headers)


def _sizes(values: Sequence[int], keys: Sequence[int], headers: Sequence[Headers | None]) -> list[int]:
    sizes = list(values) if min(values) >= 0 else [max(each, 0) for each in values]
    if keys:
        sizes = [size + max(key, 0) for size, key in zip(sizes, keys, strict=True)]
    if headers:
        sizes = [size + weigh_headers(each) for size, each in zip(sizes, headers, strict=True)]
    return sizes
