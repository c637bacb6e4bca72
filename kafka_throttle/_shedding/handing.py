"""`Handing`: moves what waits to the client, within the room that there is."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException

from kafka_throttle._adapters.confluent import is_refusal
from kafka_throttle._publish import logger
from kafka_throttle._records import call_of
from kafka_throttle._shedding.delivery import Delivery
from kafka_throttle._shedding.spooled import Entry, Spooled
from kafka_throttle.exceptions import SpoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kafka_throttle._admission import Admission
    from kafka_throttle._shedding.books import Books
    from kafka_throttle._shedding.held import Held
    from kafka_throttle._shedding.way import Way

__all__ = ["Handing"]

# Records that were admitted so long ago, in seconds, are the application's present ones.
_RECENTLY = 0.25
# Records that are taken from a keeper at once.
_PORTION = 256
# A caller does the pump's work this often at most, in seconds.
_HELP = 0.0002
# A disk that cannot be read is left alone for so many seconds.
_TROUBLE = 1.0
# A pump beside an event loop rests for so many seconds after so many records, and reads no more at once: the loop's thread
# has to take the GIL for each report that it is told of, and whoever has it gives it away after 5 ms unless it sleeps.
_REST = 5e-5
_BEFORE_REST = 16


class Handing:
    """Hands over what waits, portion by portion; one thread at a time.

    Args:
        admission: Says how much room there is.
        ways: The ways of the producer's rules.
        books: The ledger and the reports.
        restrict: Lifts the restriction of the gate, when nothing waits any more.

    Attributes:
        stopped: Whether the producer is being closed.
        courteous: Whether the pump runs beside an event loop, which it must not hold up.
    """

    def __init__(
        self, admission: Admission, ways: Sequence[Way], books: Books, restrict: Callable[[], None]
    ) -> None:
        self._admission = admission
        self._ways = ways
        self._books = books
        self._restrict = restrict
        self._pumping = threading.Lock()
        self._not_before = self._help_at = 0.0
        self._others_at = -_RECENTLY
        self._turn = self._ticket = 0
        self._troubled: dict[Way, float] = {}
        self.stopped = self.courteous = False

    def wait_until(self, at: float) -> None:
        """Hand over nothing before a moment of the clock."""
        self._not_before = at

    def orphan(self) -> None:
        """Renew the lock in a forked child."""
        self._pumping = threading.Lock()

    def step(self, producer: Any) -> int:
        """Hand over what there is room for, and return how many records that were."""
        waiting = [way for way in self._ways if way.waiting]
        if not waiting:
            self._restrict()
            return 0
        now = self._admission.clock()
        if now < self._not_before:
            return 0
        ready = [way for way in waiting if now >= self._troubled.get(way, 0.0)]
        with self._pumping:
            return self._hand_over(producer, ready, rests=self.courteous) if ready else 0

    def help(self, producer: Any, way: Way) -> None:
        """Do the pump's work now and then: a thread that produces without a pause leaves the pump little time."""
        now = self._admission.clock()
        if self.stopped or not way.helds or now < self._help_at or not self._pumping.acquire(blocking=False):
            return
        try:
            self._help_at = now + _HELP
            self._hand_over(producer, [way])
        finally:
            self._pumping.release()

    def _hand_over(self, producer: Any, waiting: list[Way], *, rests: bool = False) -> int:
        """Hand over a portion of what waits, of each way in turn; return how many records that were."""
        admission = self._admission
        self._turn += 1
        turn = self._turn % len(waiting)
        now, ticket = admission.clock(), admission.gate.ticket
        if ticket != self._ticket:
            self._others_at = now
        others = now - self._others_at < _RECENTLY
        moved = 0
        for way in sorted(waiting[turn:] + waiting[:turn], key=_rank_of):
            room = admission.look(producer, rank=way.rank)
            records = room.records
            if others and way.spools:  # a record that comes now must not find the client full of old ones
                records = min(records, int(way.share * admission.engine.limit_records) - way.out)
            moved += self._move(producer, way, records, room.bytes, rests=rests)
        self._ticket = ticket + moved
        return moved

    def _move(self, producer: Any, way: Way, records: int, size: int, *, rests: bool) -> int:
        """Hand over as many records of a way, within so many bytes; return how many that were."""
        moved = 0
        for keeper in way.keepers:
            while moved < records and size > 0:
                try:
                    entries = keeper.next(min(records - moved, _BEFORE_REST if rests else _PORTION))
                except SpoolError as error:
                    logger.warning("%s: tried again in %.0f s", error, _TROUBLE)
                    self._troubled[way] = self._admission.clock() + _TROUBLE
                    return moved
                handed = self._hand(producer, way, keeper, entries, size)
                moved += handed
                size -= sum(record.size for _, record in entries[:handed])
                if rests:
                    time.sleep(_REST)
                if handed < len(entries) or not entries:
                    break
            if keeper.waiting:
                break
        return moved

    def _hand(self, producer: Any, way: Way, keeper: Spooled | Held, entries: list[Entry], size: int) -> int:
        """Hand a portion to the client, put back what it does not take, and return how many are gone."""
        forward = self._admission.gate.forward
        spool = keeper if isinstance(keeper, Spooled) else None
        gone = first = 0
        try:
            for sequence, record in entries:
                if size <= 0:
                    break
                args, kwargs = call_of(record, Delivery(way, record, sequence, spool))
                try:
                    forward(producer, *args, **kwargs)
                except (KafkaException, TypeError, ValueError, OverflowError) as error:
                    if not is_refusal(error):
                        raise
                    keeper.moved(entries[first:gone])
                    keeper.refused(entries[gone])
                    first = gone + 1
                    self._books.report(record, _kafka_error(error))
                gone += 1
                size -= record.size
        except BufferError:
            pass  # the client holds reports that nobody has polled for
        finally:
            keeper.moved(entries[first:gone])
            if gone < len(entries):
                keeper.put_back(entries[gone:])
        return gone


def _rank_of(way: Way) -> int:
    return way.rank


def _kafka_error(error: Exception) -> KafkaError:
    if isinstance(error, KafkaException):
        return error.args[0]  # type: ignore[no-any-return]
    return KafkaError(KafkaError._INVALID_ARG, f"kafka_throttle: the client refuses the record: {error}")  # noqa: SLF001
