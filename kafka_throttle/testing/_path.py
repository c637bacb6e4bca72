"""A path to Kafka in virtual time: what the client, the network and the brokers do to a record between produce() and report.

Records gather per partition for the linger time or until a batch is full; batches go to the partition's broker one
after the other at the broker's capacity, and are reported a delay later. On top of that: brokers that stall, broker
quotas with mutes as Kafka's, reports of failure, and a client whose buffer is full.
"""

from __future__ import annotations

from collections import Counter, deque
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from kafka_throttle._core.window import BUCKETS, Delays, Reading, bucket_of
from kafka_throttle.testing._quota import BrokerQuota

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_throttle.testing._clock import VirtualClock

__all__ = ["Outcome", "SimulatedPath"]


class Outcome(Enum):
    """What the report of a record says."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """Certainly not written, for a reason that passes: no leader, too few replicas."""
    REFUSED = "refused"
    """Certainly not written, for a reason that stays: too large, not authorised."""
    UNKNOWN = "unknown"
    """Timed out after it was sent: it may have been written."""


@frozen
class _Record:
    number: int
    at: float
    size: int
    on_report: Callable[[Outcome, float], object] | None


@define
class _Partition:
    broker: _Broker
    gathering: list[_Record] = field(factory=list)
    gathered_bytes: int = 0
    batches: int = 0


@define
class _Broker:
    """One connection: a first-in-first-out queue at a certain rate."""

    capacity: float
    quota: BrokerQuota | None
    batches: deque[list[_Record]] = field(factory=deque)
    left: float = 0.0
    since: float | None = None
    stalled: bool = False
    muted_until: float = 0.0
    version: int = 0


class SimulatedPath:
    """A client's way to the brokers and back, in virtual time.

    Args:
        clock: The time.
        bytes_per_second: Capacity of the way to each broker.
        delay: Seconds from the end of a batch's transmission to its report.
        linger: Seconds for which a partition's records gather.
        batch_bytes: Bytes at which a batch goes at once.
        partitions: Number of partitions; partition n is led by broker n modulo `brokers`.
        brokers: Number of brokers.
        quota: Bytes per second that each broker grants this client; None: no quota.
        max_messages: Records that the client holds before it raises BufferError; those whose report nobody polled
            for count.
        buffer_bytes: Bytes that it holds.

    Attributes:
        outcome_of: Given the number of a record (from 0, in order of admission), returns what its report says.
        on_throttle: Called by `poll` with the seconds for which a broker announced to hold the client back.
    """

    def __init__(
        self,
        clock: VirtualClock,
        *,
        bytes_per_second: float = 2_000_000,
        delay: float = 0.02,
        linger: float = 0.005,
        batch_bytes: int = 1_000_000,
        partitions: int = 1,
        brokers: int = 1,
        quota: float | None = None,
        max_messages: int = 100_000,
        buffer_bytes: int = 1 << 30,
    ) -> None:
        if bytes_per_second <= 0:
            raise ValueError(f"bytes_per_second: {bytes_per_second!r} is not a capacity; allowed: above 0")
        if not 1 <= brokers <= partitions:
            raise ValueError(
                f"brokers: {brokers!r} with {partitions!r} partitions; allowed: 1 to the number of partitions"
            )
        self.clock = clock
        self.delay = delay
        self.linger = linger
        self.batch_bytes = batch_bytes
        self.max_messages = max_messages
        self.buffer_bytes = buffer_bytes
        self.outcome_of: Callable[[int], Outcome] = lambda _number: Outcome.DELIVERED
        self.on_throttle: Callable[[float], object] | None = None
        self._brokers = [
            _Broker(bytes_per_second, None if quota is None else BrokerQuota(quota)) for _ in range(brokers)
        ]
        self._partitions = [_Partition(self._brokers[n % brokers]) for n in range(partitions)]
        self._unserved: deque[Callable[[], object]] = deque()
        self._held = self._held_bytes = 0
        self._admitted = self._admitted_bytes = self._acked = self._acked_bytes = self._client_full = 0
        self._outcomes: Counter[Outcome] = Counter()
        self._outcome_bytes: Counter[Outcome] = Counter()
        self._requests = self._responses = 0
        self._response_time = 0.0
        self._delays = [0] * BUCKETS
        self._delay_total = 0.0

    # ---- what the client does

    def __len__(self) -> int:
        """Records that the client holds: in flight, or reported and not polled for."""
        return self._held

    def produce(
        self, size: int, partition: int = -1, on_report: Callable[[Outcome, float], object] | None = None
    ) -> None:
        """Give one record to the client.

        Args:
            size: Its bytes.
            partition: Its partition; -1: each in turn.
            on_report: Called by `poll`, once the record has been reported, with the outcome and the delay in seconds.

        Raises:
            BufferError: The client is full.
        """
        if self._held >= self.max_messages or self._held_bytes + size > self.buffer_bytes:
            self._client_full += 1
            raise BufferError("Local: Queue full")
        index = partition if partition >= 0 else self._admitted % len(self._partitions)
        self._gather(self._partitions[index], _Record(self._admitted, self.clock(), size, on_report))
        self._held += 1
        self._held_bytes += size
        self._admitted += 1
        self._admitted_bytes += size

    def poll(self, timeout: float = 0.0) -> int:
        """Call back for what was reported; when there is nothing, let up to `timeout` seconds pass until there is.

        Returns:
            Reports and throttle events that were served.
        """
        deadline = self.clock() + timeout
        while not self._unserved and self.clock() < deadline:
            if not self.clock.advance_to_next(deadline - self.clock()):
                break
        served = 0
        while self._unserved:
            served += 1
            self._unserved.popleft()()
        return served

    @property
    def partitions(self) -> int:
        """Number of partitions."""
        return len(self._partitions)

    @property
    def outcomes(self) -> Counter[Outcome]:
        """Records reported, by outcome."""
        return Counter(self._outcomes)

    def brief(self) -> Reading:
        """Return what was admitted and reported."""
        return Reading(
            self._admitted,
            self._admitted_bytes,
            self._acked,
            self._acked_bytes,
            client_full=self._client_full,
        )

    def reading(self) -> Reading:
        """Return all counters."""
        count, size = self._outcomes, self._outcome_bytes
        return Reading(
            admitted=self._admitted,
            admitted_bytes=self._admitted_bytes,
            acked=self._acked,
            acked_bytes=self._acked_bytes,
            failed=count[Outcome.FAILED] + count[Outcome.REFUSED],
            failed_bytes=size[Outcome.FAILED] + size[Outcome.REFUSED],
            unknown=count[Outcome.UNKNOWN],
            unknown_bytes=size[Outcome.UNKNOWN],
            transient=count[Outcome.FAILED] + count[Outcome.UNKNOWN],
            requests=self._requests,
            responses=self._responses,
            response_time=self._response_time,
            delays=Delays(tuple(self._delays), self._delay_total, count[Outcome.DELIVERED]),
            client_full=self._client_full,
        )

    # ---- what goes wrong

    def set_capacity(self, bytes_per_second: float, broker: int | None = None) -> None:
        """Change the capacity of the way to one broker, or to all."""
        if bytes_per_second <= 0:
            raise ValueError(f"bytes_per_second: {bytes_per_second!r} is not a capacity; allowed: above 0")
        for each in self._chosen(broker):
            self._interrupt(each)
            each.capacity = bytes_per_second
            self._transmit(each)

    def set_quota(self, bytes_per_second: float | None, broker: int | None = None) -> None:
        """Change what one broker grants this client, or all; what it remembers of the last seconds stays."""
        for each in self._chosen(broker):
            if bytes_per_second is None:
                each.quota = None
            elif each.quota is None:
                each.quota = BrokerQuota(bytes_per_second)
            else:
                each.quota.bytes_per_second = bytes_per_second

    def stall(self, broker: int | None = None) -> None:
        """Have one broker, or all, stand still."""
        for each in self._chosen(broker):
            self._interrupt(each)
            each.stalled = True

    def resume(self, broker: int | None = None) -> None:
        """Have one broker, or all, go on where it stood still."""
        for each in self._chosen(broker):
            each.stalled = False
            self._transmit(each)

    def _chosen(self, broker: int | None) -> list[_Broker]:
        return self._brokers if broker is None else [self._brokers[broker]]

    # ---- the way of a batch

    def _gather(self, partition: _Partition, record: _Record) -> None:
        partition.gathering.append(record)
        partition.gathered_bytes += record.size
        if partition.gathered_bytes >= self.batch_bytes:
            self._send(partition)
        elif len(partition.gathering) == 1:
            when = self.clock() + self.linger
            self.clock.call_at(when, partial(self._lingered, partition, partition.batches))

    def _lingered(self, partition: _Partition, batch: int) -> None:
        if partition.batches == batch:
            self._send(partition)

    def _send(self, partition: _Partition) -> None:
        partition.broker.batches.append(partition.gathering)
        partition.gathering, partition.gathered_bytes = [], 0
        partition.batches += 1
        self._requests += 1
        self._transmit(partition.broker)

    def _transmit(self, broker: _Broker) -> None:
        now = self.clock()
        if broker.since is not None or broker.stalled or not broker.batches or now < broker.muted_until:
            return
        if not broker.left:
            broker.left = sum(record.size for record in broker.batches[0])
        broker.since = now
        self.clock.call_at(
            now + broker.left / broker.capacity, partial(self._arrived, broker, broker.version)
        )

    def _interrupt(self, broker: _Broker) -> None:
        if broker.since is not None:
            # Never quite nothing: nothing would mean that the batch has not begun.
            broker.left = max(1e-9, broker.left - (self.clock() - broker.since) * broker.capacity)
            broker.since = None
            broker.version += 1

    def _arrived(self, broker: _Broker, version: int) -> None:
        if version != broker.version:
            return
        now = self.clock()
        batch = broker.batches.popleft()
        broker.since, broker.left = None, 0.0
        throttle = broker.quota.note(now, sum(record.size for record in batch)) if broker.quota else 0.0
        self.clock.call_at(now + self.delay, partial(self._report, batch, throttle))
        if throttle > 0:
            broker.muted_until = now + throttle
            self.clock.call_at(broker.muted_until, partial(self._transmit, broker))
        self._transmit(broker)

    def _report(self, batch: list[_Record], throttle: float) -> None:
        self._responses += 1
        self._response_time += self.delay
        if throttle > 0 and self.on_throttle is not None:
            self._unserved.append(partial(self.on_throttle, throttle))
        now = self.clock()
        for record in batch:
            outcome = self.outcome_of(record.number)
            self._outcomes[outcome] += 1
            self._outcome_bytes[outcome] += record.size
            self._acked_bytes += record.size
            if outcome is Outcome.DELIVERED:
                self._delays[bucket_of(int((now - record.at) * 1e6))] += 1
                self._delay_total += now - record.at
            self._unserved.append(partial(self._served, record, outcome, now - record.at))
        self._acked += len(batch)

    def _served(self, record: _Record, outcome: Outcome, delay: float) -> None:
        self._held -= 1
        self._held_bytes -= record.size
        if record.on_report is not None:
            record.on_report(outcome, delay)
