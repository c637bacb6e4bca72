"""Batches: what goes in comes out, and nothing else ever does."""

from __future__ import annotations

import struct
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_throttle._spool.batch import BatchError, begun_at, head_of, pack, unpack
from kafka_throttle._spool.record import SpooledRecord

ORIGIN = b"origin-8"
names = st.text(max_size=8)
parts = st.none() | st.binary(max_size=12)
headers = st.none() | st.lists(st.tuples(names, parts), max_size=3).map(tuple)
rows = st.tuples(
    names, parts, parts, headers, st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-1, (1 << 31) - 1)
)
plain = st.tuples(st.just("t"), parts, parts, st.none(), st.just(0), st.just(-1))


@given(
    st.lists(rows, min_size=1, max_size=20) | st.lists(plain, min_size=1, max_size=20),
    st.integers(0, 1 << 60),
)
def test_records_survive_byte_for_byte(batch: list[tuple], first: int) -> None:
    got = unpack(pack(first, 1234.5, batch), ORIGIN)
    expected = [SpooledRecord(first + i, *row, 1234.5, ORIGIN) for i, row in enumerate(batch)]
    assert expected == got.records
    assert [record.payload_bytes for record in expected] == got.sizes
    assert (first, 1234.5) == (got.first, got.spooled_at)


@given(plain)
def test_one_record_alone_is_packed_as_one_of_many_would_be(row: tuple) -> None:
    alone = unpack(pack(7, 1.0, [row]), ORIGIN)
    together = unpack(pack(7, 1.0, [row, row]), ORIGIN)
    assert together.records[:1] == alone.records
    assert together.sizes[:1] == alone.sizes


@given(st.lists(rows, min_size=1, max_size=5), st.data())
def test_a_flipped_bit_is_found(batch: list[tuple], data: st.DataObject) -> None:
    packed = bytearray(pack(1, 1.0, batch))
    bit = data.draw(st.integers(0, len(packed) * 8 - 1))
    packed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BatchError):
        unpack(bytes(packed), ORIGIN)


@given(st.lists(rows, min_size=1, max_size=5), st.data())
def test_a_truncated_batch_is_found(batch: list[tuple], data: st.DataObject) -> None:
    packed = pack(1, 1.0, batch)
    with pytest.raises(BatchError):
        unpack(packed[: data.draw(st.integers(0, len(packed) - 1))], ORIGIN)


@given(st.lists(rows, min_size=1, max_size=5), st.data())
def test_a_batch_that_lies_with_a_right_crc_raises_nothing_else_and_yields_no_more_than_it_has(
    batch: list[tuple], data: st.DataObject
) -> None:
    body = bytearray(pack(1, 1.0, batch)[8:])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        got = unpack(b"ktb\x01" + struct.pack("<I", crc32(body)) + bytes(body), ORIGIN)
    except BatchError:
        return
    assert sum(got.sizes) <= len(body)


def test_the_head_can_be_read_alone() -> None:
    packed = pack(42, 9.5, [("t", None, b"v", None, 0, -1)] * 3)
    assert head_of(packed) == (42, 3)
    assert begun_at(packed) == 9.5
    assert begun_at(b"short") == 0.0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"short", "5 bytes are too few for a batch"),
        (b"x" * 40, "not a batch: the magic is missing"),
        (b"ktb\x02" + b"x" * 40, "batch of version 2; this release reads [1]"),
        (b"ktb\x01" + b"x" * 40, "the CRC is wrong"),
    ],
)
def test_what_is_no_batch_says_why(data: bytes, message: str) -> None:
    with pytest.raises(BatchError, match=f"^{message.replace('[', '.').replace(']', '.')}$"):
        unpack(data, ORIGIN)
