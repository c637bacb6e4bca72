"""Gate, engine and ledger together, against a model that keeps every record in a list."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kafka_throttle import AIMD, Fixed, Reject, Rule, Throttle
from kafka_throttle._adapters.confluent import ClientSettings
from kafka_throttle._blocking import BlockingAdmission
from kafka_throttle._core.engine import Engine, Room
from kafka_throttle._core.window import BUCKETS, Delays, Reading, bucket_of
from kafka_throttle._gates.gate import COMPILED, PureGate, gated_method
from kafka_throttle.events import Event, LimitDecreased, LimitIncreased
from kafka_throttle.exceptions import Rejected
from kafka_throttle.testing import Outcome, VirtualClock

BURST = 64 * 1024
OUTCOMES = st.sampled_from(Outcome)


class RefusalError(Exception):
    """What the client raises for a record that it does not take, for another reason than its queue."""


class WatchedEngine(Engine):
    """An engine whose answers are checked as they are given."""

    edge = 0
    edge_reached_since = False

    def room(self, now: float, reading: Reading, rank: int = 0) -> Room:
        room = super().room(now, reading, rank)
        allowed = self.limit_records + self.burst_bytes / self.path.record_bytes
        assert room.records == 0 or reading.in_flight + room.records <= max(1, allowed)
        self.edge = reading.admitted + room.records
        return room

    def edge_reached(self, now: float, reading: Reading, room: Room) -> tuple[Event, ...]:
        self.edge_reached_since = self.edge_reached_since or not room.paced
        return super().edge_reached(now, reading, room)

    def advance(self, now: float, reading: Reading) -> tuple[Event, ...]:
        before, tested = self.limit_records, self.edge_reached_since
        self.edge_reached_since = False
        events = super().advance(now, reading)
        changes = [event for event in events if isinstance(event, (LimitIncreased, LimitDecreased))]
        assert len(changes) <= 1
        assert self.limit_records <= before or tested, "a limit that was not tested has grown"
        assert (self.limit_records != before) == bool(changes)
        return events


class Client:
    """A client that keeps what it takes, behind a gate."""

    __slots__ = ("__dict__", "__gate__", "_gate")

    def take(self, topic: Any, value: Any = None, *args: Any, **kwargs: Any) -> None:
        if self.full:
            raise BufferError("Local: Queue full")
        if self.refusing:
            raise RefusalError
        self.in_flight.append((self.clock(), len(value), kwargs.get("on_delivery")))
        self.taken += 1

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.full = self.refusing = False
        self.taken = 0
        self.in_flight: list[tuple[float, int, Any]] = []


class PureClient(Client):
    produce = gated_method(Client.take, "Produce.", compiled=False)


def at_edge(client: Any, *args: Any, **kwargs: Any) -> None:
    client.admission.at_edge(client, *args, **kwargs)


class GateAndEngine(RuleBasedStateMachine):
    """Random records, reports, stalls, mutes and refusals; the ledger has to add up after each."""

    client_class: type[Client] = PureClient

    @initialize(
        size=st.sampled_from([1, 100, 1000, 20_000]),
        limit=st.sampled_from([Fixed(1), Fixed(50), AIMD(start_bytes="1 KiB"), AIMD(start_bytes="100 kB")]),
        most=st.sampled_from([20, 1000, 100_000]),
    )
    def begin(self, size: int, limit: Any, most: int) -> None:
        self.clock = VirtualClock(1000.0)
        self.client = self.client_class(self.clock)
        self.size = size
        self.value = b"x" * size
        self.events: list[Event] = []
        self.rejected = self.offered = 0
        self.ended: list[int] = []  # numbers of records whose on_delivery ran
        self.done: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
        self.delays = [0] * BUCKETS
        self.delay_total = 0.0
        throttle = Throttle(rules=[Rule("*", Reject())], limit=limit, burst=BURST, hooks=[self.events.append])
        settings_ = ClientSettings(max_messages=most)
        self.admission = BlockingAdmission(throttle, settings_, self, self.make_gate, self.poll, self.clock)
        self.admission.engine = WatchedEngine(
            throttle.limit, throttle.signals, settings_.bounds, settings_.buffer_bytes, BURST
        )
        self.client.admission = self.admission
        self.client._gate = self.client.__gate__ = self.admission.gate

    def make_gate(self, deferred: Any) -> Any:
        return PureGate(self.client_class.take, at_edge, deferred)

    # ---- what the admission reads

    def admitted_bytes(self) -> int:
        return int(self.admission.gate.ticket) * self.size

    def brief(self, gate: Any) -> Reading:
        acked = sum(self.done.values())
        return Reading(
            gate.ticket, self.admitted_bytes(), acked, acked * self.size, client_full=gate.client_full
        )

    def reading(self, gate: Any) -> Reading:
        brief = self.brief(gate)
        done = self.done
        failed = done[Outcome.FAILED] + done[Outcome.REFUSED]
        return Reading(
            brief.admitted, brief.admitted_bytes, brief.acked, brief.acked_bytes,
            failed=failed, failed_bytes=failed * self.size,
            unknown=done[Outcome.UNKNOWN], unknown_bytes=done[Outcome.UNKNOWN] * self.size,
            transient=done[Outcome.FAILED] + done[Outcome.UNKNOWN],
            delays=Delays(tuple(self.delays), self.delay_total, done[Outcome.DELIVERED]),
            client_full=gate.client_full,
        )  # fmt: skip

    def errors(self) -> dict[int, int]:
        return {}

    def begin_window(self, records_per_second: float) -> None:
        pass

    def poll(self, client: Any, timeout: float) -> int:
        return 0

    # ---- what happens

    @rule(records=st.integers(1, 300))
    def offer(self, records: int) -> None:
        for _ in range(records):
            number = self.offered
            self.offered += 1
            taken = self.client.taken
            try:
                self.client.produce(
                    "topic", self.value, on_delivery=lambda _error, _m, n=number: self.ended.append(n)
                )
            except Rejected:
                self.rejected += 1
                assert self.client.taken == taken
            except RefusalError:
                self.rejected += 1
            else:
                assert self.client.taken == taken + 1

    @rule(share=st.floats(0, 1), outcome=OUTCOMES, newest=st.booleans())
    def report(self, share: float, outcome: Outcome, newest: bool) -> None:
        """Report some records, the oldest first or those of a partition that overtakes the others."""
        waiting = self.client.in_flight
        count = int(share * len(waiting))
        reported = waiting[len(waiting) - count :] if newest else waiting[:count]
        self.client.in_flight = waiting[: len(waiting) - count] if newest else waiting[count:]
        for at, _, on_delivery in reported:
            self.done[outcome] += 1
            if outcome is Outcome.DELIVERED:
                delay = self.clock() - at
                self.delays[bucket_of(int(delay * 1e6))] += 1
                self.delay_total += delay
            on_delivery(None, None)

    @rule(seconds=st.sampled_from([0.0001, 0.01, 0.1, 0.11, 0.5, 3.0, 12.0, 40.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([0.001, 0.1, 1.0]))
    def mute(self, seconds: float) -> None:
        class Throttled:
            throttle_time = seconds

        self.admission.note_broker_throttle(Throttled)

    @rule(full=st.booleans(), refusing=st.booleans())
    def turn_the_client(self, full: bool, refusing: bool) -> None:
        self.client.full, self.client.refusing = full, refusing

    @precondition(lambda self: self.client.in_flight)
    @rule()
    def drain(self) -> None:
        self.report(1.0, Outcome.DELIVERED, newest=False)

    # ---- what holds

    @invariant()
    def the_ledger_adds_up(self) -> None:
        if not hasattr(self, "admission"):
            return
        now = self.admission.statistics()
        done = self.done
        assert (now.offered, now.rejected, now.in_flight) == (
            self.offered, self.rejected, len(self.client.in_flight),
        )  # fmt: skip
        assert (now.delivered, now.failed, now.unknown) == (
            done[Outcome.DELIVERED],
            done[Outcome.FAILED] + done[Outcome.REFUSED],
            done[Outcome.UNKNOWN],
        )
        assert now.offered == now.rejected + now.in_flight + now.delivered + now.failed + now.unknown
        assert now.in_flight_bytes == now.in_flight * self.size
        assert 0.0 <= now.saturation <= 1.0

    @invariant()
    def every_record_has_one_outcome(self) -> None:
        if hasattr(self, "admission"):
            assert len(self.ended) == len(set(self.ended)) == sum(self.done.values())

    @invariant()
    def the_gate_admits_nothing_beyond_the_edge(self) -> None:
        if hasattr(self, "admission"):
            assert self.admission.gate.ticket <= self.admission.engine.edge
            assert self.admission.gate.ticket == self.client.taken

    @invariant()
    def the_limit_is_within_its_bounds(self) -> None:
        if hasattr(self, "admission") and self.admission.engine.begun:
            engine = self.admission.engine
            floor = (
                1 if isinstance(engine.limit, Fixed) else min(16_384 // self.size, engine.bounds.most_records)
            )
            assert max(1, floor) <= engine.limit_records <= engine.bounds.most_records

    @invariant()
    def the_limit_moves_at_most_once_in_a_window(self) -> None:
        if hasattr(self, "admission"):
            times = [event.at for event in self.events if isinstance(event, (LimitDecreased, LimitIncreased))]
            assert all(later - earlier >= 0.1 for earlier, later in pairwise(times))


TestPureGateAndEngine = GateAndEngine.TestCase
TestPureGateAndEngine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)

if COMPILED is not None:
    from kafka_throttle._adapters import _acks

    class CompiledClient(Client):
        produce = gated_method(Client.take, "Produce.", compiled=True)

    class CompiledGateAndEngine(GateAndEngine):
        """The same over the compiled gate, which also weighs."""

        client_class = CompiledClient

        def make_gate(self, deferred: Any) -> Any:
            return COMPILED.Gate(CompiledClient.take, at_edge, deferred, _acks.AckCounter())

        def admitted_bytes(self) -> int:
            return int(self.admission.gate.bytes)

    TestCompiledGateAndEngine = CompiledGateAndEngine.TestCase
    TestCompiledGateAndEngine.settings = TestPureGateAndEngine.settings
