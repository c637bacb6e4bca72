"""The ledger with its lock, and the reports of records that the client never had."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError

from kafka_throttle._core.ledger import Ledger
from kafka_throttle._records import ShedError, message_of
from kafka_throttle.events import RecordShed

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_throttle._gates.gate import Gate
    from kafka_throttle._publish import Publisher
    from kafka_throttle._records import Record
    from kafka_throttle.events import Event
    from kafka_throttle.policies import Policy

__all__ = ["Books"]


class Books:
    """One producer's ledger.

    Attributes:
        ledger: The counts; changed and read under `lock`.
        lock: Held for moments only, never during I/O or calls of the user's code.
        approvals: Who approved the losses of a topic.
        default_callback: The callback of the client's configuration.
        wall: Seconds since the epoch.
    """

    def __init__(
        self,
        gate: Gate,
        publisher: Publisher,
        approval_of: Callable[[str], str | None],
        default_callback: Callable[[Any, Any], object] | None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.ledger = Ledger()
        self.lock = threading.RLock()
        self.default_callback = default_callback
        self.wall = wall
        self._gate = gate
        self._publisher = publisher
        self._approval_of = approval_of
        self._unpublished: list[Event] = []

    def shed(self, record: Record, policy: Policy, reason: str) -> None:
        """Give up a record that was offered just now."""
        with self.lock:
            self.ledger.offered.add(1, record.size)
            self.shed_kept(record, policy, reason)

    def shed_kept(self, record: Record, policy: Policy, reason: str) -> None:
        """Give up a record that was kept until now."""
        name = type(policy).__name__
        approved_by = self._approval_of(record.topic)
        self.ledger.lose(record.topic, name, reason, record.size, self.wall(), approved_by)
        if reason == "purge":
            error = ShedError(ShedError._PURGE_QUEUE, "kafka_throttle: purge() gave this record up")  # noqa: SLF001
        else:
            error = ShedError(
                ShedError._QUEUE_FULL,  # noqa: SLF001 - the client's public name for it
                f"kafka_throttle: {name} shed this record ({reason}); approved by {approved_by}",
            )
        error.policy, error.reason = name, reason
        self.report(record, error)
        self.note(RecordShed, record, policy=name, reason=reason)

    def strand(self, record: Record, words: str) -> None:
        """Fail a record that was never sent and finds no place, long after produce() has returned."""
        with self.lock:
            self.ledger.stranded.add(1, record.size)
        self.report(record, KafkaError(KafkaError._FAIL, f"kafka_throttle: {words}"))  # noqa: SLF001 - a public name

    @property
    def watched(self) -> bool:
        """Whether there are hooks to be told."""
        return bool(self._publisher.hooks)

    def note(self, event: Callable[..., Event], record: Record, **details: str) -> None:
        """Have the hooks told of a record, if there are any."""
        if self.watched:
            with self.lock:  # publish() takes the list away
                self._unpublished.append(
                    event(at=time.monotonic(), topic=record.topic, bytes=record.size, **details)
                )

    def report(self, record: Record, error: KafkaError) -> None:
        """Have the callback of a record called in the user's next poll()."""
        callback = self.default_callback if record.callback is None else record.callback
        if callback is not None:
            self._gate.deferred.append((callback, error, message_of(record, error)))

    def publish(self) -> None:
        """Tell the hooks what has happened; without the lock."""
        if self._unpublished:
            with self.lock:
                events, self._unpublished = self._unpublished, []
            self._publisher.publish(events)
