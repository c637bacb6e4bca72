"""Replaces a damaged segment by what can be read of it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import frozen

from kafka_throttle._spool.batch import BatchError, unpack
from kafka_throttle._spool.salvage import batches_in
from kafka_throttle._spool.segment import (
    MAX_RECORDS,
    Row,
    Segment,
    SegmentFile,
    companions,
    name_of,
    size_on_disk,
)

if TYPE_CHECKING:
    from pathlib import Path

    from kafka_throttle._spool.files import Files
    from kafka_throttle._spool.store import Store

__all__ = ["Rebuilt", "gapless", "has_log", "raw_content", "rebuild"]

_PAGE_SIZE = 4096


@frozen
class Rebuilt:
    """What came of it.

    Attributes:
        segment: The new segment, or None when nothing could be read.
        lost: Records that are gone; those acknowledged already are not counted.
    """

    segment: Segment | None
    lost: int


def raw_content(path: Path) -> tuple[bytes, bytes]:
    """Return the bytes of a segment and of its write-ahead log; empty for what is missing.

    The log comes first: what the owner moves from it to the database meanwhile is found in both, not in neither.
    """
    log = _content(companions(path)[0])
    return _content(path), log


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def has_log(path: Path) -> bool:
    """Whether a segment has a write-ahead log with something in it."""
    log = companions(path)[0]
    return log.exists() and log.stat().st_size > 0


def rebuild(
    store: Store, segment: Segment, reason: str, content: tuple[bytes, bytes] | None = None
) -> Rebuilt:
    """Write what is readable of `segment` to its next generation, and set the damaged file aside.

    The new file gets its name in one step: before it the damaged one counts, after it the new one. Call it with the
    segment closed everywhere. What is known of the segment's acknowledgements is kept.

    Args:
        store: The spool's directory.
        segment: The damaged segment; an end that is too low is corrected.
        reason: For the quarantine.
        content: The segment and its log as they were found, when SQLite has had its hands on them since.

    Raises:
        sqlite3.Error, OSError: When the new file cannot be written; nothing has changed then.
    """
    rows, lost = gapless(batches_in(*(content or raw_content(segment.path))), segment)
    replacement = _write(store, segment, rows) if any(row.data for row in rows) else None
    if content is not None:
        _put_back(store.files, segment.path, content)
    store.set_aside(segment.path, reason)
    store.state.lost_records += lost
    place = store.segments.index(segment) if segment in store.segments else None
    if place is not None:
        store.segments[place : place + 1] = [replacement] if replacement else []
    if replacement is None:
        store.catalogue.remove(segment.first, durable=False)
        store.save()
    else:
        store.save(replacement)
    return Rebuilt(replacement, lost)


def _put_back(files: Files, path: Path, content: tuple[bytes, bytes]) -> None:
    """Make a segment what it was when it was found, for whoever looks at it in the quarantine."""
    with suppress(OSError):  # what is readable is safe by now; a full disk has no room for this
        for file, data in zip((path, companions(path)[0]), content, strict=True):
            with suppress(FileExistsError):
                files.create(file)
            file.write_bytes(data)


def gapless(found: dict[int, bytes], segment: Segment) -> tuple[list[Row], int]:
    """Return rows that follow one another up to the segment's end, and how many unacknowledged records they lack."""
    rows: list[Row] = []
    lost = 0
    expected = segment.first

    def fill(until: int) -> None:
        nonlocal lost
        wanted = segment.marks.missing(expected, until - expected)
        lost += until - expected if wanted is None else sum(wanted)
        rows.append(Row(expected, until - expected, 0, None))

    for first in sorted(found):
        try:
            sizes = unpack(found[first], segment.origin).sizes
        except BatchError:
            continue
        if not expected <= first <= segment.first + MAX_RECORDS:
            continue
        if first > expected:
            fill(first)
        rows.append(Row(first, len(sizes), sum(sizes), found[first]))
        expected = first + len(sizes)
    if segment.end > expected:
        fill(segment.end)
    return rows, lost


def _write(store: Store, segment: Segment, rows: list[Row]) -> Segment:
    name = name_of(segment.first, segment.generation + 1)
    temporary = (store.directory / name).with_suffix(".new")
    for leftover in (temporary, *companions(temporary)):
        store.files.unlink(leftover)
    file = SegmentFile.create(
        temporary,
        first=segment.first,
        origin=segment.origin,
        files=store.files,
        fsync=store.fsync,
        page_size=_PAGE_SIZE,
    )
    try:
        file.connection.execute("BEGIN")
        file.insert(rows)
        file.connection.execute("COMMIT")
        file.seal()
    except BaseException:  # raised again: an interrupt must not leave the file open either
        file.close()
        raise
    path = store.directory / name
    store.files.rename(temporary, path)
    replacement = Segment(
        path,
        segment.first,
        rows[-1].first + rows[-1].records,
        segment.origin,
        sum(row.payload for row in rows),
        size_on_disk(path),
        closed=True,
        marks=segment.marks,
    )
    for row in rows:
        if row.data is None:
            replacement.marks.lose(row.first, row.records)
        else:
            replacement.marks.learn(row.first, unpack(row.data, segment.origin).sizes)
    replacement.marks.weigh_again()
    return replacement
