"""The slow path: what happens to a record that finds the edge reached.

Read `Admission.admit` downwards: it is the whole way of such a record, to the client, to its rule's policies, or into
the line of those who wait. How one waits is the shell's: threads in ``_blocking.py``, tasks in ``_aio/``.
"""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kafka_throttle._adapters.confluent import error_names
from kafka_throttle._core.engine import Engine, Room
from kafka_throttle._core.ledger import Ledger
from kafka_throttle._polling import Polling
from kafka_throttle._publish import Publisher
from kafka_throttle._refusals import Refusals
from kafka_throttle._shedding.delivery import Deferred
from kafka_throttle._sizes import bytes_of_call
from kafka_throttle.events import LimitDecreased
from kafka_throttle.policies import Block
from kafka_throttle.statistics import snapshot_of

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from kafka_throttle._adapters.acks import Counts
    from kafka_throttle._adapters.confluent import ClientSettings
    from kafka_throttle._gates.gate import Gate
    from kafka_throttle._shedding.shedding import Shedding
    from kafka_throttle._throttle import Rule, Throttle
    from kafka_throttle.events import Event
    from kafka_throttle.policies import Policy
    from kafka_throttle.statistics import Statistics

__all__ = ["TRICKLE", "Admission", "Line", "Wait"]

# What comes in so many seconds is worth a visit of the slow path.
_PORTION = 0.001
# For so long, in seconds, a waiting caller waits for more than a little room.
TRICKLE = 0.01
_EMPTY = Ledger()
_ROOM_FOR_ONE = Room(1, 0, paced=True)


class Line(Protocol):
    """Those who wait for room; see the shells."""

    def __len__(self) -> int: ...

    def holds_back(self, rank: int) -> bool:
        """Return whether somebody waits whom a record of this rank must not overtake."""
        ...

    def alone(self, place: Any) -> bool:
        """Return whether nobody waits but the one who has this place, if any."""
        ...

    def grant(self, most: int, *, after: Any = None, rank: int = ...) -> int:
        """Let the first ones go that wait for room alone, and return how many those were."""
        ...


class Wait(NamedTuple):
    """A record whose caller has to wait in line.

    Attributes:
        policy: For how long.
        producer: The producer.
        topic: The record's topic.
        args: Arguments of its produce().
        kwargs: Its keywords.
        rank: Rank of its class.
        attempt: Tries once more, given the place in the line and the room that is worth it, for a record that may not
            go straight to the client; None: room is all that it waits for.
    """

    policy: Block
    producer: Any
    topic: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    rank: int
    attempt: Callable[[Any, int], bool] | None


class Admission:
    """Everything about one producer that is not the client itself, nor the way its callers wait.

    Args:
        throttle: The configuration.
        settings: What the client can hold.
        meter: Counts what becomes of the records.
        make_gate: Given the slow path and the queue for deferred calls, returns the gate.
        client_poll: The client's poll, as a function of the producer and a timeout in seconds; None: others poll it.
        clock: Monotonic seconds.
        make_line: Makes the line of those who wait.
        deferred: The queue for deferred calls; None: a new one.
    """

    def __init__(
        self,
        throttle: Throttle,
        settings: ClientSettings,
        meter: Counts,
        make_gate: Callable[[deque[tuple[Any, ...]]], Gate],
        client_poll: Callable[[Any, float], int] | None,
        clock: Callable[[], float] = time.monotonic,
        *,
        make_line: Callable[[], Line],
        deferred: Deferred | None = None,
    ) -> None:
        self.throttle = throttle
        self.settings = settings
        self.meter = meter
        self.gate = make_gate(Deferred() if deferred is None else deferred)
        self.publisher = Publisher(settings.client_id, throttle.hooks)
        self.engine = Engine(
            throttle.limit,
            throttle.signals,
            settings.bounds,
            settings.buffer_bytes,
            throttle.burst,
            throttle.honour_broker_quota,
            len(throttle.classes) > 1,
        )
        self.closed = False
        self.draining = False
        self.shedding: Shedding | None = None
        classes = throttle.classes
        self._ranks = {name: rank for rank, name in enumerate(classes)}
        self._mixed = len(classes) > 1
        self.clock = clock
        self._make_line = make_line
        self.line = make_line()
        self._deciding = threading.RLock()
        self.polling = Polling(self.gate, client_poll, clock, settings.client_id)
        self._busy = False
        self.refusals = Refusals(settings, self.gate)

    # ---- the way of a record that finds the edge reached

    def admit(self, producer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Wait | None:
        """Hand a record to the client when there is room, else do what the topic's rule says.

        Returns:
            None when that is done; else how the caller has to wait.

        Raises:
            Rejected: The rule refuses the record.
        """
        self.polling.refuse_orphan()
        topic = args[0] if args else kwargs.get("topic")
        if self.closed or not isinstance(topic, str) or not self.throttle.enabled:
            self.gate.forward(producer, *args, **kwargs)  # the client has the words for it
            return None
        if self.draining:
            self.refuse(topic, args, kwargs, "draining")
        rule = self.throttle.rule_for(topic)
        shedding = self.shedding
        if shedding is not None:
            way = shedding.way_of(rule)
            if way is not None:
                return shedding.offer(way, producer, args, kwargs)
            shedding.let_pass(topic, self.rank_of(rule))
        rank = self.rank_of(rule)
        if not self.line.holds_back(rank) and self._try(
            producer, args, kwargs, least=self.worthwhile(rule.policy), rank=rank
        ):
            return None
        return self.finish(rule.policy, producer, topic, args, kwargs, rank)

    def enter(self, producer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], rank: int) -> bool:
        """Hand a record over if nobody waits who goes first and there is room."""
        return not self.line.holds_back(rank) and self._try(producer, args, kwargs, rank=rank)

    def rank_of(self, rule: Rule) -> int:
        """Return the rank of a rule's class among those that there are."""
        return self._ranks[rule.criticality] if self._mixed else 0

    def finish(
        self,
        policy: Policy | None,
        producer: Any,
        topic: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        rank: int,
        attempt: Callable[[Any, int], bool] | None = None,
    ) -> Wait | None:
        """Do what the last policy of a chain says: wait, or refuse.

        Args:
            policy: The policy.
            producer: The producer.
            topic: The record's topic.
            args: Arguments of its produce().
            kwargs: Its keywords.
            rank: Rank of its class.
            attempt: See `Wait`.

        Returns:
            How the caller has to wait; None when it must not, and the client has the record.

        Raises:
            Rejected: The policy refuses it.
        """
        if not isinstance(policy, Block) or (attempt is not None and self.cannot_wait()):
            self.refuse(topic, args, kwargs, "limit", policy)
        elif not self.cannot_wait():
            return Wait(policy, producer, topic, args, kwargs, rank, attempt)
        else:  # the client would take the record, and what a callback produces is bounded by the reports that call it
            self.gate.forward(producer, *args, **kwargs)
        return None

    def cannot_wait(self) -> bool:
        """Return whether the caller is one that must not wait."""
        return False

    def refuse(
        self,
        topic: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        reason: str,
        policy: Policy | None = None,
        waited: float = 0.0,
    ) -> None:
        """Refuse a record, and say how things stand.

        Raises:
            Rejected: Always.
        """
        self.refusals.reject(
            self.statistics, topic, args, kwargs, waited=waited, reason=reason, policy=policy
        )

    def _try(
        self,
        producer: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        place: Any = None,
        least: int = 1,
        rank: int = 0,
    ) -> bool:
        """Hand the record over if there is room for `least`, and open the gate for those that follow."""
        size = bytes_of_call(args, kwargs)
        self.refusals.refuse_what_never_fits(args, kwargs)
        room = self.look(producer, size, rank)
        if room.records < 1 or (room.whole < least and not room.paced):
            return False
        try:
            self.gate.forward(producer, *args, **kwargs)
        except BufferError:
            # The client holds reports that nobody has polled for, or its limits are tighter than ours.
            self.polling.serve(producer, 0.0)
            return False
        self._let_follow(room, size, place, rank)
        return True

    def worthwhile(self, policy: Policy) -> int:
        """Return the room that is worth a visit, for a caller that may wait for it.

        Reports trickle in. To follow each one with a record or two would keep this thread busy with deciding, on a
        processor that the client and perhaps the broker need.
        """
        engine = self.engine
        if not isinstance(policy, Block) or policy.timeout <= TRICKLE or self.cannot_wait():
            return 1
        if engine.absorbing or engine.quota is not None:
            return 1  # what is admitted is governed by the time, in portions that are large enough
        return max(1, min(engine.limit_records // 8, int(_PORTION * engine.path.rate)))

    def _let_follow(self, room: Room, size: int, place: Any, rank: int) -> None:
        """Give the rest of the room to those who wait, in their order, and what they leave to whoever comes."""
        left = room.records - 1
        if len(self.line):
            left -= self.line.grant(left, after=place, rank=rank)
        if left > 0 and self.line.alone(place) and not self.polling.orphaned:
            self.gate.open(left, max(0, room.bytes - size), self.engine.path.record_bytes)

    def look(self, producer: Any, size: int = 0, rank: int = 0) -> Room:
        """Ask the engine for room, with fresh counters; publish what it found on the way."""
        now = self.clock()
        self.polling.serve_when_due(producer, now, self.engine.period)
        with self._deciding:
            if self._busy:  # a signal handler, in the middle of this very block: let it pass
                return _ROOM_FOR_ONE
            self._busy = True
            try:
                room, events = self._decide(now, size, rank)
            finally:
                self._busy = False
        self.publisher.publish(events)
        return room

    def _decide(self, now: float, size: int, rank: int) -> tuple[Room, tuple[Event, ...]]:
        engine = self.engine
        if not engine.begun:
            engine.begin(now, size)
        events: tuple[Event, ...] = ()
        if engine.due(now):
            events = self._advance(now)
        reading = self.meter.brief(self.gate)
        room = engine.room(now, reading, rank)
        if room.records < 1:
            events += engine.edge_reached(now, reading, room)
            if self._mixed and self.shedding is not None:
                self.shedding.restrict()  # those that matter less have to come and ask
        return room, events

    def _advance(self, now: float) -> tuple[Event, ...]:
        events = self.engine.advance(now, self.meter.reading(self.gate))
        self.meter.begin_window(self.engine.path.rate)
        if any(isinstance(event, LimitDecreased) for event in events):
            self.gate.close()  # it may stand open further than the limit is now
        return events

    def try_in_line(
        self, producer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], place: Any, least: int
    ) -> bool:
        """Hand over a record whose caller waits, if there is room or it was granted some."""
        self.polling.refuse_orphan()
        if not (self.closed or place.granted):
            return self._try(producer, args, kwargs, place, least, place.rank)
        try:
            self.gate.forward(
                producer, *args, **kwargs
            )  # raises, when the producer has been closed meanwhile
        except BufferError:
            return False
        return True

    # ---- the rest of the producer's life

    def tend(self) -> None:
        """Open the gate as far as there is room, at a moment when no produce() waits for it."""
        if self.closed or self.polling.orphaned or len(self.line) or not self.engine.begun:
            return
        with self._deciding:
            if self._busy:
                return
            self._busy = True
            try:
                now = self.clock()
                events = self._advance(now) if self.engine.due(now) else ()
                room = self.engine.room(now, self.meter.brief(self.gate))
                if room.records:
                    self.gate.open(room.records, room.bytes, self.engine.path.record_bytes)
            finally:
                self._busy = False
        self.publisher.publish(events)

    def drain(self) -> None:
        """Refuse every record from now on."""
        self.draining = True
        self.gate.restrict(set())

    @property
    def scarce(self) -> bool:
        """Whether some records matter more than others, and room is scarce."""
        return self._mixed and self.engine.throttling_since is not None

    @property
    def kept(self) -> int:
        """Records that the client does not have and that are not done, with callbacks that wait for the application."""
        return len(self.gate.deferred) + (self.shedding.kept if self.shedding is not None else 0)

    def note_broker_throttle(self, event: Any) -> None:
        """Take the client's throttle event."""
        with self._deciding:
            self.engine.note_broker_throttle(self.clock(), event.throttle_time, self.meter.brief(self.gate))
        self.gate.close()  # what it was opened for did not know of the quota

    def let_others(self, producer: Any, place: Any) -> None:
        """Let those go who wait for room alone, when the first of the line waits for something else."""
        room = self.look(producer, rank=place.rank)
        if room.records:
            self.line.grant(room.records, after=place, rank=place.rank)

    def close(self) -> None:
        """Take note that the client is closed."""
        self.closed = True
        self.gate.close()

    @property
    def waiting(self) -> int:
        """Callers that wait."""
        return len(self.line)

    def orphan(self) -> None:
        """Close the gate in a forked child."""
        self.polling.orphan()
        self._deciding = threading.RLock()  # another thread of the parent may have held them
        self.refusals.orphan()
        self.line = self._make_line()
        self.gate.abandon()
        if self.shedding is not None:
            self.shedding.orphan()

    def statistics(self) -> Statistics:
        """Return a snapshot."""
        now = self.clock()
        shedding = self.shedding
        known = {} if shedding is None else shedding.figures()
        books: Any = nullcontext() if shedding is None else shedding.books.lock
        with self._deciding, books:
            events = self._advance(now) if self.engine.begun and self.engine.due(now) else ()
            reading = self.meter.reading(self.gate)
            ledger = _EMPTY if shedding is None else shedding.books.ledger
            # What was kept here before the client refused it is counted there.
            refused = self.gate.refused - ledger.refused.records
            snapshot = snapshot_of(
                self.engine,
                reading,
                ledger,
                rejected=(self.refusals.records + refused, self.refusals.bytes),
                buffer_bytes=self.settings.buffer_bytes,
                client_id=self.settings.client_id,
                state=self.state,
                gate="compiled" if hasattr(self.gate, "byte_edge") else "pure",
                errors=error_names(self.meter.errors()),
                waiting=self.waiting,
                deferred_callbacks=len(self.gate.deferred),
                hook_errors=self.publisher.hook_errors,
                **known,
            )
        self.publisher.publish(events)
        return snapshot

    @property
    def state(self) -> str:
        """One word for what the facade does now."""
        if self.closed:
            return "closed"
        if self.draining:
            return "draining"
        return "open" if self.engine.throttling_since is None else "throttling"
