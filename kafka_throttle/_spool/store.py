"""The directory of a spool: its segments, its catalogue and its quarantine.

::

    DIRECTORY/                             0700
        lock                               held with flock(2) by the owner, whose pid it says
        catalogue.db                       see kafka_throttle._spool.catalogue
        00000000000000000001-000.segment   see kafka_throttle._spool.segment; files are 0600
        quarantine/                        0700: what could not be read, as it was found
            NAME.N                         N counts from 0; with NAME.N-wal and NAME.N-shm when there were such
            NAME.N.reason                  one line that says why; it may be missing, when the disk was full

Invariants: segments are in the order of their first sequences and do not overlap; only the last may take records; a
segment goes when every record in it is acknowledged, as a whole; nothing that cannot be read is deleted; what is in the
quarantine is never read again. Files with other names are left alone.

Each file says its version itself: a segment and the catalogue in SQLite's user_version, a batch, a segment's head and a
row of the catalogue in the byte behind the magic. Whoever changes what such bytes mean counts that version up, keeps a
reader for each version that was released, and keeps a directory of each in the tests. What a later release wrote is
to an earlier one what damage is: it is set aside, whole.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING

from attrs import define, field

from kafka_throttle._spool.catalogue import CATALOGUE_NAME, Catalogue, CatalogueDamaged, State
from kafka_throttle._spool.faults import is_damage
from kafka_throttle._spool.segment import companions
from kafka_throttle.exceptions import SpoolCorrupt

if TYPE_CHECKING:
    from pathlib import Path

    from kafka_throttle._spool.files import Files, Fsync
    from kafka_throttle._spool.segment import Segment

__all__ = ["QUARANTINE_NAME", "Store", "set_aside"]

QUARANTINE_NAME = "quarantine"


@define(eq=False)
class Store:
    """What all parts of an open spool share.

    Attributes:
        directory: Where it is.
        files: The file system.
        fsync: How durable.
        catalogue: The open catalogue.
        state: Of the spool as a whole.
        segments: In order.
    """

    directory: Path
    files: Files
    fsync: Fsync
    catalogue: Catalogue
    state: State
    segments: list[Segment]
    _lock: RLock = field(factory=RLock, init=False)
    _half_deleted: list[tuple[int, Path]] = field(factory=list, init=False)

    def segment_at(self, sequence: int) -> Segment | None:
        """Return the segment that has, or could have, a sequence: the last that begins at or before it."""
        index = bisect_right(self.segments, sequence, key=_first_of)
        return self.segments[index - 1] if index else None

    def segment_after(self, sequence: int) -> Segment | None:
        """Return the first segment that begins behind a sequence."""
        index = bisect_right(self.segments, sequence, key=_first_of)
        return self.segments[index] if index < len(self.segments) else None

    def save(self, *segments: Segment) -> None:
        """Write what is known of `segments`, of those with new acknowledgements, and the state.

        Raises:
            sqlite3.Error, OSError: When it cannot be written; it is not lost, and written the next time.
        """
        with self._lock:
            chosen = {each.first: each for each in (*segments, *(s for s in self.segments if s.marks.dirty))}
            self.files.at("before-acknowledge")
            try:
                self.catalogue.save(chosen.values(), self.state)
            except (sqlite3.DatabaseError, CatalogueDamaged) as error:
                if not is_damage(error):
                    raise
                self._renew_catalogue(str(error))
            self.files.at("after-acknowledge")

    def _renew_catalogue(self, reason: str) -> None:
        """Replace a damaged catalogue by one with all that is known in memory."""
        # When it cannot be moved it stays open, and is tried again with the next acknowledgements.
        self.set_aside(self.directory / CATALOGUE_NAME, f"the catalogue is damaged: {reason}")
        with suppress(sqlite3.Error):
            self.catalogue.close()
        self.catalogue = Catalogue(self.directory, self.files, self.fsync)
        self.catalogue.save(self.segments, self.state)

    def set_aside(self, path: Path, reason: str) -> None:
        """Move a file and its companions to the quarantine, and count it."""
        with self._lock:
            set_aside(self.files, path, reason)
            self.state.set_aside += 1

    def delete(self, segment: Segment) -> None:
        """Delete a drained segment; what fails is tried again with the next one.

        The name ``.drained`` is what a crash in between is recovered by. A full disk may refuse the catalogue's row, so the
        file is emptied first: its room is what the catalogue needs.
        """
        with self._lock:
            self.files.at("before-delete")
            drained = segment.path.with_suffix(".drained")
            self.files.rename(segment.path, drained)
            self.segments.remove(segment)
            self._half_deleted.append((segment.first, drained))
            with suppress(OSError, sqlite3.Error):
                self.files.at("after-rename")
                for companion in companions(segment.path):
                    self.files.unlink(companion)
                self.finish_deletions()

    def finish_deletions(self) -> None:
        """Delete what is drained."""
        with self._lock:
            while self._half_deleted:
                first, drained = self._half_deleted[-1]
                self.files.truncate(drained)
                self.catalogue.remove(first, durable=self.fsync != "off")
                self.files.unlink(drained)
                self._half_deleted.pop()
                self.files.at("after-delete")

    def close(self) -> None:
        """Save everything and close the catalogue."""
        with self._lock:
            try:
                self.finish_deletions()
                self.save(*self.segments)
            finally:
                self.catalogue.close()


def _first_of(segment: Segment) -> int:
    return segment.first


def set_aside(files: Files, path: Path, reason: str) -> Path:
    """Move a file and its companions to the quarantine beside it.

    Args:
        files: The file system.
        path: The file.
        reason: Why, for whoever looks there.

    Returns:
        Its new place.

    Raises:
        SpoolCorrupt: When it cannot be moved; it stays where it is.
    """
    try:
        target = _moved(files, path)
    except OSError as error:
        raise SpoolCorrupt(
            f"{path.name} in {str(path.parent)!r} cannot be used ({reason}) and cannot be set aside: "
            f"{error.strerror or error}",
            directory=str(path.parent),
            errno=error.errno,
        ) from error
    with suppress(OSError):  # the reason is a courtesy; a full disk has no room for it
        note = target.with_name(target.name + ".reason")
        files.create(note)
        note.write_text(reason + "\n", encoding="utf-8")
    return target


def _moved(files: Files, path: Path) -> Path:
    quarantine = path.parent / QUARANTINE_NAME
    quarantine.mkdir(mode=0o700, exist_ok=True)
    number = 0
    while (target := quarantine / f"{path.name}.{number}").exists():
        number += 1
    for source in (path, *companions(path)):
        suffix = source.name.removeprefix(path.name)
        with suppress(FileNotFoundError):
            files.rename(source, target.with_name(target.name + suffix))
    return target
