"""How much may be in the client: the AIMD law, and a fixed limit.

A `Limit` is configuration (frozen, shared); `start()` gives the law that remembers. A law is pure: it is told of each
window once and keeps a number of records; the engine turns that into an edge, in records and in bytes.

The AIMD law (Chiu and Jain 1989), once per window:

- congested: limit <- max(floor, min(back-off ratio x limit, rate x (base delay + tolerance))). The second term, the
  product of rate and allowed delay, is the fast way down from far above; here it only ever lowers, and at the end of
  doubling, when the pipe was still filling up, by no more than half.
- congested but the edge was not reached: the delay alone does not lower a limit that is mostly unused, and the rate,
  which is then the application's, lowers none;
- calm and the edge was reached: double until the first congestion, or until doubling brought no more throughput;
  from then on add a share of the limit at the last decrease.
- calm and the edge was not reached: unchanged. A limit that was not tested must not grow.
- nothing reported although records are in flight: unchanged. Nothing is known.

What is kept is a number of records; when they become of another size, the bytes that they are stay the same.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Protocol

from attrs import define, field, frozen

from kafka_throttle._core.signals import StandingDelay
from kafka_throttle._fields import (
    ByteSize,
    Configured,
    OptionalByteSize,
    Seconds,
    byte_size,
    configured,
    count,
    ratio,
    seconds,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kafka_throttle._core.window import WindowSample

__all__ = ["AIMD", "LIMITS", "Bounds", "Conditions", "Fixed", "Law", "Limit"]

_SMALLEST_RECORDS = 2
# Doubling goes on while it brings so much more throughput, with so many windows of grace.
_FLAT_GAIN = 1.05
_FLAT_WINDOWS = 3
# Records are of another kind when they are so many times as large as before, or as small.
_OTHER_KIND = 4.0


@frozen
class Bounds:
    """What the client itself can hold, and how it batches.

    Attributes:
        most_records: Records that the limit never exceeds.
        most_bytes: Bytes that the limit never exceeds.
        batch_bytes: Size of a batch that the limit must always have room for.
        linger: Seconds for which the client waits for a batch to fill.
    """

    most_records: int = 90_000
    most_bytes: int = 900 << 20
    batch_bytes: int = 16_384
    linger: float = 0.005


@frozen
class Conditions:
    """What the engine knows of the path when it asks the law.

    Attributes:
        congested: Name of the signal that makes the law back off, or None.
        base_delay: Delay of a record that meets no queue, in seconds.
        tolerance: Standing delay above it that is still calm, in seconds.
        record_bytes: Mean size of a record.
    """

    congested: str | None
    base_delay: float
    tolerance: float
    record_bytes: float


class Law(Protocol):
    """The part of a limit that remembers."""

    @property
    def records(self) -> float:
        """Records that may be in the client."""
        ...

    def update(self, sample: WindowSample, conditions: Conditions) -> None:
        """Learn from one window, and change `records` at most once."""


@configured
class Limit(Configured):
    """Base of the limits."""

    @abstractmethod
    def start(self, bounds: Bounds, record_bytes: float) -> Law:
        """Return the law, at its start.

        Args:
            bounds: What the client can hold.
            record_bytes: Size of the first record.
        """

    def most_bytes(self, bounds: Bounds) -> int:
        """Return the bytes that may ever be in the client."""
        return bounds.most_bytes


@configured
class AIMD(Limit):
    """Additive increase, multiplicative decrease of what may be in the client.

    Attributes:
        start_bytes: The limit before anything is known, in bytes.
        backoff_ratio: What a congested window multiplies the limit with.
        increase: What a calm window adds, as a share of the limit at the last decrease.
        idle: Seconds without a full window after which doubling starts again.
        max_bytes: Upper bound in bytes; None: nine tenths of the client's own buffer.
    """

    start_bytes: ByteSize = byte_size(
        default="512 kB", minimum="1 KiB", doc="The limit before anything is known, in bytes."
    )
    backoff_ratio: float = ratio(
        default=0.8, above=0, below=1, doc="What a congested window multiplies the limit with."
    )
    increase: float = ratio(
        default=0.05, above=0, doc="What a calm window adds, as a share of the limit at the last decrease."
    )
    idle: Seconds = seconds(
        default=10.0, above=0, doc="Time without pressure after which the limit may double again."
    )
    max_bytes: OptionalByteSize = byte_size(
        default=None,
        minimum="1 KiB",
        optional=True,
        doc="Upper bound in bytes; None: nine tenths of the client's own buffer.",
    )

    def _problems(self) -> Iterator[str]:
        if self.max_bytes is not None and self.max_bytes < self.start_bytes:
            yield (
                f"max_bytes: {self.max_bytes} is below start_bytes ({self.start_bytes}); "
                f"allowed: from start_bytes up"
            )

    def start(self, bounds: Bounds, record_bytes: float) -> AIMDLaw:
        """Return the law at its start limit."""
        law = AIMDLaw(self, bounds, record_bytes)
        law.records = law.within(self.start_bytes / record_bytes, law.batch(record_bytes), record_bytes)
        law.useful = law.records
        return law

    def most_bytes(self, bounds: Bounds) -> int:
        """Return the tighter of the client's bound and `max_bytes`."""
        return bounds.most_bytes if self.max_bytes is None else min(bounds.most_bytes, self.max_bytes)


@define
class AIMDLaw:
    """The AIMD law; see the module.

    Attributes:
        config: Its parameters.
        bounds: What the client can hold.
        record_bytes: Mean size of the records that the limit counts.
        records: The limit.
        doubling: Whether calm windows double the limit (slow start).
        useful: The last limit at which doubling still brought throughput.
    """

    config: AIMD
    bounds: Bounds
    record_bytes: float
    records: float = field(default=0.0, init=False)
    doubling: bool = field(default=True, init=False)
    _at_decrease: float = field(default=0.0, init=False)
    _rate: float = field(default=0.0, init=False)
    _mean_rate: float = field(default=0.0, init=False)
    _flat: int = field(default=0, init=False)
    useful: float = field(default=0.0, init=False)
    _pressed: float | None = field(default=None, init=False)
    _tested: bool = field(default=False, init=False)

    def batch(self, record_bytes: float) -> float:
        """Return the records of one batch: below it the sender starves."""
        return max(_SMALLEST_RECORDS, self.bounds.batch_bytes / record_bytes)

    def within(self, records: float, floor: float, record_bytes: float) -> float:
        """Return `records` between the floor and what the client can hold."""
        most = min(self.bounds.most_records, self.config.most_bytes(self.bounds) / record_bytes)
        return max(1.0, min(most, max(floor, records)))

    def update(self, sample: WindowSample, conditions: Conditions) -> None:
        """Learn from one window; see the module for the law."""
        self._follow(conditions.record_bytes)
        self._tested = self._tested or sample.edge_reached or conditions.congested is not None
        self._note_idle(sample)
        if sample.stalled:
            return
        floor = max(self.batch(conditions.record_bytes), self._least_for(sample, conditions))
        records = self.records
        if conditions.congested:
            records = self._decreased(sample, conditions)
        elif sample.edge_reached:
            records = self._increased(sample, self.batch(conditions.record_bytes))
        self.records = self.within(records, floor, conditions.record_bytes)
        if conditions.congested:
            self._at_decrease = self.records
        if sample.acked:
            self._mean_rate += 0.3 * (sample.rate - self._mean_rate)
        self._rate = sample.rate

    def _follow(self, record_bytes: float) -> None:
        """Keep the limit in bytes when the records become of another kind.

        The first ones may be of a few bytes and the others of kilobytes: a limit that was never tested would be as many
        megabytes. One that was is kept as it is when they differ little, as a path has costs for each record, too.
        """
        ratio = record_bytes / self.record_bytes
        if self._tested and 1 / _OTHER_KIND < ratio < _OTHER_KIND:
            return
        self.record_bytes = record_bytes
        self.records = self.within(self.records / ratio, self.batch(record_bytes), record_bytes)
        self.useful /= ratio
        self._at_decrease /= ratio

    def _least_for(self, sample: WindowSample, conditions: Conditions) -> float:
        """Return what the rate needs: below it the sender waits for batches that cannot fill."""
        if not sample.edge_reached:
            return 0.0
        if conditions.congested:
            return 0.5 * sample.rate * self.bounds.linger
        # Measured on tight loops of 100 B and 1 KiB: throughput is best from rate x (linger + round trip + 10 ms) up.
        return sample.rate * (
            self.bounds.linger + conditions.base_delay + min(0.01, 0.5 * conditions.tolerance)
        )

    def _note_idle(self, sample: WindowSample) -> None:
        if sample.edge_reached or self._pressed is None:
            self._pressed = sample.end
        elif sample.end - self._pressed > self.config.idle:
            self.doubling = True
            self._flat, self.useful = 0, self.records

    def _decreased(self, sample: WindowSample, conditions: Conditions) -> float:
        if not sample.edge_reached:
            # The application made the rate, not the path. Delays may then have another cause than what is in the
            # client; when that is much, it is likely the cause.
            much = sample.in_flight >= 0.5 * self.records or conditions.congested != StandingDelay.name
            return self.config.backoff_ratio * self.records if much else self.records
        was_doubling, self.doubling = self.doubling, False
        # A window that ended in a mute shows less than the path gives: half the mean rate is a floor for it.
        rate = max(sample.rate, 0.5 * self._mean_rate)
        product = rate * (conditions.base_delay + conditions.tolerance)
        if was_doubling:
            # The pipe was filling up in this window, so that its rate is too low: at most by half.
            product = max(product, 0.5 * self.records)
        return min(self.config.backoff_ratio * self.records, product)

    def _increased(self, sample: WindowSample, batch: float) -> float:
        if not self.doubling:
            return self.records + max(batch, self.config.increase * self._at_decrease)
        if sample.rate >= _FLAT_GAIN * self._rate:
            self._flat, self.useful = 0, self.records
        else:
            self._flat += 1
        if self._flat < _FLAT_WINDOWS:
            return 2 * self.records
        # The last doublings brought delay and nothing else.
        self.doubling = False
        self._at_decrease = 2 * self.useful
        return min(self.records, 2 * self.useful)


@configured
class Fixed(Limit):
    """A limit that does not move, for measurements and for those who know better.

    Attributes:
        records: Records that may be in the client.
    """

    records: int = count(default=10_000, minimum=1, doc="Records that may be in the client.")

    def start(self, bounds: Bounds, record_bytes: float) -> FixedLaw:
        """Return the law: the number itself, within what the client can hold."""
        del record_bytes
        return FixedLaw(min(self.records, bounds.most_records))


@frozen
class FixedLaw:
    """The law of a fixed limit."""

    records: float

    def update(self, sample: WindowSample, conditions: Conditions) -> None:
        """Learn nothing."""


LIMITS: dict[str, type[Limit]] = {"aimd": AIMD, "fixed": Fixed}
