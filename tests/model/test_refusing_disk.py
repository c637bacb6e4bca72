"""A spool whose disk refuses now and then: every record comes out once, in order, from the disk or from memory."""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kafka_throttle._spool import Files, Spool
from kafka_throttle.exceptions import SpoolError

# After the last of them a commit has happened although it seems to have failed.
POINTS = ("before-write", "after-write", "before-commit", "after-commit", "segment-switch")


class Refusing(Files):
    """Fails at a point as long as it is told to."""

    point: str | None = None

    def at(self, point: str) -> None:
        if point == self.point:
            raise OSError(errno.ENOSPC, "No space left on device")


class RefusingDisk(RuleBasedStateMachine):
    """Knows what was appended, handed out and acknowledged, and nothing of where it is.

    `kept` are the numbers of the records that were appended and not acknowledged, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.files = Refusing()
        self.lives = 0
        self.next = 0
        self.kept: list[int] = []
        self.handed: dict[int, int] = {}
        self.ids: dict[int, bytes] = {}

    @initialize(group=st.integers(1, 7), bounded=st.booleans())
    def begin(self, group: int, bounded: bool) -> None:
        self.options: dict[str, Any] = {
            "files": self.files,
            "segment_bytes": 60_000,
            "group_records": group,
            "group_seconds": None,
            "fsync": "off",
            "max_bytes": 4_000_000 if bounded else None,
        }
        self.spool = Spool(self.root / "spool", **self.options)

    @rule(count=st.integers(1, 20))
    def append(self, count: int) -> None:
        for _ in range(count):
            try:
                self.spool.append("t", None, b"%d" % self.next + b"." * 500)
            except SpoolError:
                assert self.files.point is not None
                return
            self.kept.append(self.next)
            self.next += 1

    @rule()
    def commit(self) -> None:
        try:
            self.spool.commit()
        except SpoolError:
            assert self.files.point is not None

    @rule(point=st.sampled_from(POINTS))
    def refuse(self, point: str) -> None:
        self.files.point = point

    @rule()
    def mend(self) -> None:
        self.files.point = None
        self.spool._retry_at = 0.0

    @rule(limit=st.integers(1, 30))
    def read(self, limit: int) -> None:
        records = self.spool.read(limit)
        expected = [number for number in self.kept if number not in self.handed]
        assert [number_in(record.value) for record in records] == expected[:limit]
        for record in records:
            number = number_in(record.value)
            self.handed[number] = record.sequence
            assert self.ids.setdefault(number, record.record_id) == record.record_id

    @precondition(lambda self: self.handed)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        handed = [number for number in self.kept if number in self.handed]
        chosen = data.draw(st.lists(st.sampled_from(handed), unique=True)) if handed else []
        assert self.spool.acknowledge([self.handed[number] for number in chosen]) == len(chosen)
        assert self.spool.acknowledge([self.handed[number] for number in chosen]) == 0
        self.kept = [number for number in self.kept if number not in chosen]

    @rule()
    def acknowledge_all(self) -> None:
        handed = [number for number in self.kept if number in self.handed]
        assert self.spool.acknowledge([self.handed[number] for number in handed]) == len(handed)
        self.kept = [number for number in self.kept if number not in handed]

    @rule()
    def rewind(self) -> None:
        self.spool.rewind()
        self.handed = {}

    @rule()
    def close_and_open(self) -> None:
        unwritten: list[int] = []
        try:
            self.spool.close()
        except SpoolError:
            assert self.files.point is not None
            unwritten = [number_in(record.value) for record in self.spool.unwritten]
        refused, self.files.point = self.files.point, None
        self.spool = Spool(self.spool.directory, **self.options)
        self.kept = [number for number in self.kept if number not in unwritten]
        self.handed = {}
        if refused is not None:  # it cannot say either what has happened all the same
            self._take_what_is_there(self.kept)

    @rule()
    def crash(self) -> None:
        """Go on with a copy of the files, as a process that was killed would have left them."""
        committed = self.kept[: len(self.kept) - self.spool.uncommitted]
        old, self.lives = self.spool, self.lives + 1
        shutil.copytree(old.directory, self.root / str(self.lives))
        self.mend()
        self.spool = Spool(self.root / str(self.lives), **self.options)
        old.close()
        self.handed = {}
        self._take_what_is_there(committed)

    def _take_what_is_there(self, least: list[int]) -> None:
        """Take over what the spool has: what it must have, and what was committed or acknowledged without a trace."""
        found = [number_in(record.value) for record in self.spool.read(100_000)]
        assert set(least) <= set(found) <= set(range(self.next))
        assert found == sorted(found)
        self.kept, self.ids = found, {}
        self.spool.rewind()

    @invariant()
    def counts_agree(self) -> None:
        if hasattr(self, "spool"):
            assert self.spool.records == len(self.kept)
            assert self.spool.payload_bytes == sum(len(b"%d" % number) + 500 for number in self.kept)
            assert (self.spool.lost_records, self.spool.quarantined) == (0, 0)

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.mend()
            self.spool.rewind()
            self.handed = {}
            self.read(100_000)
            assert list(self.handed) == self.kept
            self.acknowledge_all()
            self.spool.close()
            assert {path.name for path in self.spool.directory.iterdir()} == {"lock", "catalogue.db"}
        shutil.rmtree(self.root)


def number_in(value: bytes | None) -> int:
    assert value is not None
    return int(value.partition(b".")[0])


TestRefusingDisk = RefusingDisk.TestCase
TestRefusingDisk.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
