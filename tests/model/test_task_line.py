"""Tasks that wait, against a list: first come, first served within a rank, no room lost, nobody forgotten.

The line alone is driven step by step. The whole admission is run by real tasks on an event loop whose time is virtual:
where asyncio would sleep until the next timer, the clock is advanced instead, so that a run is the same every time.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kafka_throttle import Block, Fixed, Rejected, Rule, Throttle
from kafka_throttle._adapters.confluent import ClientSettings
from kafka_throttle._aio.admission import TaskAdmission
from kafka_throttle._aio.line import TaskLine
from kafka_throttle._core.window import Reading
from kafka_throttle._gates.loop_gate import LoopGate
from kafka_throttle.testing import VirtualClock

RANKS = st.integers(0, 1)
PATIENCE = st.sampled_from([2.0, 60.0])


@define(eq=False)
class Standing:
    """One who waits, as the model sees it.

    Attributes:
        state: "waiting", "granted", or how it ended: "gone", "entered", "deadline", "draining".
        cancelled: Whether its task was cancelled and has not run yet.
    """

    since: float
    timeout: float
    rank: int
    future: asyncio.Future[Any]
    state: str = "waiting"
    cancelled: bool = False


class Line(RuleBasedStateMachine):
    """Everything that can be done to a line, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.line = TaskLine(lambda: None)
        self.everybody: list[Standing] = []
        self.now = 1.0

    def teardown(self) -> None:
        self.loop.close()

    def those(self, state: str, *, cancelled: bool = False) -> list[Standing]:
        return [each for each in self.everybody if each.state == state and each.cancelled == cancelled]

    def one(self, state: str, share: float) -> Standing | None:
        those = self.those(state)
        return those[int(share * len(those))] if those else None

    @rule(rank=RANKS, timeout=PATIENCE)
    def join(self, rank: int, timeout: float) -> None:
        self.now += 0.001
        self.stand(Standing(self.now, timeout, rank, self.loop.create_future()))

    def stand(self, each: Standing) -> None:
        self.everybody.append(each)
        self.line.join(each.future, each.since, each.timeout, each.rank)

    @rule(most=st.integers(0, 3), rank=st.sampled_from([0, 1, 1 << 30]))
    def grant(self, most: int, rank: int) -> None:
        first = sorted(self.those("waiting"), key=lambda each: (each.rank, each.since))
        expected = [each for each in first if each.rank <= rank][: max(0, most)]
        assert self.line.grant(most, rank=rank) == len(expected)
        for each in expected:
            each.state = "granted"

    @rule(share=st.floats(0, 1, exclude_max=True))
    def enter(self, share: float) -> None:
        if (each := self.one("granted", share)) is not None:
            self.line.enter()
            each.state = "entered"

    @rule(share=st.floats(0, 1, exclude_max=True))
    def find_the_client_full(self, share: float) -> None:
        """Use the room, in vain, and go back to the old place."""
        if (each := self.one("granted", share)) is not None:
            self.line.enter()
            each.state = "gone"
            self.stand(Standing(each.since, each.timeout, each.rank, self.loop.create_future()))

    @rule(state=st.sampled_from(["waiting", "granted"]), share=st.floats(0, 1, exclude_max=True))
    def cancel(self, state: str, share: float) -> None:
        if (each := self.one(state, share)) is not None:
            each.future.cancel()  # which does nothing to one that was granted room
            each.cancelled = True

    @precondition(lambda self: any(each.cancelled for each in self.everybody))
    @rule(share=st.floats(0, 1, exclude_max=True))
    def leave(self, share: float) -> None:
        those = [each for each in self.everybody if each.cancelled]
        each = those[int(share * len(those))]
        assert self.line.leave(each.future) == (each.state == "granted")
        each.state, each.cancelled = "gone", False

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds
        self.line.expire(self.now)
        for each in self.those("waiting"):
            if each.since + each.timeout <= self.now:
                each.state = "deadline"

    @rule()
    def dismiss(self) -> None:
        self.line.dismiss("draining")
        for each in self.those("waiting"):
            each.state = "draining"

    @invariant()
    def everybody_was_told_the_truth(self) -> None:
        for each in self.everybody:
            if each.state == "waiting" and not each.cancelled:
                assert not each.future.done()
            elif each.state in {"granted", "entered"}:
                assert each.future.result() == ""
            elif each.state in {"deadline", "draining"}:
                assert each.future.result() == each.state

    @invariant()
    def the_counts_are_right(self) -> None:
        granted = self.those("granted") + self.those("granted", cancelled=True)
        waiting = self.those("waiting") + self.those("waiting", cancelled=True)  # until their task has run
        assert (self.line.granted, self.line.waiting) == (len(granted), len(waiting))
        assert len(self.line) == len(granted) + len(waiting)
        assert self.line.alone(None) == (not granted and not waiting)

    @invariant()
    def nobody_overtakes(self) -> None:
        granted = self.those("granted") + self.those("granted", cancelled=True)
        for rank in range(2):
            if granted or any(each.rank <= rank for each in self.those("waiting")):
                assert self.line.holds_back(rank)
        if not granted and not self.those("waiting") and not self.those("waiting", cancelled=True):
            assert not any(map(self.line.holds_back, range(2)))

    @invariant()
    def a_flush_waits_for_those_who_came_before(self) -> None:
        if self.those("granted") or self.those("waiting"):
            assert not self.line.passed(self.line.last)


TestLine = Line.TestCase
TestLine.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)


# ---- the admission, with tasks


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that does not sleep: it advances a clock."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self._clock()


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout:
            self._clock.advance(timeout)
        assert ready or timeout is not None, "everybody waits, and nothing will happen"
        return ready


SIZE = 100
TICK = 0.002
"""The loop looks for room this often when no report makes it look."""


class Client:
    """A client that takes a record at once, and reports some now and then."""

    def __init__(self, loop: VirtualLoop, clock: VirtualClock, limit: int, rules: list[Rule]) -> None:
        self.clock = clock
        self.reported = 0
        self.most_in_flight = 0
        self.begun: list[int] = []
        self.sent: list[int] = []
        self.gate = LoopGate(lambda *args, **kwargs: None, self._deferred())
        self.admission = TaskAdmission(
            loop,
            Throttle(rules=rules, limit=Fixed(limit), burst=0),
            ClientSettings(client_id="tasks"),
            self,
            lambda _: self.gate,
            None,
            clock,
        )

    @staticmethod
    def _deferred() -> Any:
        from collections import deque

        return deque()

    def brief(self, gate: Any) -> Reading:
        return Reading(gate.ticket, SIZE * gate.ticket, self.reported, SIZE * self.reported)

    reading = brief

    def errors(self) -> dict[int, int]:
        return {}

    def begin_window(self, records_per_second: float) -> None:
        pass

    @property
    def in_flight(self) -> int:
        return self.gate.live - self.reported

    async def send(self, number: int, topic: str) -> None:
        gate = self.gate
        self.begun.append(number)
        self.clock.advance(1e-9)  # as a real one does: no two come at the same moment
        if gate.left <= 0:
            waiting = self.admission.enter_live(topic, bytes(SIZE), None)
            if waiting is not None:
                await waiting
        else:
            gate.left -= 1
        gate.live += 1
        self.sent.append(number)
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def report(self, most: int) -> None:
        done = min(most, self.in_flight)
        self.reported += done
        if done:
            self.admission.tend_soon()


@define
class Call:
    """One send(), and what came of it."""

    at: float
    topic: str
    cancelled_after: float | None
    number: int = 0
    outcome: str = ""
    ended_at: float = 0.0
    patience: float = field(default=60.0)


MILLISECONDS = st.integers(0, 40).map(lambda n: n / 1000)
CALLS = st.lists(
    st.builds(
        Call,
        MILLISECONDS,
        st.sampled_from(["patient", "hasty"]),
        st.none() | MILLISECONDS,
    ),
    min_size=1,
    max_size=40,
)
PATIENT, HASTY = 60.0, 0.01
RULES = [Rule("patient", Block(PATIENT)), Rule("hasty", Block(HASTY))]
CLASSES = [
    Rule("patient", Block(PATIENT), criticality="critical"),
    Rule("hasty", Block(PATIENT), criticality="sheddable"),
]


def run(calls: list[Call], reports: list[tuple[float, int]], limit: int, rules: list[Rule] = RULES) -> Client:
    """Let all the calls happen, with the reports at their times, and afterwards one report each tick."""
    clock = VirtualClock(1000.0)
    loop = VirtualLoop(clock)
    client = Client(loop, clock, limit, rules)
    start = clock()

    async def call(each: Call) -> None:
        await asyncio.sleep(each.at)
        task = asyncio.ensure_future(client.send(each.number, each.topic))
        if each.cancelled_after is not None:
            loop.call_later(each.cancelled_after, task.cancel)
        try:
            await task
            each.outcome = "sent"
        except Rejected as error:
            each.outcome = error.reason
        except asyncio.CancelledError:
            each.outcome = "cancelled"
        each.ended_at = clock() - start

    async def report() -> None:
        for at, most in sorted(reports):
            await asyncio.sleep(max(0.0, start + at - clock()))
            client.report(most)
        while True:
            await asyncio.sleep(TICK)
            client.report(1)

    async def main() -> None:
        reporter = asyncio.ensure_future(report())
        await asyncio.gather(*map(call, calls))
        await asyncio.sleep(2 * TICK)
        reporter.cancel()

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    return client


@given(CALLS, st.lists(st.tuples(MILLISECONDS, st.integers(1, 5)), max_size=10), st.integers(1, 5))
@settings(max_examples=300, deadline=None)
def test_tasks_are_served_in_their_order_within_the_limit_and_none_is_forgotten(
    calls: list[Call], reports: list[tuple[float, int]], limit: int
) -> None:
    for number, each in enumerate(calls):
        each.number = number
        each.patience = HASTY if each.topic == "hasty" else PATIENT
    client = run(calls, reports, limit)

    sent = {each.number for each in calls if each.outcome == "sent"}
    assert client.sent == [number for number in client.begun if number in sent]
    assert client.most_in_flight <= limit
    for each in calls:
        waited = each.ended_at - each.at
        if each.outcome == "deadline":
            assert each.patience <= waited <= each.patience + 2 * TICK
        elif each.outcome == "cancelled":
            assert each.cancelled_after is not None
            assert waited <= each.cancelled_after + 1e-6
        else:
            assert each.outcome == "sent"
            assert waited <= each.patience + 2 * TICK
    line = client.admission.line
    assert (len(line), line.granted, client.admission.statistics().waiting) == (0, 0, 0)
    now = client.admission.statistics()
    assert now.rejected == sum(each.outcome == "deadline" for each in calls)
    assert now.offered == sum(now.places().values())


@given(CALLS, st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_nobody_waits_while_there_is_room(calls: list[Call], limit: int) -> None:
    """Each report makes room for one: when the last one has come, as many were sent as there was ever room for."""
    for number, each in enumerate(calls):
        each.number, each.cancelled_after, each.topic = number, None, "patient"
    run(calls, [], limit)
    assert {each.outcome for each in calls} == {"sent"}
    # One report each tick: the n-th beyond the limit waits for no more than n reports and some rounds of the loop.
    for each in calls:
        assert each.ended_at <= 0.04 + TICK * (len(calls) + 3)


@given(CALLS, st.integers(4, 10))
@settings(max_examples=100, deadline=None)
def test_classes_keep_their_own_order_and_none_starves(calls: list[Call], limit: int) -> None:
    for number, each in enumerate(calls):
        each.number, each.cancelled_after = number, None
    client = run(calls, [], limit, CLASSES)
    assert {each.outcome for each in calls} == {"sent"}
    for topic in ("patient", "hasty"):
        mine = {each.number for each in calls if each.topic == topic}
        assert [number for number in client.sent if number in mine] == [
            number for number in client.begun if number in mine
        ]


def test_a_wait_that_can_never_end_is_found() -> None:
    """The loop of these tests says so when all of its tasks wait for nothing."""
    loop = VirtualLoop(VirtualClock())
    try:
        loop.run_until_complete(asyncio.wait_for(loop.create_future(), 1e6))
    except asyncio.TimeoutError:
        assert loop.time() == 1e6
    finally:
        loop.close()
