"""The facade over a simulated path."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING, Any
from zlib import crc32

from attrs import frozen
from confluent_kafka import KafkaError

from kafka_throttle._adapters.confluent import ClientSettings
from kafka_throttle._blocking import BlockingAdmission
from kafka_throttle._gates.gate import PureGate
from kafka_throttle._shedding.pump import Pump
from kafka_throttle._shedding.shedding import Shedding
from kafka_throttle._throttle import Throttle
from kafka_throttle.testing._path import Outcome

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from kafka_throttle._core.window import Reading
    from kafka_throttle._gates.gate import Gate
    from kafka_throttle.statistics import Statistics
    from kafka_throttle.testing._path import SimulatedPath

    OnDelivery = Callable[[KafkaError | None, "SimulatedMessage"], object]

__all__ = ["SimulatedMessage", "SimulatedProducer"]

_CODES: dict[Outcome, int] = {
    Outcome.FAILED: KafkaError.NOT_ENOUGH_REPLICAS,
    Outcome.REFUSED: KafkaError.TOPIC_AUTHORIZATION_FAILED,
    Outcome.UNKNOWN: KafkaError._MSG_TIMED_OUT,  # noqa: SLF001 - the name that the client gives it
}

# What is kept gets a look this often, in seconds.
_LOOK = 0.01


class SimulatedProducer:
    """A producer with admission control whose Kafka is a `SimulatedPath`: it decides as the real one, in virtual time.

    produce() lets virtual time pass while it waits, and none otherwise; what else the application does takes the time
    that a test gives it with ``clock.advance()``.

    Args:
        path: The way to Kafka.
        throttle: The configuration, as for `kafka_throttle.Producer`; None: the defaults.
    """

    def __init__(self, path: SimulatedPath, throttle: Throttle | None = None) -> None:
        self._path = path
        settings = ClientSettings(
            max_messages=path.max_messages,
            buffer_bytes=path.buffer_bytes,
            linger=path.linger,
            client_id="simulated",
        )
        self._admission = BlockingAdmission(
            throttle or Throttle(),
            settings,
            _Meter(path),
            self._make_gate,
            SimulatedProducer._poll_path,
            path.clock,
        )
        path.on_throttle = self._note_throttle
        if self._admission.throttle.tracked:
            self._admission.shedding = Shedding(
                self._admission,
                self._admission.throttle,
                {},
                None,
                _NoPump,
                Random(0).random,  # noqa: S311 - it chooses what is sampled
                path.clock,
            )
            self._admission.shedding.start(self)

    def _make_gate(self, deferred: deque[tuple[Any, ...]]) -> Gate:
        cls = type(self)
        return PureGate(cls._to_client, cls._at_edge, deferred)

    def produce(
        self,
        topic: str,
        value: bytes | str | None = None,
        key: bytes | str | None = None,
        partition: int = -1,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Hand one record to the client when there is room, else do what its rule says.

        Args:
            topic: The topic; all share the path's partitions.
            value: The value.
            key: The key; records with equal keys go to the same partition.
            partition: The partition; -1: by the key, or each in turn.
            on_delivery: Called with (error or None, message) in poll() or flush().

        Raises:
            Rejected: There is no room and the rule's patience is at its end.
        """
        self._admission.gate.admit(self, topic, value, key, partition, on_delivery=on_delivery)  # type: ignore[attr-defined]
        self._step()

    def _step(self) -> None:
        """Do what the pump's thread does for the real producer."""
        if self._admission.shedding is not None:
            self._admission.shedding.step(self)

    def poll(self, timeout: float = 0.0) -> int:
        """Run callbacks; when there are none, let up to `timeout` seconds pass until there are.

        Returns:
            Callbacks that ran.
        """
        self._step()
        ran = self._admission.polling.poll(self._path.poll, timeout)
        self._step()
        return ran

    def flush(self, timeout: float = math.inf) -> int:
        """Let time pass until nothing is in flight, held or on disk, at most `timeout` seconds.

        Returns:
            Records that are left.
        """
        deadline = self._path.clock() + timeout
        self.poll()
        while len(self) and self._path.clock() < deadline:
            left = deadline - self._path.clock()
            if self._admission.kept:
                self.poll(min(left, _LOOK))
            elif not self.poll(left):
                break
        return len(self)

    def drain(self, timeout: float = math.inf) -> int:
        """Refuse new records, and let time pass until everything is delivered that was accepted."""
        self._admission.drain()
        return self.flush(timeout)

    def close(self) -> None:
        """Flush, then refuse what follows."""
        self.flush()
        self._admission.close()
        if self._admission.shedding is not None:
            try:
                self._admission.shedding.close()
            finally:
                self._admission.polling.run_all_deferred()

    def statistics(self) -> Statistics:
        """Return an immutable snapshot, as the real producer does."""
        return self._admission.statistics()

    def __len__(self) -> int:
        return len(self._path) + self._admission.kept

    def __repr__(self) -> str:
        now = self.statistics()
        return f"<SimulatedProducer {now.state}, {now.in_flight}/{now.limit_records} in flight>"

    def _to_client(
        self,
        topic: str,
        value: bytes | str | None,
        key: bytes | str | None,
        partition: int = -1,
        on_delivery: OnDelivery | None = None,
        *,
        timestamp: int = 0,
        headers: object = None,
    ) -> None:
        del timestamp, headers  # they make no difference on the way
        if self._admission.closed:
            raise RuntimeError("Producer has been closed")
        if partition < 0 and key is not None:
            partition = crc32(key.encode() if isinstance(key, str) else key) % self._path.partitions

        def report(outcome: Outcome, latency: float) -> None:
            if on_delivery is not None:
                error = KafkaError(_CODES[outcome]) if outcome in _CODES else None
                on_delivery(error, SimulatedMessage(topic, value, key, latency))

        self._path.produce(len(value or b"") + len(key or b""), partition, report)

    def _at_edge(self, *args: Any, **kwargs: Any) -> None:
        self._admission.at_edge(self, *args, **kwargs)

    def _poll_path(self, timeout: float) -> int:
        return self._path.poll(timeout)

    def _note_throttle(self, throttle_time: float) -> None:
        self._admission.note_broker_throttle(_ThrottleEvent(throttle_time))


class _NoPump(Pump):
    """In virtual time nothing happens by itself: the producer does a step whenever it is called."""

    def __init__(self, *_: object) -> None:
        pass

    def wake(self) -> None:
        pass

    def join(self) -> None:
        pass


@frozen
class SimulatedMessage:
    """What a report says about its record, in the methods of the client's Message."""

    _topic: str
    _value: bytes | str | None
    _key: bytes | str | None
    _latency: float

    def topic(self) -> str:
        """Return the topic."""
        return self._topic

    def value(self) -> bytes | str | None:
        """Return the value."""
        return self._value

    def key(self) -> bytes | str | None:
        """Return the key."""
        return self._key

    def latency(self) -> float:
        """Return the seconds from produce() to the report."""
        return self._latency


@frozen
class _ThrottleEvent:
    throttle_time: float


@frozen
class _Meter:
    """Counts for the admission what the path has counted."""

    path: SimulatedPath

    def brief(self, gate: Gate) -> Reading:  # noqa: ARG002 - the path counts what was admitted, too
        return self.path.brief()

    def reading(self, gate: Gate) -> Reading:  # noqa: ARG002 - the path counts what was admitted, too
        return self.path.reading()

    def errors(self) -> dict[int, int]:
        outcomes = self.path.outcomes
        return {code: outcomes[outcome] for outcome, code in _CODES.items() if outcomes[outcome]}

    def begin_window(self, records_per_second: float) -> None:
        pass  # every delay is measured
