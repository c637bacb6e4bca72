"""`Way`: what one rule does with the records that cannot go straight to the client."""

from __future__ import annotations

import random
import zlib
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from kafka_throttle._adapters.confluent import is_unknown, may_pass
from kafka_throttle._shedding.held import Held
from kafka_throttle._shedding.letters import Letters
from kafka_throttle._shedding.spooled import Spooled
from kafka_throttle.policies import DropNewest, DropOldest, Sample, Spill
from kafka_throttle.policies._base import chain_of
from kafka_throttle.policies.dead_letter import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from kafka_throttle._dead_letter import Sink
    from kafka_throttle._records import Record
    from kafka_throttle._shedding.books import Books
    from kafka_throttle._shedding.delivery import Delivery
    from kafka_throttle._throttle import Rule
    from kafka_throttle.policies import Policy

__all__ = ["Way"]

_SCALE = 1 << 32
_Link = TypeVar("_Link")


class Sampled:
    """Sheds a share of the records; what is kept goes on."""

    def __init__(self, policy: Sample, books: Books, draw: Callable[[], float]) -> None:
        self._policy = policy
        self._books = books
        self._draw = draw

    def take(self, record: Record) -> bool:
        """Shed the record, or return False when it is one of those that are kept."""
        if self._policy.by == "key" and record.key is not None:
            drawn = zlib.crc32(record.key) / _SCALE
        else:
            drawn = self._draw()
        if drawn < self._policy.rate:
            return False
        self._books.shed(record, self._policy, "sampled")
        return True


def _call(work: Callable[..., bool], *args: Any) -> bool:
    return work(*args)


class Way:
    """The links of one rule, and where its records are.

    Args:
        rule: The rule.
        rank: Rank of its class of criticality, 0 for the most important one that there is.
        books: The ledger and the reports.
        clock: Monotonic seconds.
        open_sink: Opens the sink of a dead-letter policy.
        wake: Called when there is something for the pump.
        draw: A random number from 0 to 1.
        at_work: Calls what takes locks, so that a signal handler does not meet them.

    Attributes:
        end: The policy that decides when no link takes a record; None when one always does.
        always: Whether every record goes to disk first.
        write_ahead: The spool that every record goes to before anything else is asked; None when there is none.
        follows: Whether failed deliveries are taken care of.
        passing: Topics that may pass the gate while nothing waits.
        coming: Records that are about to be offered, in another thread.
        resolves_late: Whether the future of a record on disk waits for its delivery.
        elsewhere: Takes (delivery, error, message) of a failed record to where what it means for the disk can be done; None:
            that is done where the report comes.
    """

    def __init__(
        self,
        rule: Rule,
        rank: int,
        books: Books,
        clock: Callable[[], float],
        open_sink: Callable[[DeadLetter], Sink],
        wake: Callable[[], None],
        draw: Callable[[], float] = random.random,
        at_work: Callable[..., bool] = _call,
    ) -> None:
        self.rule = rule
        self.rank = rank
        self.books = books
        self.default_callback = books.default_callback
        self._clock = clock
        self._open_sink = open_sink
        self._wake = wake
        self._draw = draw
        self._at_work = at_work
        self.spools: list[Spooled] = []
        self.helds: list[Held] = []
        self.letters: list[Letters] = []
        self.end: Policy | None = None
        self.links: list[Any] = []
        self.failure_links: list[Any] = []
        with ExitStack() as undo:
            undo.callback(self.close)
            self.links = self._links_of(rule.policy)
            if rule.on_failure is not None:
                self.failure_links = self._links_of(rule.on_failure)
            undo.pop_all()
        self.always = any(spooled.policy.when == "always" for spooled in self.spools)
        first = self.links[0] if self.links else None
        self.write_ahead: Spooled | None = first if self.always and isinstance(first, Spooled) else None
        self.follows = rule.on_failure is not None
        self.keepers: list[Spooled | Held] = [*self.spools, *self.helds]
        self.passing: set[str] = set()
        self.coming = 0
        self.elsewhere: Callable[[Delivery, Any, Any], None] | None = None
        self.resolves_late = any(spooled.policy.resolve == "delivery" for spooled in self.spools)

    def _links_of(self, policy: Policy) -> list[Any]:
        links: list[Any] = []
        for link in chain_of(policy):
            if isinstance(link, Sample):
                links.append(Sampled(link, self.books, self._draw))
            elif isinstance(link, (DropOldest, DropNewest)):
                links.append(self._added(self.helds, Held(link, self.books, self._clock)))
            elif isinstance(link, Spill):
                links.append(self._spool_of(link))
            elif isinstance(link, DeadLetter):
                links.append(self._added(self.letters, Letters(link, self._open_sink(link), self)))
            elif policy is self.rule.policy:
                self.end = link
        return links

    def _spool_of(self, policy: Spill) -> Spooled:
        for spooled in self.spools:
            if spooled.policy.directory == policy.directory:
                return spooled
        return self._added(self.spools, Spooled(policy, self.books))

    @staticmethod
    def _added(links: list[_Link], link: _Link) -> _Link:
        links.append(link)
        return link

    # ---- in

    def waits(self, group: Hashable) -> bool:
        """Whether records of this group wait, so that a new one has to queue behind them."""
        return any(keeper.waits(group) for keeper in self.keepers)

    def take(self, record: Record, *, again: bool = False) -> bool:
        """Have the record taken by the first link that can.

        Args:
            record: The record.
            again: Whether it has been tried before, so that it is not sampled once more.

        Returns:
            Whether one did; if not, `end` decides.
        """
        for link in self._open_to(record.group):
            if again and not isinstance(link, (Spooled, Held)):
                continue
            if link.take(record):
                if isinstance(link, (Spooled, Held)):
                    self._wake()
                return True
        return False

    def _open_to(self, group: Hashable) -> list[Any]:
        """Return the links without the keepers before the last one that has records of the group: it queues there."""
        links = self.links
        for place in range(len(links) - 1, 0, -1):
            link = links[place]
            if isinstance(link, (Spooled, Held)) and link.waits(group):
                return [
                    other
                    for before, other in enumerate(links)
                    if before >= place or not isinstance(other, (Spooled, Held))
                ]
        return links

    # ---- out

    @property
    def waiting(self) -> int:
        """Records that wait for the client."""
        return sum(keeper.waiting for keeper in self.keepers)

    @property
    def kept(self) -> int:
        """Records that are not done: waiting for the client, or for the dead letters."""
        return self.waiting + sum(letters.pending for letters in self.letters)

    @property
    def clear(self) -> bool:
        """Whether its topics may pass the gate."""
        return not (self.always or self.follows or self.waiting or self.coming)

    @property
    def may_wait(self) -> bool:
        """Whether `take` may have to wait for the disk."""
        return any(spooled.may_wait for spooled in self.spools) or any(
            letters.policy.file is not None for letters in self.letters
        )

    @property
    def out(self) -> int:
        """Records from the disk that the client has."""
        return sum(spooled.out for spooled in self.spools)

    @property
    def share(self) -> float:
        """Share of the room that what waits here may take while other records come."""
        return max((spooled.policy.share for spooled in self.spools), default=1.0)

    def expire(self) -> None:
        """Shed what is too old."""
        for keeper in self.keepers:
            keeper.expire()

    def settle(self, delivery: Delivery, error: Any) -> bool:
        """Take note of a record's outcome; return whether its callback is to be told now."""
        spool: Spooled | None = delivery.spool
        if error is None:
            if spool is not None:
                spool.done(delivery.sequence)
            return True
        return self._at_work(self._settle_failed, delivery, error)

    def _settle_failed(self, delivery: Delivery, error: Any) -> bool:
        spool: Spooled | None = delivery.spool
        record = delivery.record
        passes = may_pass(error)
        if spool is not None and passes:
            self._retake(record, error)
            spool.failed(delivery.sequence, record)
            self._wake()
            return False
        told = not self._fail(record, error, passes=passes)
        if spool is not None:
            spool.done(delivery.sequence)
        return told

    def _fail(self, record: Record, error: Any, *, passes: bool) -> bool:
        """Apply the rule's policy for failed deliveries; return whether the record goes on, so that nothing is told yet."""
        record = record._replace(attempts=record.attempts + 1)
        for link in self.failure_links:
            if isinstance(link, Spooled):
                # What the broker refuses for good is never sent again; a record that timed out may have been written.
                if passes and link.take(record, offered=False):
                    self._retake(record, error)
                    self._wake()
                    return True
            elif isinstance(link, Letters) and link.take(record, reason=error.name(), error=error):
                self._retake(record, error)
                return False
        return False

    def _retake(self, record: Record, error: Any) -> None:
        ledger = self.books.ledger
        with self.books.lock:
            retaken = ledger.retaken_unknown if is_unknown(error) else ledger.retaken_failed
            retaken.add(1, record.size)

    def fall_through(self, letters: Letters, record: Record, error: Any, problem: BaseException) -> None:
        """Find another place for a record whose letter could not be written, long after produce() has returned.

        Args:
            letters: Who could not write it.
            record: The record.
            error: The error of its delivery, of which its callback has been told; None: it was never sent.
            problem: Why it could not be written.
        """
        ledger = self.books.ledger
        if error is None:
            later = self.links[self.links.index(letters) + 1 :]
            with self.books.lock:
                ledger.offered.add(-1, -record.size)
            if any(link.take(record) for link in later):
                self._wake()
                return
            with self.books.lock:
                ledger.offered.add(1, record.size)
                self.books.strand(record, f"no room, and the dead letter could not be written: {problem}")
            return
        with self.books.lock:
            ledger.stranded.add(1, record.size)

    def tidy(self) -> None:
        """Acknowledge what was delivered."""
        for spooled in self.spools:
            spooled.tidy()

    def close(self) -> None:
        """Give up what is held, as the producer closes, and leave what is on disk for the next one."""
        for held in self.helds:
            held.clear("closed")
        errors = []
        closings: list[Letters | Spooled] = [*self.letters, *self.spools]
        for closing in closings:
            try:
                closing.close()
            except Exception as error:  # noqa: BLE001 - the others have to be closed too; the first is raised below
                errors.append(error)
        if errors:
            raise errors[0]
