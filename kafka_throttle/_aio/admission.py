"""Callers that wait are tasks: nobody works for the others, so the loop itself looks for room, while there is a line.

What a record has to wait for is a coroutine, for its caller to await.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from kafka_throttle._admission import Admission
from kafka_throttle._aio.keeper import Keeper
from kafka_throttle._aio.line import TaskLine
from kafka_throttle._gates.loop_gate import LIVE
from kafka_throttle.policies import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from kafka_throttle._admission import Wait
    from kafka_throttle._core.engine import Room
    from kafka_throttle._shedding.delivery import Delivery
    from kafka_throttle._shedding.shedding import Shedding
    from kafka_throttle._shedding.way import Way

__all__ = ["TaskAdmission"]

# How often the loop looks for room, in seconds, when no report makes it look: time alone makes room under a quota.
_TICK = 0.002
_NO_KEYWORDS: Mapping[str, Any] = {}


class _ThrottleEvent(NamedTuple):
    throttle_time: float


class TaskAdmission(Admission):
    """The admission of a producer whose callers are tasks of one loop.

    Args:
        loop: The loop.
        *args: As for `Admission`.
        **kwargs: As for `Admission`.

    Attributes:
        crowded: Whether the client has work enough for a moment, so that it is better left to it than given more.
        keeper: Does what may wait for the disk; None while no rule keeps or follows records.
    """

    line: TaskLine

    def __init__(self, loop: asyncio.AbstractEventLoop, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, make_line=lambda: TaskLine(self.wake), **kwargs)
        self._loop = loop
        self.crowded: Callable[[], bool] = bool
        self._soon = False
        self._ticking = False
        self._spare: tuple[int, int] | None = None
        self._full_until = 0.0
        self.keeper: Keeper | None = None

    def keep(self, shedding: Shedding) -> None:
        """Take what keeps, follows or gives up records; what may wait for the disk is done in a thread from now on."""
        self.shedding = shedding
        self.keeper = Keeper(shedding, self._loop, f"kafka_throttle-{self.settings.client_id}-disk")
        shedding.run_beside_a_loop()
        for way in shedding.ways:
            way.elsewhere = self._settle_elsewhere

    def _settle_elsewhere(self, delivery: Delivery, error: Any, message: Any) -> None:
        # The queue settles it, and wakes the loop.
        cast("Keeper", self.keeper).submit(self.gate.deferred.append, (delivery, error, message))

    # ---- the way of a record

    def at_edge(self, producer: Any, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, None] | None:
        """Have a record admitted; return None when that is done, else what its caller has to await.

        Raises:
            Rejected: The rule refuses the record.
        """
        way = self.way_of(args[0] if args else kwargs.get("topic"))
        if way is not None:
            return self.offer(way, producer, args, kwargs)
        wait = self.admit(producer, args, kwargs)
        return None if wait is None else self._stand_and_go(wait)

    def way_of(self, topic: object) -> Way | None:
        """Return the way of a topic's rule, or None when that only waits or refuses."""
        if self.shedding is None or not isinstance(topic, str) or self.closed:
            return None
        return self.shedding.way_of(self.throttle.rule_for(topic))

    def resolves_late(self, topic: object) -> bool:
        """Return whether the future of a record of this topic waits for its delivery when the record is on disk."""
        way = self.way_of(topic)
        return way is not None and way.resolves_late

    async def offer(self, way: Way, producer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Have a record taken by the client or by a link of its way, and wait for that as its rule says.

        Raises:
            Rejected: The rule refuses the record, or its patience is at its end.
        """
        self.refuse_draining(args, kwargs)
        keeper = cast("Keeper", self.keeper)
        wait = await keeper.offer(way, producer, args, kwargs)
        if wait is None:
            return
        if wait.attempt is not None:
            await keeper.persist(self, way, wait)
        else:
            await self._stand_and_go(wait)

    async def _stand_and_go(self, wait: Wait) -> None:
        """Stand in line until there is room, and hand the record over."""
        since = self.clock()
        while True:
            await self.stand(wait.policy, wait.rank, wait.args, wait.kwargs, since)
            try:
                self.gate.forward(wait.producer, *wait.args, **wait.kwargs)
            except (
                BufferError
            ):  # the client has reports that were not served yet: back to its place in the line
                continue
            return

    def refuse_draining(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refuse a record after drain().

        Raises:
            Rejected: It was called.
        """
        if self.draining:
            self.refuse(args[0], args, kwargs, "draining")

    def note_throttle_time(self, seconds: float) -> None:
        """Take the time for which a broker holds the client back."""
        self.note_broker_throttle(_ThrottleEvent(seconds))

    def enter_live(
        self, topic: Any, value: Any, key: Any, *, yields: bool = False
    ) -> Coroutine[Any, Any, None] | None:
        """Return None when a record may be handed over by its caller at once, else what has to be awaited before.

        Args:
            topic: The record's topic.
            value: Its value.
            key: Its key.
            yields: Whether the loop has its turn anyhow, when the record is handed over.

        Raises:
            Rejected: The record's rule refuses it.
        """
        if self.closed or not isinstance(topic, str):
            return None  # the client has the words for it
        self.polling.refuse_orphan()
        rule = self.throttle.rule_for(topic)
        policy, rank, args = rule.policy, self.rank_of(rule), (topic, value, key)
        if isinstance(policy, Block) and self.engine.begun and not self.draining:
            if self.shedding is not None:
                self.shedding.let_pass(topic, rank)
            # Even when there is room: a task that sends without a pause has to let the loop have its turn now and then.
            if not yields or self.line.holds_back(rank) or self.clock() < self._full_until:
                return self.stand(policy, rank, args)
        wait = self.admit(LIVE, args, {})
        return None if wait is None else self.stand(wait.policy, rank, args)

    async def stand(
        self,
        policy: Block,
        rank: int,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] = _NO_KEYWORDS,
        since: float | None = None,
    ) -> None:
        """Stand in line until there is room; the record has to be handed over before anything else is awaited.

        Args:
            policy: For how long.
            rank: Rank of the record's class of criticality.
            args: Topic, value, key and what else was given of the record.
            kwargs: The same by name.
            since: Since when it waits, in seconds of the clock; None: from now on.

        Raises:
            Rejected: The policy's patience is at its end, or there is nothing to wait for any more.
        """
        self.gate.close()  # nobody overtakes
        started = self.clock() if since is None else since
        future = self._loop.create_future()
        self.line.join(future, started, policy.timeout, rank)
        if started >= self._full_until:
            self._tend_in_turn()
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(_TICK, self._tick)
        try:
            reason = await future
        except asyncio.CancelledError:
            if self.line.leave(future):
                self.tend_soon()
            raise
        if reason:
            self.refuse(args[0], args, dict(kwargs), reason, policy, self.clock() - started)
        self.line.enter()
        if self._spare is not None and not len(self.line):
            # The last of the line lets others follow; whoever came before its turn in the loop had to stand behind it.
            self.gate.open(*self._spare, self.engine.path.record_bytes)
            self._spare = None

    def look(self, producer: Any, size: int = 0, rank: int = 0) -> Room:
        """Ask the engine for room, and remember for a moment when there is none."""
        room = super().look(producer, size, rank)
        if room.records < 1:
            self._full_until = self.clock() + _TICK
        return room

    def tend_soon(self) -> None:
        """Look for room in the next round of the loop: some may have become free."""
        self._full_until = 0.0
        if self.line.waiting:
            self._tend_in_turn()

    def _tend_in_turn(self) -> None:
        if not self._soon:
            self._soon = True
            self._loop.call_soon(self._tend)

    def wake(self) -> None:
        """Do the same from any thread."""
        if not self._soon:
            self._loop.call_soon_threadsafe(self.tend_soon)

    def _tick(self) -> None:
        line, now = self.line, self.clock()
        line.expire(now)
        if now >= self._full_until:
            self._look_for_room()  # even when the client is crowded: perhaps only one partition is stuck
        self._ticking = len(line) > 0
        if self._ticking:
            self._loop.call_later(_TICK, self._tick)

    def _tend(self) -> None:
        self._soon = False
        if not self.crowded():
            self._look_for_room()

    def _look_for_room(self) -> None:
        line = self.line
        if line.waiting:
            rank = line.first_rank
            room = self.look(None, rank=rank)
            spare = room.records - line.granted
            spare -= line.grant(spare, rank=rank)
            alone = spare > 0 and not line.waiting
            self._spare = (spare, room.bytes * spare // room.records) if alone else None

    @property
    def waiting(self) -> int:
        """Callers that wait."""
        return len(self.line) + self._waiting_for_disk

    @property
    def _waiting_for_disk(self) -> int:
        return 0 if self.keeper is None else self.keeper.waiting

    def passed(self, moment: float) -> bool:
        """Return whether nobody waits any more who had come by then."""
        return self.line.passed(moment) and not self._waiting_for_disk

    def drain(self) -> None:
        """Refuse every record from now on, those that wait included."""
        super().drain()
        self.line.dismiss("draining")

    async def told(self) -> None:
        """Wait until everything is told that was reported."""
        if self.keeper is not None:
            await self.keeper.run(_do_nothing)  # what failed is settled there
        while self.gate.deferred:
            await asyncio.sleep(0)

    async def leave(self) -> None:
        """Have nothing stand between a caller and the client any more, before that is closed."""
        self.line.dismiss("closed")
        self.drain()
        if self.keeper is not None:
            await self.keeper.run(_do_nothing)  # what was on its way to the disk is there then

    def close(self) -> None:
        """Take note that the client is closed."""
        super().close()
        self.line.dismiss("closed")


def _do_nothing() -> None:
    """Stand for the end of what was submitted before."""
