"""The spool against a dumb model: whatever is done in whatever order, with crashes, nothing committed is lost."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kafka_throttle._spool import Spool, SpooledRecord
from kafka_throttle.exceptions import SpoolFull

if TYPE_CHECKING:
    from collections.abc import Iterable

GROUP = 7
SAVE_EVERY = 10
MAX_AGE = 100.0
MAX_BYTES = 400_000

names = st.sampled_from(["orders", "clicks", "prüfung"])
parts = st.none() | st.binary(max_size=40) | st.just(b"x" * 3000)
headers = st.none() | st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3)
rows = st.tuples(names, parts, parts, headers, st.sampled_from([0, 1, 1_700_000_000_000]), st.integers(-1, 3))


def fields(record: SpooledRecord) -> tuple[Any, ...]:
    given_headers = None if record.headers is None else list(record.headers)
    return (record.topic, record.key, record.value, given_headers, record.timestamp, record.partition)


class SpoolMachine(RuleBasedStateMachine):
    """Keeps beside the spool what it should hold.

    `pending` are appended and not committed, `stored` committed and not acknowledged, `acknowledged` those since the last
    moment at which acknowledgements were surely saved, `handed` what was handed out in this life.
    """

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.lives = 0
        self.now = 1000.0
        self.pending: dict[int, tuple[Any, ...]] = {}
        self.stored: dict[int, tuple[Any, ...]] = {}
        self.acknowledged: dict[int, tuple[Any, ...]] = {}
        self.ids: dict[int, bytes] = {}
        self.begun: dict[int, float] = {}
        self.handed: set[int] = set()
        self.next = 1
        self.after_crash = False

    @initialize(commit=st.sampled_from(["group", "record"]), bounded=st.booleans(), ages=st.booleans())
    def begin(self, commit: str, bounded: bool, ages: bool) -> None:
        self.options: dict[str, Any] = {
            "commit": commit,
            "max_bytes": MAX_BYTES if bounded else None,
            "max_age": MAX_AGE if ages else None,
            "segment_bytes": 40_000,
            "group_records": GROUP,
            "fsync": "off",
            "group_seconds": None,
            "save_every": SAVE_EVERY,
            "clock": lambda: self.now,
        }
        self.spool = Spool(self.root / "0", **self.options)

    def committed(self) -> None:
        self.stored.update(self.pending)
        self.pending = {}

    @rule(row=rows, count=st.integers(1, 20))
    def append(self, row: tuple[Any, ...], count: int) -> None:
        for _ in range(count):
            if not self.pending:
                self.batch_begun = self.now
            try:
                sequence = self.spool.append(*row)
            except SpoolFull:
                self.committed()
                assert self.spool.disk_bytes <= MAX_BYTES
                return
            assert sequence == self.next or (self.after_crash and sequence > max(self.stored, default=0))
            self.after_crash = False
            self.next = sequence + 1
            self.commit_early()
            self.pending[sequence] = row
            self.begun[sequence] = self.batch_begun
            if self.options["commit"] == "record" or len(self.pending) == GROUP:
                self.committed()

    def commit_early(self) -> None:
        """A spool that is nearly full commits what waits, to see what room that leaves, before it takes one more."""
        if self.options["max_bytes"] and self.pending and self.spool.uncommitted == 1:
            self.committed()
            self.batch_begun = self.now

    @rule()
    def commit(self) -> None:
        self.spool.commit()
        self.committed()

    def expected_next(self) -> list[int]:
        return sorted(set(self.stored) - self.handed)

    def check(self, records: list[SpooledRecord], *, old: bool) -> None:
        assert [record.sequence for record in records] == self.expected_next()[: len(records)]
        for record in records:
            assert fields(record) == self.stored[record.sequence]
            assert record.spooled_at == self.begun[record.sequence]
            assert self.ids.setdefault(record.sequence, record.record_id) == record.record_id
            assert old == self.is_old(record.sequence)
        self.handed |= {record.sequence for record in records}

    def is_old(self, sequence: int) -> bool:
        return self.options["max_age"] is not None and self.now - self.begun[sequence] > MAX_AGE

    @rule(limit=st.integers(1, 30))
    def read(self, limit: int) -> None:
        self.check(self.spool.expire(10_000), old=True)
        self.committed()
        records = self.spool.read(limit)
        # The clock stands still in between, so that only what was not yet committed can have been too old.
        expired = self.spool.expire(10_000)
        merged = sorted([*records, *expired])
        assert [record.sequence for record in merged] == self.expected_next()[: len(merged)]
        if len(records) < limit:
            assert len(merged) >= len(self.expected_next()) or not records
        for record in merged:
            self.check([record], old=record in expired)

    @rule(seconds=st.sampled_from([1.0, 60.0, 150.0, -500.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.handed)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        handed = sorted(self.handed & set(self.stored))
        if not handed:
            return
        chosen = data.draw(st.lists(st.sampled_from(handed), min_size=1, max_size=len(handed), unique=True))
        assert self.spool.acknowledge(chosen) == len(chosen)
        assert self.spool.acknowledge(chosen) == 0
        self.forget(chosen)

    def forget(self, sequences: Iterable[int]) -> None:
        for sequence in sequences:
            self.acknowledged[sequence] = self.stored.pop(sequence)
        if len(self.acknowledged) >= SAVE_EVERY:
            self.acknowledged = {}

    @precondition(lambda self: self.handed)
    @rule()
    def acknowledge_all(self) -> None:
        handed = self.handed & set(self.stored)
        assert self.spool.acknowledge(handed) == len(handed)
        self.forget(handed)

    @rule()
    def rewind(self) -> None:
        self.spool.rewind()
        self.handed = set()

    @rule()
    def close_and_open(self) -> None:
        self.spool.close()
        self.committed()
        self.handed = set()
        self.acknowledged = {}
        self.spool = Spool(self.spool.directory, **self.options)

    @rule()
    def crash(self) -> None:
        """Go on with what a process that was killed would have left: a copy of the files as they are now."""
        old = self.spool
        self.lives += 1
        directory = self.root / str(self.lives)
        shutil.copytree(old.directory, directory)
        self.spool = Spool(directory, **self.options)
        old.close()
        for sequence in self.pending:
            del self.begun[sequence]
        self.pending = {}
        self.after_crash = True  # numbers of records that were never committed are given again
        self.handed = set()
        self.take_back_acknowledged()

    def take_back_acknowledged(self) -> None:
        records = self.everything()
        again = {record.sequence for record in records} - set(self.stored)
        assert again <= set(self.acknowledged)
        self.stored.update({sequence: self.acknowledged[sequence] for sequence in again})
        self.acknowledged = {}
        assert sorted(self.stored) == [record.sequence for record in records]
        self.spool.rewind()

    def everything(self) -> list[SpooledRecord]:
        records = []
        while found := [*self.spool.read(1000), *self.spool.expire(1000)]:
            records += found
        return sorted(records)

    @invariant()
    def counts_agree(self) -> None:
        if not hasattr(self, "spool"):
            return
        assert self.spool.records == len(self.stored) + len(self.pending)
        assert self.spool.uncommitted == len(self.pending)
        assert self.spool.lost_records == 0
        assert self.spool.quarantined == 0
        sizes = [weight(row) for row in (*self.stored.values(), *self.pending.values())]
        assert self.spool.payload_bytes == sum(sizes)

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            assert {record.sequence for record in self.everything()} | self.handed >= set(self.stored)
            self.spool.close()
        shutil.rmtree(self.root)


def weight(row: tuple[Any, ...]) -> int:
    _, key, value, headers, _, _ = row
    return (
        len(key or b"") + len(value or b"") + sum(len(n.encode()) + len(v or b"") for n, v in headers or ())
    )


TestSpool = SpoolMachine.TestCase
TestSpool.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
