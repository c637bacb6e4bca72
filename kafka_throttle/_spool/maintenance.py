"""What an operator does with a spool's directory. What only reads works while the owner runs.

The readers take no lock and open no segment with SQLite: they read the files' bytes and believe what has the right CRC. While
the owner runs, what they say may be some milliseconds old, and up to `save_every` acknowledgements older.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from attrs import frozen

from kafka_throttle._spool.batch import unpack
from kafka_throttle._spool.catalogue import CATALOGUE_NAME, Catalogue, CatalogueDamaged, Known, State
from kafka_throttle._spool.faults import mapped
from kafka_throttle._spool.files import Files
from kafka_throttle._spool.lock import DirectoryLock, owner_of
from kafka_throttle._spool.rebuild import gapless, raw_content, rebuild
from kafka_throttle._spool.recovery import open_store
from kafka_throttle._spool.salvage import batches_in
from kafka_throttle._spool.segment import (
    Damaged,
    Row,
    Segment,
    SegmentFile,
    companions,
    parse_name,
    size_on_disk,
)
from kafka_throttle._spool.store import QUARANTINE_NAME
from kafka_throttle.exceptions import SpoolError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from kafka_throttle._spool.record import SpooledRecord

__all__ = [
    "Finding",
    "SpoolStatus",
    "Verdict",
    "export",
    "is_spool",
    "peek",
    "purge",
    "repair",
    "status",
    "to_json",
    "verify",
]


@frozen
class SpoolStatus:
    """A spool at a glance.

    Attributes:
        directory: Where it is.
        owner: Pid of the process that has it now; None when nobody has, 0 when it did not say.
        records: Records that are not acknowledged.
        payload_bytes: Bytes of their keys, values and headers.
        disk_bytes: Bytes of the segments on disk.
        segments: Segment files.
        oldest: When the oldest record was spooled, in seconds since the epoch; None when there is none.
        lost_records: Records that damage made unreadable, since the directory was created.
        quarantined: Files in the quarantine, without their reasons.
        quarantined_bytes: Their bytes.
    """

    directory: str
    owner: int | None
    records: int
    payload_bytes: int
    disk_bytes: int
    segments: int
    oldest: float | None
    lost_records: int
    quarantined: int
    quarantined_bytes: int


@frozen
class Finding:
    """Something that is not as it should be.

    Attributes:
        file: The name of the file.
        problem: What is wrong.
        lost: Records that cannot be read.
    """

    file: str
    problem: str
    lost: int


@frozen
class Verdict:
    """What `verify` or `repair` found.

    Attributes:
        records: Readable records that are not acknowledged.
        findings: What is wrong, or was; empty when all is well.
    """

    records: int
    findings: tuple[Finding, ...]


def is_spool(directory: str | os.PathLike[str]) -> bool:
    """Whether a directory holds a spool.

    Raises:
        SpoolError: When it may not be read.
    """
    path = Path(directory)
    with mapped("read the spool", path):
        return any(file.name == CATALOGUE_NAME or parse_name(file.name) for file in _listed(path))


def status(directory: str | os.PathLike[str]) -> SpoolStatus:
    """Return a spool at a glance; reads the catalogue and the ends of the queue, not the records between.

    Raises:
        SpoolError: When it is no spool, or may not be read.
    """
    path = _existing(directory)
    with mapped("read the spool", path):
        known, segments = _look(path)
        open_ones = [_measured(segment) for segment in segments if not segment.closed]
        all_of_them = [segment for segment in segments if segment.closed] + open_ones
        first = next(_records(segments), None)
        quarantine = [
            file for file in _listed(path / QUARANTINE_NAME) if file.suffix != ".reason" and file.is_file()
        ]
        return SpoolStatus(
            directory=str(path),
            owner=owner_of(path),
            records=sum(segment.end - segment.first - segment.marks.count for segment in all_of_them),
            payload_bytes=sum(segment.payload - segment.marks.payload for segment in all_of_them),
            disk_bytes=sum(size_on_disk(segment.path) for segment in segments),
            segments=len(segments),
            oldest=first.spooled_at if first else None,
            lost_records=(known.state or State()).lost_records,
            quarantined=len(quarantine),
            quarantined_bytes=sum(file.stat().st_size for file in quarantine),
        )


def peek(directory: str | os.PathLike[str], limit: int | None = None) -> Iterator[SpooledRecord]:
    """Yield the records that are not acknowledged, in order, without taking them.

    Args:
        directory: The spool's.
        limit: The most; None for all.

    Raises:
        SpoolError: When it is no spool, or may not be read.
    """
    path = _existing(directory)
    with mapped("read the spool", path):
        for count, record in enumerate(_records(_look(path)[1])):
            if limit is not None and count >= limit:
                return
            yield record


def to_json(record: SpooledRecord) -> str:
    """Return a record as one line of JSON; bytes are in Base64."""
    return json.dumps(
        {
            "sequence": record.sequence,
            "record_id": record.record_id.hex(),
            "topic": record.topic,
            "partition": record.partition,
            "timestamp": record.timestamp,
            "spooled_at": record.spooled_at,
            "key": _base64(record.key),
            "value": _base64(record.value),
            "headers": None
            if record.headers is None
            else [[name, _base64(value)] for name, value in record.headers],
        },
        ensure_ascii=False,
    )


def export(
    directory: str | os.PathLike[str], out: TextIO, progress: Callable[[int, int], None] | None = None
) -> int:
    """Write the records that are not acknowledged to `out`, a line of JSON each; return how many.

    Args:
        directory: The spool's.
        out: Where to.
        progress: Called with the records that are done and, as it was in the beginning, their number.
    """
    count = 0
    expected = 0 if progress is None else status(directory).records
    for record in peek(directory):
        out.write(to_json(record) + "\n")
        count += 1
        if progress is not None:
            progress(count, expected)
    return count


def verify(directory: str | os.PathLike[str], progress: Callable[[int, int], None] | None = None) -> Verdict:
    """Read everything and say what is wrong; change nothing.

    Args:
        directory: The spool's.
        progress: Called with the segments that are done and their number.
    """
    path = _existing(directory)
    with mapped("read the spool", path):
        known, segments = _look(path)
        findings = _missing(path, known)
        records = 0
        for number, segment in enumerate(segments, 1):
            rows, finding = _examined(segment)
            records += sum(1 for _ in _of_rows(rows, segment))
            if finding is not None and owner_of(path) is not None:
                finding = _second_look(path, segment)
            if finding is not None:
                findings.append(finding)
            if progress is not None:
                progress(number, len(segments))
        return Verdict(records, tuple(findings))


def repair(directory: str | os.PathLike[str], progress: Callable[[int, int], None] | None = None) -> Verdict:
    """Replace every damaged segment by what can be read of it; the damaged file goes to the quarantine.

    Args:
        directory: The spool's; nobody may have it.
        progress: Called with the segments that are done and their number.

    Raises:
        SpoolLocked: When somebody has it.
        SpoolError: When it is no spool, or cannot be changed.
    """
    path = _existing(directory)
    findings: list[Finding] = []
    with mapped("repair the spool", path), _Owned(path):
        findings += _missing(path, _look(path)[0])
        store = open_store(path, Files(), "full")
        try:
            segments = list(store.segments)
            for number, segment in enumerate(segments, 1):
                _, finding = _examined(segment)
                if finding is not None:
                    segment.closed = True
                    rebuild(store, segment, finding.problem)
                    findings.append(finding)
                if progress is not None:
                    progress(number, len(segments))
            records = sum(segment.end - segment.first - segment.marks.count for segment in store.segments)
        finally:
            store.close()
    return Verdict(records, tuple(findings))


def purge(
    directory: str | os.PathLike[str],
    progress: Callable[[int, int], None] | None = None,
    *,
    quarantine: bool = False,
) -> int:
    """Delete every record; return how many were not acknowledged.

    Args:
        directory: The spool's; nobody may have it.
        progress: Called with the segments that are done and their number.
        quarantine: Delete what was set aside, too.

    Raises:
        SpoolLocked: When somebody has it.
        SpoolError: When it is no spool, or cannot be changed.
    """
    path = _existing(directory)
    with mapped("purge the spool", path), _Owned(path):
        store = open_store(path, Files(), "full")
        try:
            records = sum(segment.end - segment.first - segment.marks.count for segment in store.segments)
            segments = list(store.segments)
            for number, segment in enumerate(segments, 1):
                segment.closed = True
                store.delete(segment)
                if progress is not None:
                    progress(number, len(segments))
        finally:
            store.close()
        if quarantine:
            for file in _listed(path / QUARANTINE_NAME):
                file.unlink()
    return records


class _Owned:
    """Holds the directory's lock for the length of a with statement."""

    def __init__(self, directory: Path) -> None:
        self._lock = DirectoryLock(directory)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _existing(directory: str | os.PathLike[str]) -> Path:
    path = Path(directory)
    if not is_spool(path):
        raise SpoolError(f"{str(path)!r} is not the directory of a spool", directory=str(path))
    return path


def _listed(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except FileNotFoundError:
        return []


def _look(directory: Path) -> tuple[Known, list[Segment]]:
    """Return what the catalogue says, and the segments that are there, in order."""
    known = Known(None, {}, 0)
    with suppress(
        sqlite3.Error, CatalogueDamaged
    ):  # it is made anew by the owner; here its absence is enough to know
        catalogue = Catalogue(directory, Files(), "off", read_only=True)
        try:
            known = catalogue.load()
        finally:
            catalogue.close()
    segments: dict[int, Segment] = {}
    for path in _listed(directory):
        name = parse_name(path.name)
        if name:
            row = known.segments.get(name[0])
            fits = row is not None and row.path == path
            segments[name[0]] = row if row is not None and fits else Segment(path, name[0], name[0], bytes(8))
    return known, list(segments.values())


def _records(segments: list[Segment]) -> Iterator[SpooledRecord]:
    for segment in segments:
        if segment.closed and segment.marks.count >= segment.end - segment.first:
            continue
        yield from _of_rows(_examined_rows(segment)[0], segment)


def _of_rows(rows: list[Row], segment: Segment) -> Iterator[SpooledRecord]:
    for row in rows:
        if row.data is None:
            continue
        wanted = segment.marks.missing(row.first, row.records)
        for index, record in enumerate(unpack(row.data, segment.origin).records):
            if wanted is None or wanted[index]:
                yield record


def _examined_rows(segment: Segment) -> tuple[list[Row], int]:
    return gapless(batches_in(*raw_content(segment.path)), segment)


def _examined(segment: Segment) -> tuple[list[Row], Finding | None]:
    """Return what can be read of a segment, and what is wrong with it."""
    rows, lost = _examined_rows(segment)
    problem = _complaint(segment) if segment.closed else None
    if lost and problem is None:
        problem = "damaged: some batches cannot be read"
    return rows, Finding(segment.path.name, problem, lost) if problem else None


def _complaint(segment: Segment) -> str | None:
    """Return what SQLite has to say against a closed segment; reading it changes nothing."""
    if companions(segment.path)[0].exists():
        return None
    try:
        file = SegmentFile(segment.path, Files(), "off")
    except FileNotFoundError:  # its owner has just deleted it
        return None
    except (sqlite3.DatabaseError, Damaged) as error:
        return f"damaged: {error}"
    try:
        file.head()
        verdict = file.connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except (sqlite3.DatabaseError, Damaged) as error:
        verdict = error
    finally:
        file.close()
    return None if verdict == "ok" else f"damaged: {verdict}"


def _measured(segment: Segment) -> Segment:
    """Return an open segment with what it holds by now."""
    rows = _examined_rows(segment)[0]
    if rows:
        segment.end = rows[-1].first + rows[-1].records
        segment.payload = sum(row.payload for row in rows)
    return segment


def _second_look(directory: Path, segment: Segment) -> Finding | None:
    """Return what is still wrong with a segment: its owner may have written it, or deleted it, while it was read."""
    for again in _look(directory)[1]:
        if again.path == segment.path:
            finding = _examined(again)[1]
            return finding if again.path.exists() else None
    return None


def _missing(directory: Path, known: Known) -> list[Finding]:
    """Return the segments that have a row in the catalogue and no file.

    Whoever deletes a segment removes its row before its ``.drained`` file: when there is neither, and the row is still
    there afterwards, nobody deleted it.
    """
    present = {path.name[:20] for path in _listed(directory) if path.suffix in {".segment", ".drained"}}
    suspects = [segment for segment in known.segments.values() if segment.path.name[:20] not in present]
    # A segment that is younger than the list of files is not missing.
    gone = [segment for segment in suspects if not segment.path.exists()]
    rows = _look(directory)[0].segments if gone else {}
    return [
        Finding(segment.path.name, "the file is missing", segment.end - segment.first - segment.marks.count)
        for segment in gone
        if segment.first in rows
    ]


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
