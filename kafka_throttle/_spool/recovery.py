"""Opens a directory: finishes what a crash interrupted, and looks only at what the catalogue cannot know."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

from kafka_throttle._spool.catalogue import CATALOGUE_NAME, Catalogue, CatalogueDamaged, Known, State
from kafka_throttle._spool.faults import is_damage
from kafka_throttle._spool.rebuild import has_log, raw_content, rebuild
from kafka_throttle._spool.salvage import committed_frames
from kafka_throttle._spool.segment import (
    MAX_RECORDS,
    Damaged,
    Segment,
    SegmentFile,
    companions,
    parse_name,
    size_on_disk,
)
from kafka_throttle._spool.store import Store, set_aside

if TYPE_CHECKING:
    from pathlib import Path

    from kafka_throttle._spool.files import Files, Fsync

__all__ = ["open_store", "prepare_directory"]


def prepare_directory(directory: Path) -> None:
    """Create the directory, or make sure that only its owner can read it.

    Raises:
        OSError: When that cannot be done.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_mode & 0o077:
        directory.chmod(0o700)


def open_store(directory: Path, files: Files, fsync: Fsync) -> Store:
    """Return the store of a directory that is locked by the caller.

    Segments that the catalogue knows as closed are not opened: the time does not depend on how many there are.

    Raises:
        sqlite3.Error, OSError: When the directory cannot be used now; nothing is lost.
    """
    drained = [path for path in directory.iterdir() if path.suffix == ".drained"]
    catalogue, known, damage = _catalogue(directory, files, fsync)
    store = Store(directory, files, fsync, catalogue, known.state or State(), [])
    store.state.set_aside += damage
    for path in drained:
        name = parse_name(path.with_suffix(".segment").name)
        if name:
            known.segments.pop(name[0], None)
            catalogue.remove(name[0], durable=fsync != "off")
        files.unlink(path)
    present = _present(store)
    logs = _orphaned_logs(store, present)
    _remove_orphans(directory, files)
    for first in sorted({*present, *logs, *known.segments}):
        segment = known.segments.get(first)
        if first in present:
            _adopt(store, first, present[first], segment)
        elif first in logs:
            _adopt_log(store, first, logs[first], segment)
        elif segment is not None:
            _missing(store, segment)
    ends = [segment.end for segment in store.segments]
    store.state.next_sequence = (
        max(store.state.next_sequence, *ends, 1) if ends else max(store.state.next_sequence, 1)
    )
    for segment in store.segments:
        # The last one may take more, unless what followed it was withdrawn, or done before it was committed.
        segment.closed |= segment is not store.segments[-1] or segment.end < store.state.next_sequence
    store.save(*store.segments)
    for segment in [each for each in store.segments if each.drained]:
        store.delete(segment)
    return store


def _catalogue(directory: Path, files: Files, fsync: Fsync) -> tuple[Catalogue, Known, int]:
    """Open the catalogue, or set a damaged one aside and begin a new one."""
    damage = 0
    try:
        catalogue = Catalogue(directory, files, fsync)
        try:
            known = catalogue.load()
        except BaseException:  # raised again: an interrupt must not leave the file open either
            catalogue.close()
            raise
    except (sqlite3.DatabaseError, CatalogueDamaged) as error:
        if not isinstance(error, CatalogueDamaged) and not is_damage(error):
            raise
        set_aside(files, directory / CATALOGUE_NAME, f"the catalogue is damaged: {error}")
        damage = 1
        catalogue = Catalogue(directory, files, fsync)
        known = catalogue.load()
    return catalogue, known, damage


def _present(store: Store) -> dict[int, Path]:
    """Return the segment files; of two generations the higher, the lower goes to the quarantine."""
    found: dict[int, Path] = {}
    for path in sorted(store.directory.iterdir()):
        name = parse_name(path.name)
        if name is None:
            continue
        if name[0] in found:
            store.set_aside(found[name[0]], f"replaced by {path.name}")
        found[name[0]] = path
    return found


def _orphaned_logs(store: Store, present: dict[int, Path]) -> dict[int, Path]:
    """Return the segments of which only the write-ahead log is there: it may hold committed records.

    A log whose segment was rebuilt since goes to the quarantine after the segment.
    """
    found: dict[int, Path] = {}
    for log in sorted(store.directory.glob("*.segment-wal")):
        path = log.with_name(log.name.removesuffix("-wal"))
        name = parse_name(path.name)
        if name is None or path.exists() or not log.stat().st_size:
            continue
        if name[0] in present:
            store.set_aside(path, f"replaced by {present[name[0]].name}")
        else:
            found[name[0]] = path
    return found


def _remove_orphans(directory: Path, files: Files) -> None:
    """Delete what an interrupted repair or deletion left behind: none of it holds a record."""
    for path in list(directory.iterdir()):
        base = path.with_name(path.name.removesuffix("-wal").removesuffix("-shm"))
        unfinished = base.suffix == ".new"
        log = path.name.endswith("-wal") and path.stat().st_size
        companion = base != path and base.suffix == ".segment" and not base.exists() and not log
        if unfinished or companion:
            files.unlink(path)


def _adopt(store: Store, first: int, path: Path, known: Segment | None) -> None:
    """Add one segment to the store, from its file and from what the catalogue knows of it."""
    fresh = known is None or known.path != path
    if known is None:
        # Its file came before its row, the catalogue was lost, or somebody put it back from the quarantine.
        segment = Segment(path, first, first, os.urandom(8))
    elif known.path != path:  # a repair was interrupted before its row was written
        segment = Segment(path, first, first, known.origin, closed=True, marks=known.marks)
    else:
        segment = known
    if segment.closed and not fresh:
        store.segments.append(segment)
        return
    found = _examined(store, segment, fresh=fresh)
    if found is not None:
        store.segments.append(found)


def _adopt_log(store: Store, first: int, path: Path, known: Segment | None) -> None:
    """Add what is readable of a segment whose file has gone and whose log was left."""
    segment = known or Segment(path, first, first, os.urandom(8))
    segment.path = path
    replacement = rebuild(store, segment, "the file is missing; its log was left").segment
    if replacement is not None:
        store.segments.append(replacement)


def _missing(store: Store, known: Segment) -> None:
    """Count the records of a segment whose file has gone."""
    lost = known.end - known.first - known.marks.count
    if lost > 0:
        store.state.lost_records += lost
        store.set_aside(known.path, f"the file is missing; {lost} records were in it")
    store.catalogue.remove(known.first, durable=False)


def _examined(store: Store, segment: Segment, *, fresh: bool) -> Segment | None:
    """Return a segment as its file really is, rebuilt if need be; None when there is nothing in it."""
    # SQLite takes a log with a damaged frame for a shorter one, and would write older pages over newer ones.
    content = raw_content(segment.path) if has_log(segment.path) else None
    expected_end = segment.end
    try:
        frames = committed_frames(content[1]) if content else 0
        something = _inspect(store, segment, frames, fresh=fresh)
    except (sqlite3.DatabaseError, Damaged) as error:
        if not isinstance(error, Damaged) and not is_damage(error):
            raise
        segment.end = max(segment.end, expected_end)
        return rebuild(store, segment, f"damaged: {error}", content).segment
    if not something:
        _remove_shell(store, segment)
        return None
    segment.disk = size_on_disk(segment.path)
    return segment


def _inspect(store: Store, segment: Segment, frames: int, *, fresh: bool) -> bool:
    """Correct what is known of a segment by its file; return False when its creation was interrupted.

    Raises:
        Damaged, sqlite3.Error: When it is not as it should be.
    """
    file = SegmentFile.writable(segment.path, store.files, store.fsync)
    try:
        if frames < 0 or file.log_frames() < frames:
            raise Damaged("its write-ahead log is damaged")
        if file.is_shell:
            return False
        first, segment.origin = file.head()
        if first != segment.first:
            raise Damaged(f"its head says sequence {first}, its name {segment.first}")
        _take_stock(file, segment, fresh=fresh)
    finally:
        file.close()
    return True


def _take_stock(file: SegmentFile, segment: Segment, *, fresh: bool) -> None:
    start = segment.first if fresh else segment.end
    end, records, payload = file.summary(start)
    if end - start != records or end - segment.first > MAX_RECORDS:
        raise Damaged(f"sequences {start} to {end} should hold {end - start} records, but hold {records}")
    last = file.last_end() or segment.first
    if last < segment.end:
        raise Damaged(f"it ends before sequence {last}, but had records up to {segment.end}")
    segment.payload = payload if fresh else segment.payload + payload
    segment.end = end


def _remove_shell(store: Store, segment: Segment) -> None:
    for path in (*companions(segment.path), segment.path):
        with suppress(FileNotFoundError):
            store.files.unlink(path)
    store.catalogue.remove(segment.first, durable=False)
