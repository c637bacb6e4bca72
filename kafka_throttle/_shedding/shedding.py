"""`Shedding`: what the facade sees of the policies that keep, follow or give up records.

A record's way, downwards: `offer` (the caller's thread) tries the client if nobody of its group waits, then the links
of its rule; `pump` (the pump's thread) hands over what waits; `Way.settle` takes the report.
"""

from __future__ import annotations

import random
import threading
import time
import weakref
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException

from kafka_throttle._dead_letter import open_sink
from kafka_throttle._publish import logger
from kafka_throttle._records import call_of, record_of
from kafka_throttle._shedding.at_work import AtWork
from kafka_throttle._shedding.books import Books
from kafka_throttle._shedding.delivery import Delivery
from kafka_throttle._shedding.flushing import Flushing
from kafka_throttle._shedding.handing import Handing
from kafka_throttle._shedding.pump import Pump
from kafka_throttle._shedding.topics import FreeTopics
from kafka_throttle._shedding.way import Way
from kafka_throttle.exceptions import CallbackReentryError, SpoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kafka_throttle._admission import Admission, Wait
    from kafka_throttle._records import Record
    from kafka_throttle._throttle import Rule, Throttle

__all__ = ["Shedding"]

_WAIT = 0.002
# The start of a replay is spread over so many seconds: many processes start at once.
_JITTER = 0.5


class Shedding:
    """The ways of one producer's rules, and its pump.

    Args:
        admission: What decides how much may be in the client.
        throttle: The configuration.
        conf: The client's configuration, for a dead-letter topic on the same cluster.
        default_callback: The callback of the client's configuration.
        begin_pump: Starts what calls `work` again and again.
        draw: A random number from 0 to 1.
        wall: Seconds since the epoch.

    Raises:
        SpoolError: A spool's directory cannot be used.
    """

    def __init__(
        self,
        admission: Admission,
        throttle: Throttle,
        conf: Mapping[str, Any],
        default_callback: Callable[[Any, Any], object] | None,
        begin_pump: Callable[..., Pump] = Pump,
        draw: Callable[[], float] = random.random,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._begin_pump = begin_pump
        self._draw = draw
        self._admission = admission
        self._throttle = throttle
        approvals = {id(rule): rule.loss_approved_by for rule in throttle.rules}
        self.books = Books(
            admission.gate,
            admission.publisher,
            lambda topic: approvals.get(id(throttle.rule_for(topic))),
            default_callback,
            wall,
        )
        self.pump: Pump | None = None
        self._closed = self._ended = False
        self._at_work = AtWork(self._take_late)
        self._ways: dict[int, Way] = {}
        with ExitStack() as undo:
            for rule in throttle.rules:
                if rule.tracked:
                    way = self._ways[id(rule)] = Way(
                        rule,
                        admission.rank_of(rule),
                        self.books,
                        admission.clock,
                        lambda policy: open_sink(policy, conf),
                        self._wake,
                        draw,
                        self._at_work,
                    )
                    undo.callback(way.close)
            undo.pop_all()
        self.ways = list(self._ways.values())
        self._flushing = Flushing(admission, self.ways, self.commit)
        self._topics = FreeTopics(admission, self.ways, self.books.lock)
        for rule in throttle.rules:
            _log_approval(rule)
        self._producer: Callable[[], Any] | None = None
        self._handing = Handing(admission, self.ways, self.books, self.restrict)
        self._figures: dict[str, Any] = {
            "loss_approvals": {
                ", ".join(rule.topics): rule.loss_approved_by
                for rule in throttle.rules
                if rule.loss_approved_by is not None
            }
        }
        self.restrict()

    # ---- the caller's side

    def way_of(self, rule: Rule) -> Way | None:
        """Return the way of a rule, or None when it only waits or refuses."""
        return self._ways.get(id(rule))

    def offer(self, way: Way, producer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Wait | None:
        """Hand a record to the client, or have it taken by a link of its way; else its last policy decides.

        Returns:
            None when that is done; else how the caller has to wait.

        Raises:
            Rejected: The last policy refused it.
        """
        admission = self._admission
        try:
            record = record_of(*args, **kwargs)
        except TypeError:  # arguments that produce() does not have
            record = None
        if record is None or record.size > admission.settings.max_message_bytes:
            admission.gate.forward(producer, *args, **kwargs)  # raises, in the client's words
            return None
        if self._at_work.interrupted:
            self._put_off(way, record, producer)
            return None
        if way.write_ahead is not None:
            admission.refusals.refuse_unpolled(record.topic, args, kwargs)
            if self._at_work(way.write_ahead.take, record):
                self._wake()
                return None
        if way.follows:
            args, kwargs = call_of(record, Delivery(way, record))
        if not (way.always or way.waits(record.group)) and admission.enter(producer, args, kwargs, way.rank):
            self._topics.let_way_pass(way, record.topic)
            return None
        admission.refusals.refuse_unpolled(record.topic, args, kwargs)
        try:
            if self._at_work(self._take, way, record, producer):
                return None
        finally:
            self.books.publish()
        return admission.finish(
            way.end,
            producer,
            record.topic,
            args,
            kwargs,
            way.rank,
            lambda place, least: self._once_more(way, record, producer, args, kwargs, place, least),
        )

    def _take(self, way: Way, record: Record, producer: Any) -> bool:
        try:
            taken = way.take(record)
            if taken:
                self._handing.help(producer, way)
            return taken
        finally:
            self._topics.hold_back(way)

    def _once_more(
        self,
        way: Way,
        record: Record,
        producer: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        place: Any,
        least: int,
    ) -> bool:
        """Try a record whose caller waits: at the client if nobody of its group waits there, else at the keepers."""
        if not (way.always or way.waits(record.group)) and self._admission.try_in_line(
            producer, args, kwargs, place, least
        ):
            return True
        if self._admission.closed:  # the client has the words for it
            return self._admission.try_in_line(producer, args, kwargs, place, least)
        if self._at_work(partial(way.take, again=True), record):
            return True
        self._admission.let_others(producer, place)
        return False

    # ---- signal handlers

    def _put_off(self, way: Way, record: Record, producer: Any) -> None:
        with self.books.lock:
            self.books.ledger.offered.add(1, record.size)
            self.books.ledger.held.add(1, record.size)
        self._at_work.put_off((way, record, producer))

    def _take_late(self, way: Way, record: Record, producer: Any) -> None:
        books = self.books
        with books.lock:
            books.ledger.offered.add(-1, -record.size)
            books.ledger.held.add(-1, -record.size)
        if self._take(way, record, producer):
            return None
        if not way.waits(record.group):
            args, kwargs = call_of(record, Delivery(way, record) if way.follows else record.callback)
            with suppress(BufferError, KafkaException):
                return self._admission.gate.forward(producer, *args, **kwargs)
        with books.lock:  # produce() has returned: the callback is told
            books.ledger.offered.add(1, record.size)
            books.ledger.stranded.add(1, record.size)
        words = "kafka_throttle: no room for a record of a signal handler that interrupted produce()"
        return books.report(record, KafkaError(KafkaError._QUEUE_FULL, words))  # noqa: SLF001 - a public name

    def refuse_interrupted(self, name: str) -> None:
        """Refuse a call from a signal handler that came in the middle of our work.

        Raises:
            CallbackReentryError: This is one.
        """
        if self._at_work.interrupted:
            raise CallbackReentryError(
                f"{name}() was called from a signal handler that interrupted a call of the same producer, which has to end "
                "first: set a flag in the handler, or raise an exception"
            )

    # ---- which topics may pass the gate

    def let_pass(self, topic: str, rank: int) -> None:
        """Let a topic that waits for nothing pass the gate while it is restricted."""
        self._topics.let_pass(topic, rank)

    def restrict(self) -> None:
        """Restrict the gate to topics that are known to be free while a way is not clear; else lift that."""
        self._topics.restrict()

    def hold_back(self, way: Way) -> None:
        """Have every record of a way take the slow path, if something waits there."""
        self._topics.hold_back(way)

    # ---- the pump's side

    def start(self, producer: Any) -> None:
        """Replay what an earlier process has left."""
        self._producer = weakref.ref(producer)
        weakref.finalize(producer, self.forget).atexit = False
        if any(way.waiting for way in self.ways):
            self._handing.wait_until(self._admission.clock() + _JITTER * self._draw())
            self._wake()

    def run_beside_a_loop(self) -> None:
        """Have the pump hold up no event loop."""
        self._handing.courteous = True

    def _wake(self) -> None:
        pump = self.pump
        if pump is None and not self._closed:
            with self.books.lock:
                producer = self._producer() if self._producer is not None else None
                if self.pump is None and producer is not None:
                    self.pump = self._begin_pump(
                        producer, self.work, f"kafka_throttle-{self._admission.settings.client_id}"
                    )
                pump = self.pump
        if pump is not None:
            pump.wake()

    def work(self, producer: Any) -> bool:
        """Do one round of the pump, and wait a moment when there was nothing to move; return whether to go on."""
        admission = self._admission
        if admission.polling.orphaned or self._closed:
            return False
        moved = self.step(producer)
        waiting = any(way.waiting for way in self.ways)
        unreported = any(spooled.out for way in self.ways for spooled in way.spools)
        if not moved and (waiting or unreported):
            admission.polling.serve(producer, 0.0)
            time.sleep(_WAIT)
        return waiting or unreported

    def step(self, producer: Any) -> int:
        """Shed what is too old, hand over what there is room for, and return how many records that were."""
        for way in self.ways:
            way.expire()
            way.tidy()
        self.books.publish()
        return self._handing.step(producer)

    # ---- the rest of the producer's life

    @property
    def kept(self) -> int:
        """Records that are neither in the client nor done."""
        return self._at_work.waiting + sum(way.kept for way in self.ways)

    def commit(self) -> None:
        """Put on disk what waits to be.

        Raises:
            SpoolError: The disk refuses.
        """
        if not self._at_work.interrupted:  # else a signal handler that came in the middle of an append
            for way in self.ways:
                for spooled in way.spools:
                    self._at_work(spooled.commit)

    def flush(self, seconds: float, serve: Callable[[float], int]) -> int:
        """Wait until nothing is kept any more: see `Flushing.flush`."""
        return self._flushing.flush(seconds, serve)

    def flush_to_close(self, serve: Callable[[float], int]) -> int:
        """Wait as flush() does, but not long for what is safe on disk: see `Flushing.flush_to_close`."""
        return self._flushing.flush_to_close(serve)

    def purge(self) -> None:
        """Give up what is held in memory, because the application says so; what is on disk stays."""
        for way in self.ways:
            for held in way.helds:
                self._at_work(held.clear, "purge")
        self.books.publish()

    def stop(self) -> None:
        """End the pump, before the client is closed."""
        self._closed = self._handing.stopped = True
        if self.pump is not None:
            self.pump.join()

    def close(self) -> None:
        """Give up what is held, and give the directories free.

        Raises:
            SpoolError: Something could not be written.
        """
        if self._ended:
            return
        self.stop()
        with suppress(SpoolError):
            self.figures()
        self._ended = True
        errors = []
        for way in self.ways:
            try:
                way.close()
            except Exception as error:  # noqa: BLE001 - the others have to be closed too; the first is raised below
                errors.append(error)
        self.books.publish()
        if errors:
            raise errors[0]

    def forget(self) -> None:
        """Close for a producer that was forgotten: in a thread, as that may come to light in the middle of anything."""
        if not self._ended:
            threading.Thread(target=self._close_forgotten, name="kafka_throttle-forgotten").start()

    def _close_forgotten(self) -> None:
        try:
            self.close()
        except Exception:  # noqa: BLE001 - nobody is left to be told otherwise
            logger.exception("a producer was forgotten without close(), and what it kept could not be closed")

    def orphan(self) -> None:
        """Let go of everything in a forked child: other threads of the parent may have held the locks."""
        self._closed = self._ended = True
        self._handing.orphan()
        self.books.lock = threading.RLock()
        for way in self.ways:
            for spooled in way.spools:
                spooled.orphan()

    def figures(self) -> dict[str, Any]:
        """Bring the ledger up to date, and return what the statistics tell beside it."""
        if not self._ended and not self._at_work.interrupted:
            self._figures = self._at_work(self._look)
        return self._figures

    def _look(self) -> dict[str, Any]:
        spools = [spooled for way in self.ways for spooled in way.spools]
        for way in self.ways:
            way.expire()
        for spooled in spools:
            spooled.post()
        sizes = [spooled.policy.max_bytes for spooled in spools]
        return {
            **self._figures,
            "oldest_held": max((held.oldest_age() for way in self.ways for held in way.helds), default=0.0),
            "oldest_spooled": max((spooled.oldest_age() for spooled in spools), default=0.0),
            "spool_disk_bytes": sum(spooled.spool.disk_bytes for spooled in spools),
            "spool_max_bytes": None if None in sizes else sum(size or 0 for size in sizes),
        }


_logged: set[tuple[tuple[str, ...], str]] = set()


def _log_approval(rule: Rule) -> None:
    """Say who approved that records may be lost: once in the life of the process."""
    if rule.loss_approved_by is None or (rule.topics, rule.loss_approved_by) in _logged:
        return
    _logged.add((rule.topics, rule.loss_approved_by))
    losing = ", ".join(type(link).__name__ for link in rule.links() if link.may_lose)
    logger.info(
        "%s: %s may lose records, approved by %s", ", ".join(rule.topics), losing, rule.loss_approved_by
    )
