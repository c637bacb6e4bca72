"""The engine: decides how much may be in the client. Pure: time and counters are arguments, events are results.

The shell's duties, whenever somebody reaches the edge (and now and then otherwise):

1. ``begin(now, record_bytes)`` once, with the first record;
2. when ``due(now)``, ``advance(now, reading)`` with all counters; it closes the window and returns events, to be
   published after the shell has let go of its lock;
3. ``room(now, reading)`` with fresh counters: how much may still be handed to the client. Nothing: call ``edge_reached(now, reading)``,
   wait or reject; something: open the gate that far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from kafka_throttle._core.allowance import Allowance
from kafka_throttle._core.criticality import LAG, Floors, headroom
from kafka_throttle._core.limits import Bounds, Conditions, Law, Limit
from kafka_throttle._core.pacer import Pacer
from kafka_throttle._core.path import AdmissionLog, Path
from kafka_throttle._core.probe import DelayProbe
from kafka_throttle._core.signals import Signal, SignalReading, StandingDelay, Watcher
from kafka_throttle._core.window import Reading, WindowSample
from kafka_throttle.events import (
    Event,
    LimitDecreased,
    LimitIncreased,
    SignalCleared,
    SignalRaised,
    ThrottlingEnded,
    ThrottlingStarted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Engine", "Room"]

_SHORTEST_WINDOW = 0.1
_CALM_AFTER = 1.0
# Silence that is still ordinary, in multiples of the delay that is still calm, and in seconds.
_PATIENCE = 3.0
_LEAST_PATIENCE = 0.15
# The gate opens by half of the room, at most for so many seconds at the rate of late, or nobody looks at the windows;
# and by a sixteenth of the limit at least: the slow path must stay rare.
_LONGEST_STEP = 0.25
_LEAST_STEP = 1 / 16


@frozen
class Room:
    """How far the gate may be opened.

    Attributes:
        records: Records that may be handed to the client now; 0: the edge is reached.
        bytes: Bytes that may be handed to it now.
        paced: Whether it is a broker's quota that bounds it, or has to be waited for.
        whole: Records that there is room for in all; the gate is opened to it in steps.
    """

    records: int
    bytes: int
    paced: bool = False
    whole: int = 0


_EDGE = Room(0, 0)
_PACED = Room(0, 0, paced=True)
_ONE = Room(1, 1, paced=True, whole=1)


@define
class Engine:
    """Decides how much may be in the client; see the module.

    Attributes:
        limit: Configuration of the limit.
        bounds: What the client can hold.
        buffer_bytes: Size of the client's own buffer.
        burst_bytes: What is absorbed beyond the limit in a stall, in bytes.
        sample: The last complete window.
        path: What was learnt about the path.
        honour_broker_quota: Whether admission is paced by a broker's quota.
        several_classes: Whether some records matter more than others.
        throttling_since: When the edge was first reached in this spell; None while open.
    """

    limit: Limit
    signals: Sequence[Signal]
    bounds: Bounds
    buffer_bytes: int
    burst_bytes: int
    honour_broker_quota: bool = True
    several_classes: bool = False
    sample: WindowSample | None = field(default=None, init=False)
    path: Path = field(factory=Path, init=False)
    throttling_since: float | None = field(default=None, init=False)
    pressure: float = field(default=0.0, init=False)
    _law: Law | None = field(default=None, init=False)
    _log: AdmissionLog = field(factory=AdmissionLog, init=False)
    _pacer: Pacer = field(factory=Pacer, init=False)
    _floors: Floors = field(factory=Floors, init=False)
    _probe: DelayProbe = field(factory=DelayProbe, init=False)
    _allowance: Allowance = field(init=False)
    _watchers: list[Watcher] = field(init=False)
    _delay: StandingDelay = field(init=False)
    _readings: tuple[SignalReading, ...] = field(default=(), init=False)
    _last: Reading = field(factory=Reading, init=False)
    _window_start: float = field(default=0.0, init=False)
    _edge_at: float = field(default=-1e9, init=False)
    _edge_in_window: bool = field(default=False, init=False)
    _waited_in_window: bool = field(default=False, init=False)
    _broker_throttle: float = field(default=0.0, init=False)
    _was_absorbing: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._allowance = Allowance(self.burst_bytes)
        self._watchers = [signal.start() for signal in self.signals]
        delays = [signal for signal in self.signals if isinstance(signal, StandingDelay)]
        self._delay = delays[0] if delays else StandingDelay()

    # ---- what the shell tells

    def begin(self, now: float, record_bytes: int) -> None:
        """Start with the first record."""
        self.path.record_bytes = float(max(1, record_bytes))
        self._law = self.limit.start(self.bounds, self.path.record_bytes)
        self._window_start = now

    @property
    def begun(self) -> bool:
        """Whether a first record has been seen."""
        return self._law is not None

    def note_broker_throttle(self, now: float, throttle: float, reading: Reading) -> None:
        """Take note of the time, in seconds, for which a broker holds the client back."""
        if throttle <= 0:
            return
        self._broker_throttle = max(self._broker_throttle, throttle)
        self._allowance.note_broker_throttle(now + throttle)
        if self.honour_broker_quota:
            self._log.note(now, reading)
            self._pacer.note_throttle(now, throttle, reading, self._log)

    def edge_reached(self, now: float, reading: Reading, room: Room) -> tuple[Event, ...]:
        """Take note that somebody found no room."""
        self._edge_at = now
        self._waited_in_window = True
        # The pacer's wait says nothing about the limit, which must not grow by it.
        self._edge_in_window |= not room.paced
        if self.throttling_since is not None:
            return ()
        self.throttling_since = now
        started = ThrottlingStarted(
            at=now, limit=self.limit_records, in_flight=reading.in_flight, broker_quota=self.quota
        )
        return (started,)

    # ---- what the shell asks

    @property
    def limit_records(self) -> int:
        """Records that may be in the client; 0 before the first one."""
        return int(self._law.records) if self._law else 0

    @property
    def limit_bytes(self) -> int:
        """Bytes that may be in the client; 0 before the first record."""
        if not self._law:
            return 0
        wanted = max(self._law.records * self.path.record_bytes, self.bounds.batch_bytes)
        return int(min(wanted, self.limit.most_bytes(self.bounds)))

    @property
    def _base_delay(self) -> float:
        # A record may wait for its batch for as long as the linger: where that is long, it is no queue.
        base = self.path.base_delay
        return base + max(0.0, 1.5 * self.bounds.linger - self._delay.tolerance(base))

    @property
    def _batch(self) -> float:
        return max(2.0, self.bounds.batch_bytes / self.path.record_bytes)

    @property
    def period(self) -> float:
        """Length of a window in seconds: at least a round trip, so that each sees the effect of the last."""
        return max(_SHORTEST_WINDOW, 1.25 * self.path.round_trip)

    @property
    def stalled(self) -> bool:
        """Whether nothing is being reported although records are in flight."""
        return self._allowance.stalled

    @property
    def absorbing(self) -> bool:
        """Whether a stall is being absorbed or paid back."""
        return self._allowance.absorbing

    @property
    def quota(self) -> float | None:
        """A broker's quota, in bytes per second of keys and values; None when none is known."""
        return self._pacer.quota

    @property
    def signal_readings(self) -> tuple[SignalReading, ...]:
        """What each signal said of the last window."""
        return self._readings

    def room(self, now: float, reading: Reading, rank: int = 0) -> Room:
        """Return how far the gate may be opened now.

        Args:
            now: Seconds of the monotonic clock.
            reading: The counters.
            rank: Rank of the records' class of criticality, 0 for the most important one that there is.
        """
        assert self._law is not None, "begin() comes first"
        self._log.note(now, reading)
        limit = self._probe.limit(now, self._law.records, self.path, self._batch)
        base = self._base_delay
        calm = base + self._delay.tolerance(base)
        beyond = self._allowance.records(
            now,
            reading,
            self._log,
            limit=limit,
            patience=max(_LEAST_PATIENCE, _PATIENCE * calm),
            usual=self.path.round_trip,
            record_bytes=self.path.record_bytes,
        )
        records = min(limit + beyond, self.bounds.most_records) - reading.in_flight
        spare = self.limit_bytes + beyond * self.path.record_bytes - reading.in_flight_bytes
        if reading.in_flight <= 0:
            # A record larger than the limit passes alone: it would never find room otherwise.
            records, spare = max(1.0, records), max(1.0, spare)
        if rank:
            records, spare = records - headroom(rank, limit), spare - headroom(rank, self.limit_bytes)
        if records < 1 or spare < 1:
            return self._floor(rank, now, limit) or _EDGE
        return self._paced(now, reading, records, limit, min(spare, self.bounds.most_bytes), rank)

    def _floor(self, rank: int, now: float, limit: float) -> Room | None:
        """Return room for one record when its class has not had its floor, however full the client is."""
        if not self.several_classes or self._pacer.muted(now) or (self.quota is not None and not rank):
            return None
        return _ONE if self._floors.take(rank, now, self.path.rate, limit) else None

    def _paced(
        self, now: float, reading: Reading, whole: float, limit: float, size: float, rank: int
    ) -> Room:
        records = self._step(whole, limit)
        budget = self._pacer.budget(now, reading, self._log, LAG[rank])
        if budget < 1:
            return self._floor(rank, now, limit) or _PACED
        if budget < size:
            records, size = min(records, max(1.0, budget / self.path.record_bytes)), budget
            return Room(int(records), int(size), paced=True, whole=int(whole))
        return Room(int(records), int(size), whole=int(whole))

    def _step(self, records: float, limit: float) -> float:
        return min(records, max(_LONGEST_STEP * self.path.rate, _LEAST_STEP * limit, 1.0))

    # ---- windows

    def due(self, now: float) -> bool:
        """Whether a window is complete."""
        return now - self._window_start >= self.period

    def advance(self, now: float, reading: Reading) -> tuple[Event, ...]:
        """Close the window.

        Args:
            now: Seconds of the monotonic clock.
            reading: All counters.

        Returns:
            Events, for the shell to publish after it has let go of its lock.
        """
        duration = now - self._window_start
        self._log.note(now, reading)
        sample = WindowSample.between(
            self._last,
            reading,
            end=now,
            duration=duration,
            oldest=self._log.oldest(now, reading),
            edge_reached=self._edge_in_window,
            broker_throttle=self._broker_throttle,
            buffer_fill=min(1.0, reading.in_flight_bytes / self.buffer_bytes),
        )
        self._last, self._window_start, self.sample = reading, now, sample
        self.pressure += min(1.0, duration) * (self._waited_in_window - self.pressure)
        self._edge_in_window, self._waited_in_window, self._broker_throttle = False, False, 0.0
        if reading.least_round_trip:
            self.path.witness(now, reading.least_round_trip, self.bounds.linger)
        self.path.learn(sample)
        return (*self._observe(now, sample), *self._adjust(now, sample), *self._calm_down(now))

    def _observe(self, now: float, sample: WindowSample) -> list[Event]:
        events: list[Event] = []
        readings = []
        for watcher in self._watchers:
            was_raised = watcher.raised
            reading = watcher.observe(sample, self._base_delay)
            readings.append(reading)
            if reading.raised and not was_raised:
                events.append(
                    SignalRaised(
                        at=now, signal=reading.name, value=reading.value, threshold=reading.threshold
                    )
                )
            elif was_raised and not reading.raised:
                events.append(SignalCleared(at=now, signal=reading.name, value=reading.value))
        self._readings = tuple(readings)
        return events

    def _adjust(self, now: float, sample: WindowSample) -> list[Event]:
        assert self._law is not None
        before = self.limit_records
        congested = next((r.name for r in self._readings if r.raised and r.congests), None)
        if self._after_stall():
            congested = None
        elif not self._probe.spoils(sample):
            base = self._base_delay
            # Records that are stuck fill the client up to the edge; the path of the others is not tested by that.
            tested = sample.edge_reached and not self._allowance.stuck
            self._law.update(
                sample if tested == sample.edge_reached else evolve(sample, edge_reached=tested),
                Conditions(congested, base, self._delay.tolerance(base), self.path.record_bytes),
            )
        self._probe.learn(
            sample,
            self.path,
            congested=congested is not None,
            at_floor=self._law.records <= 1.5 * self._batch,
            muted=self._allowance.muted(now),
        )
        after = self.limit_records
        if after < before:
            return [LimitDecreased(at=now, before=before, after=after, signal=congested or "client-bounds")]
        return [LimitIncreased(at=now, before=before, after=after)] if after > before else []

    def _after_stall(self) -> bool:
        """Whether a stall's leavings fell into the window: their delays and their rate say nothing of the path."""
        before, self._was_absorbing = self._was_absorbing, self._allowance.absorbing
        return before or self._was_absorbing

    def _calm_down(self, now: float) -> list[Event]:
        if self.throttling_since is None or now - self._edge_at < _CALM_AFTER:
            return []
        lasted, self.throttling_since = self._edge_at - self.throttling_since, None
        return [ThrottlingEnded(at=now, lasted=lasted, limit=self.limit_records)]
