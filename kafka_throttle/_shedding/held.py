"""Records that are held in memory, first in first out, within bounds."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from kafka_throttle.policies import DropOldest

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from kafka_throttle._records import Record
    from kafka_throttle._shedding.books import Books
    from kafka_throttle.policies import DropNewest

__all__ = ["Held"]

# The pump looks this often, in seconds: what would be too old by the next look is too old now.
_LOOK = 0.01


class Held:
    """A queue in memory, for `DropOldest` and `DropNewest`.

    Args:
        policy: Its bounds, and what gives way when they are reached.
        books: The ledger and the reports.
        clock: Monotonic seconds.

    Attributes:
        waiting: Records that wait, with those that the pump has in its hands: one number, as whoever asks takes no lock.
    """

    def __init__(self, policy: DropOldest | DropNewest, books: Books, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._books = books
        self._clock = clock
        self._oldest = isinstance(policy, DropOldest)
        self._most_bytes = policy.max_bytes if isinstance(policy, DropOldest) else 1 << 62
        self._max_age = policy.max_age if isinstance(policy, DropOldest) else None
        self._queue: deque[tuple[float, int, Record]] = deque()
        self._bytes = 0
        self.waiting = 0
        self._taken: list[tuple[float, int, Record]] = []

    def waits(self, group: Hashable) -> bool:
        """Whether a record of this group has to queue here: when anything does."""
        del group
        return self.waiting > 0

    def take(self, record: Record) -> bool:
        """Hold a record, or shed it or an older one; False when it can never be held."""
        weight = record.size + record.header_bytes
        policy = self._policy
        with self._books.lock:
            if weight > self._most_bytes:
                return False
            if not self._oldest and self.waiting >= policy.max_records:
                self._books.shed(record, policy, "limit")
                return True
            self.waiting += 1
            self._queue.append((self._clock(), weight, record))
            self._bytes += weight
            self._books.ledger.offered.add(1, record.size)
            self._books.ledger.held.add(1, record.size)
            if self._oldest:
                self._make_room()
        return True

    def _make_room(self) -> None:
        while len(self._queue) > self._policy.max_records:
            self._drop("max_records")
        while self._bytes > self._most_bytes:
            self._drop("max_bytes")
        self._expire()

    def expire(self) -> None:
        """Shed what is too old, or will be before the next look."""
        if self._max_age is not None and self._queue:
            with self._books.lock:
                self._expire()

    def _expire(self) -> None:
        if self._max_age is None:
            return
        limit = self._clock() - self._max_age + min(_LOOK, 0.1 * self._max_age)
        while self._queue and self._queue[0][0] <= limit:
            self._drop("max_age")

    def oldest_age(self) -> float:
        """Return the age of the oldest record in seconds; 0 when there is none."""
        queue = self._queue
        return self._clock() - queue[0][0] if queue else 0.0

    def _drop(self, reason: str) -> None:
        _, weight, record = self._queue.popleft()
        self.waiting -= 1
        self._bytes -= weight
        self._books.ledger.held.add(-1, -record.size)
        self._books.shed_kept(record, self._policy, reason)

    def clear(self, reason: str) -> None:
        """Shed everything."""
        with self._books.lock:
            while self._queue:
                self._drop(reason)

    # ---- the pump's side

    def next(self, most: int) -> list[tuple[int, Record]]:
        """Return the records whose turn it is; `moved`, `refused` and `put_back` follow."""
        with self._books.lock:
            self._expire()
            queue = self._queue
            self._taken = [queue.popleft() for _ in range(min(most, len(queue)))]
            self._bytes -= sum(weight for _, weight, _ in self._taken)
            return [(-1, record) for _, _, record in self._taken]

    def moved(self, entries: list[tuple[int, Record]]) -> None:
        """Take note that the client has them."""
        size = sum(record.size for _, record in entries)
        with self._books.lock:
            self._let_go(len(entries))
            self._books.ledger.held.add(-len(entries), -size)
            self._books.ledger.handed.add(len(entries), size)

    def refused(self, entry: tuple[int, Record]) -> None:
        """Take note that the client refused one for good."""
        with self._books.lock:
            self._let_go(1)
            self._books.ledger.held.add(-1, -entry[1].size)
            self._books.ledger.refused.add(1, entry[1].size)

    def _let_go(self, count: int) -> None:
        self.waiting -= count
        del self._taken[:count]

    def put_back(self, entries: list[tuple[int, Record]]) -> None:
        """Put them, which are all that are left of the last `next`, back to where they were."""
        with self._books.lock:
            self._bytes += sum(weight for _, weight, _ in self._taken)
            self._queue.extendleft(reversed(self._taken))
            del self._taken[-len(entries) :]
