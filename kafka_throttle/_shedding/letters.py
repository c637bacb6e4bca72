"""Records on their way to the dead letters."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kafka_throttle._dead_letter import Letter
from kafka_throttle._publish import logger
from kafka_throttle._records import ShedError
from kafka_throttle.events import RecordDeadLettered
from kafka_throttle.exceptions import DeadLetterError

if TYPE_CHECKING:
    from kafka_throttle._dead_letter import Sink
    from kafka_throttle._records import Record
    from kafka_throttle._shedding.way import Way
    from kafka_throttle.policies.dead_letter import DeadLetter

__all__ = ["Letters"]

# flush() waits for letters as for records. What is pending afterwards gets so many seconds.
_LAST_SECONDS = 0.5


class Letters:
    """One dead-letter policy of a way. What it has taken counts as held until it is written.

    Args:
        policy: The policy.
        sink: Where the letters go.
        way: Told when a letter could not be written after all.
    """

    def __init__(self, policy: DeadLetter, sink: Sink, way: Way) -> None:
        self.policy = policy
        self._sink = sink
        self._way = way
        self._books = way.books
        self._complained = False
        self.pending = 0

    def take(self, record: Record, *, reason: str = "limit", error: Any = None) -> bool:
        """Write a letter; False when that cannot be.

        Args:
            record: The record.
            reason: Why it is given up: one word, or the client's name of an error.
            error: The client's error of a failed delivery, whose callback is told of that; None for a record that was
                offered just now, whose callback is told when the letter is written.
        """
        letter = self._letter(record, reason, error)
        with self._books.lock:
            self.pending += 1
            if error is None:
                self._books.ledger.offered.add(1, record.size)
            self._books.ledger.held.add(1, record.size)
        try:
            self._sink.write(letter, lambda problem: self._written(record, reason, error, problem))
        except DeadLetterError as problem:
            with self._books.lock:
                self.pending -= 1
                if error is None:
                    self._books.ledger.offered.add(-1, -record.size)
                self._books.ledger.held.add(-1, -record.size)
            self._complain(problem)
            return False
        return True

    def _letter(self, record: Record, reason: str, error: Any) -> Letter:
        return Letter(
            topic=record.topic,
            partition=record.partition if record.partition >= 0 else None,
            key=record.key,
            value=record.value,
            headers=record.headers or (),
            timestamp=record.timestamp,
            policy=type(self.policy).__name__,
            reason=reason,
            attempts=record.attempts,
            first_seen=record.first_seen,
            record_id=os.urandom(16),
            error=None if error is None else error.str(),
            error_name=None if error is None else error.name(),
        )

    def _written(self, record: Record, reason: str, error: Any, problem: BaseException | None) -> None:
        books = self._books
        if problem is not None:
            self._complain(problem)
        with books.lock:
            self.pending -= 1
            books.ledger.held.add(-1, -record.size)
            if problem is None:
                books.ledger.dead_lettered.add(1, record.size)
                books.note(RecordDeadLettered, record, policy=type(self.policy).__name__, reason=reason)
        if problem is not None:
            self._way.fall_through(self, record, error, problem)
        elif error is None:
            books.report(record, self._told(reason, f"wrote this record to the dead letters ({reason})"))

    def _told(self, reason: str, words: str) -> ShedError:
        told = ShedError(ShedError._QUEUE_FULL, f"kafka_throttle: {words}")  # noqa: SLF001 - the client's public name
        told.policy, told.reason = type(self.policy).__name__, reason
        return told

    def _complain(self, problem: BaseException) -> None:
        if not self._complained:
            self._complained = True
            logger.warning("dead letters: %s: the next policy takes over; it is logged once", problem)

    def close(self) -> None:
        """Close the sink; what is pending then has had its time."""
        self._sink.close(_LAST_SECONDS)
