"""Callers that wait are tasks: nobody works for the others, so the loop itself looks for room, while there is a line."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from kafka_throttle._admission import Admission
from kafka_throttle._aio.line import TaskLine
from kafka_throttle._gates.loop_gate import LIVE
from kafka_throttle.policies import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from kafka_throttle._core.engine import Room

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

    def enter_live(self, topic: Any, value: Any, key: Any) -> Coroutine[Any, Any, None] | None:
        """Return None when a record may be handed over by its caller at once, else what has to be awaited before.

        Raises:
            Rejected: The record's rule refuses it.
        """
        if self.closed or not isinstance(topic, str):
            return None  # the client has the words for it
        rule = self.throttle.rule_for(topic)
        policy, rank, args = rule.policy, self.rank_of(rule), (topic, value, key)
        if isinstance(policy, Block) and self.engine.begun and not self.draining:
            # Even when there is room: a task that sends without a pause has to let the loop have its turn now and then.
            return self.stand(policy, rank, args)
        wait = self.admit(LIVE, args, {})
        return None if wait is None else self.stand(wait.policy, rank, args)

    async def stand(
        self, policy: Block, rank: int, args: tuple[Any, ...], kwargs: Mapping[str, Any] = _NO_KEYWORDS
    ) -> None:
        """Stand in line until there is room; the record has to be handed over before anything else is awaited.

        Args:
            policy: For how long.
            rank: Rank of the record's class of criticality.
            args: Topic, value, key and what else was given of the record.
            kwargs: The same by name.

        Raises:
            Rejected: The policy's patience is at its end, or there is nothing to wait for any more.
        """
        self.gate.close()  # nobody overtakes
        started = self.clock()
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

    def drain(self) -> None:
        """Refuse every record from now on, those that wait included."""
        super().drain()
        self.line.dismiss("draining")

    def close(self) -> None:
        """Take note that the client is closed."""
        super().close()
        self.line.dismiss("closed")
