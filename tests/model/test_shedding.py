"""Rules of every kind against a dumb model: one outcome for each record, order in each group, and nothing lost silently.

Deliveries fail, disks refuse, processes die. The producer is the simulated one, which decides as the real one does. The model knows what was offered, what it saw
handed to the client, and what it was told; it does not know how the facade decides.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kafka_throttle import (
    Block,
    DeadLetter,
    DropNewest,
    DropOldest,
    Fixed,
    Policy,
    Reject,
    Rejected,
    Rule,
    Sample,
    Spill,
    SpoolError,
    Statistics,
    Throttle,
)
from kafka_throttle._spool import Files
from kafka_throttle.testing import Outcome, SimulatedPath, SimulatedProducer, VirtualClock

KEYS = (b"a", b"b", b"c", None)
# After the last of them a commit has happened although it seems to have failed.
REFUSALS = ("before-write", "after-write", "before-commit", "after-commit")


class Disk(Files):
    """Refuses at a point as long as it is told to."""

    point: str | None = None

    def at(self, point: str) -> None:
        if point == self.point:
            raise OSError(errno.ENOSPC, "No space left on device")


class Observed(SimulatedProducer):
    """Notes what is handed to the client, in order."""

    handed: list[tuple[bytes | None, int]]

    def _to_client(self, topic: str, value: Any = None, key: Any = None, *args: Any, **kwargs: Any) -> None:
        super()._to_client(topic, value, key, *args, **kwargs)
        self.handed.append((key, number_in(value)))


def number_in(value: bytes) -> int:
    return int(value[:8])


def ends() -> st.SearchStrategy[Policy]:
    return st.one_of(st.just(Reject()), st.sampled_from([0, 0.01, 0.2]).map(Block))


def holders() -> st.SearchStrategy[Policy]:
    oldest = st.builds(
        DropOldest,
        max_records=st.integers(1, 20),
        max_bytes=st.sampled_from([1000, 100_000]),
        max_age=st.sampled_from([None, 0.05]),
        then=ends(),
    )
    return st.one_of(ends(), oldest, st.integers(0, 10).map(DropNewest))


@st.composite
def policies(draw: st.DrawFn, directory: str) -> Policy:
    policy = draw(holders())
    if draw(st.booleans()):
        policy = Spill(
            directory,
            when=draw(st.sampled_from(["overload", "always"])),
            commit=draw(st.sampled_from(["record", "group"])),
            max_bytes=draw(st.sampled_from([None, 256 << 10])),
            max_age=draw(st.sampled_from([None, 0.3])),
            then=policy,
        )
    if draw(st.integers(0, 2)) == 0:
        policy = DeadLetter(
            file=f"{directory}.letters",
            max_bytes=draw(st.sampled_from(["1 KiB", "1 MiB"])),
            files=1,
            then=policy,
        )
    if draw(st.integers(0, 3)) == 0:
        policy = Sample(0.5, by=draw(st.sampled_from(["key", "random"])), then=policy)
    return policy


class Shedding(RuleBasedStateMachine):
    """One rule, one topic, a few keys."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="shedding-"))
        self.next = 0
        self.incarnations = 0
        self.clock = VirtualClock()
        self.disturbed: set[bytes | None] = set()
        self.handed: list[tuple[bytes | None, int]] = []
        self.producers: list[Observed] = []
        self.disk = Disk()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("kafka_throttle._spool.spool.Files", lambda: self.disk)

    # ---- the system

    @initialize(data=st.data(), limit=st.integers(1, 30))
    def begin(self, data: st.DataObject, limit: int) -> None:
        self.limit = limit
        self.directory = self.root / "0"
        self.policy = data.draw(self._policies(str(self.directory)))
        retry = isinstance(self._spill, Spill) and data.draw(st.booleans())
        self.on_failure = self._spill if retry else None
        self._start()

    def _policies(self, directory: str) -> st.SearchStrategy[Policy]:
        return policies(directory)

    @property
    def _spill(self) -> Spill | None:
        policy: Any = self.policy
        while policy is not None and not isinstance(policy, Spill):
            policy = getattr(policy, "then", None)
        return policy

    def _start(self) -> None:
        self.path = SimulatedPath(self.clock, bytes_per_second=50_000, linger=0.001)
        rule_ = Rule("t", self.policy, on_failure=self.on_failure, loss_approved_by="the model, TEST-1")
        self.producer = Observed(self.path, Throttle(rules=[rule_], limit=Fixed(self.limit)))
        self.producer.handed = self.handed
        self.producers.append(self.producer)
        self.recovered = 0
        self.accepted: set[int] = set()
        self.rejected = 0
        self.reasons: set[str] = set()
        self.reports: dict[int, Any] = {}
        self.handed_before = len(self.handed)
        self.deliveries_failed = False

    # ---- what happens

    @rule(key=st.sampled_from(KEYS), size=st.sampled_from([8, 100, 1500]), count=st.integers(1, 30))
    def produce(self, key: bytes | None, size: int, count: int) -> None:
        for _ in range(count):
            number, self.next = self.next, self.next + 1
            value = b"%08d" % number + b"." * (size - 8)
            try:
                self.producer.produce("t", value, key, on_delivery=self._reporter(number))
            except Rejected as error:
                self.rejected += 1
                self.reasons.add(error.reason)
            else:
                self.accepted.add(number)

    def _reporter(self, number: int) -> Any:
        incarnation = self.incarnations

        def report(error: Any, message: Any) -> None:
            assert incarnation == self.incarnations, "a report from before the crash"
            assert number not in self.reports, f"record {number} is reported twice"
            assert number_in(message.value()) == number
            self.reports[number] = error

        return report

    @rule(seconds=st.sampled_from([0.001, 0.02, 0.3]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(timeout=st.sampled_from([0, 0.01, 0.1]))
    def poll(self, timeout: float) -> None:
        self.producer.poll(timeout)

    @rule(
        outcome=st.sampled_from([Outcome.FAILED, Outcome.UNKNOWN, Outcome.REFUSED]), period=st.integers(2, 9)
    )
    def deliveries_fail(self, outcome: Outcome, period: int) -> None:
        self.deliveries_failed = True
        self.disturbed.update(KEYS)  # what is sent again comes later than what was sent after it
        self.path.outcome_of = lambda number: outcome if number % period == 0 else Outcome.DELIVERED

    @rule()
    def deliveries_succeed(self) -> None:
        self.path.outcome_of = lambda _number: Outcome.DELIVERED

    @rule(point=st.sampled_from(REFUSALS))
    def disk_refuses(self, point: str) -> None:
        self.disk.point = point

    @rule()
    def disk_works(self) -> None:
        self.disk.point = None

    @rule()
    def purge(self) -> None:
        shedding = self.producer._admission.shedding
        if shedding is not None:
            shedding.purge()

    @rule()
    def crash(self) -> None:
        """Go on with a copy of the files, as a process that was killed would have left them."""
        if self._spill is None:
            return
        self.producer.statistics()
        shedding: Any = self.producer._admission.shedding
        spooled = shedding.ways[0].spools[0]
        if self._spill.commit == "group":
            with suppress(SpoolError):
                shedding.commit()
        owed = {
            number_in(record.value)
            for sequence, record in (*spooled._ready, *spooled._failed)
            if sequence < spooled.spool._writer.committed
        }
        self.disk.point = None
        self.incarnations += 1
        directory = self.root / str(self.incarnations)
        shutil.copytree(spooled.spool.directory, directory)
        changed = self._spill.evolve(directory=str(directory))
        self.policy = _replaced(self.policy, changed)
        self.on_failure = changed if self.on_failure is not None else None
        handed_before = {number for _, number in self.handed}
        self._start()
        now = self.producer.statistics()
        self.recovered = now.offered
        assert now.spooled + now.shed >= len(owed - handed_before)

    # ---- what has to hold

    @invariant()
    def the_ledger_adds_up(self) -> None:
        if hasattr(self, "producer"):
            now = self.producer.statistics()
            assert_adds_up(now)
            assert now.offered == len(self.accepted) + self.rejected + self.recovered
            assert now.rejected == self.rejected
            assert self.reasons <= {"limit", "deadline"}
            assert now.oldest_held <= 0.05 or _max_age(self.policy) is None

    @invariant()
    def every_group_is_in_order(self) -> None:
        last: dict[bytes | None, int] = {}
        seen: set[int] = set()
        for key, number in self.handed:
            if number in seen or key in self.disturbed:
                continue
            seen.add(number)
            assert number > last.get(key, -1), f"{number} came after {last[key]} of the group {key!r}"
            last[key] = number

    @invariant()
    def nothing_is_sent_twice(self) -> None:
        if hasattr(self, "producer") and not self.deliveries_failed:
            handed = [number for _, number in self.handed[self.handed_before :]]
            assert len(handed) == len(set(handed))

    def teardown(self) -> None:
        try:
            if hasattr(self, "producer"):
                self._end()
        finally:
            self.patch.undo()
            self.disk.point = None
            for producer in self.producers:
                shedding = producer._admission.shedding
                if shedding is not None:
                    shedding.close()
            shutil.rmtree(self.root)

    def _end(self) -> None:
        self.path.outcome_of = lambda _number: Outcome.DELIVERED
        assert self.producer.drain(100) == 0
        self.producer.poll()
        now = self.producer.statistics()
        assert_adds_up(now)
        assert (now.held, now.spooled, now.in_flight) == (0, 0, 0)
        told = [error for error in self.reports.values() if getattr(error, "policy", "") == "DeadLetter"]
        assert now.dead_lettered == len(told)
        assert set(self.reports) == self.accepted
        shed = [e for e in self.reports.values() if getattr(e, "policy", "DeadLetter") != "DeadLetter"]
        assert now.shed >= len(shed)
        assert now.shed == sum(loss.count for loss in now.losses.values())
        assert {loss.reason for loss in now.losses.values()}.isdisjoint({"damaged"})
        shedding: Any = self.producer._admission.shedding
        assert [s.spool.records for way in (shedding.ways if shedding else ()) for s in way.spools] in (
            [],
            [0],
        )
        assert {loss.approved_by for loss in now.losses.values()} <= {"the model, TEST-1"}


def assert_adds_up(now: Statistics) -> None:
    for offered, places in ((now.offered, now.places()), (now.offered_bytes, now.places("bytes"))):
        assert offered == sum(places.values()), places
        assert min(places.values()) >= 0, places


def _max_age(policy: Any) -> float | None:
    while policy is not None:
        if isinstance(policy, DropOldest):
            return policy.max_age
        policy = getattr(policy, "then", None)
    return None


def _replaced(policy: Any, spill: Spill) -> Any:
    if isinstance(policy, Spill):
        return spill.evolve(then=policy.then)
    return policy.evolve(then=_replaced(policy.then, spill))


Shedding.TestCase.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestShedding = Shedding.TestCase


class RefusingDisk(Shedding):
    """The same where records wait for a disk that refuses as often as it does not."""

    def _policies(self, directory: str) -> st.SearchStrategy[Policy]:
        return st.builds(
            Spill, st.just(directory), when=st.sampled_from(["overload", "always"]), then=holders()
        )

    @rule(key=st.sampled_from(KEYS), count=st.integers(1, 60), point=st.sampled_from(REFUSALS))
    def produce_what_is_refused(self, key: bytes | None, count: int, point: str) -> None:
        self.disk_works()
        self.produce(key, 8, count)
        self.disk_refuses(point)
        with suppress(SpoolError):
            self.producer._admission.shedding.commit()  # type: ignore[union-attr]


RefusingDisk.TestCase.settings = settings(Shedding.TestCase.settings, max_examples=60)
TestRefusingDisk = RefusingDisk.TestCase
