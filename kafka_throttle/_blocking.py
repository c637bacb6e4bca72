"""Callers that wait are threads: the first of the line works (polls, looks for room), the others sleep.

A produce() from inside a callback never polls and never waits: see `Polling`.
"""

from __future__ import annotations

from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any

from kafka_throttle._admission import TRICKLE, Admission
from kafka_throttle._core.engine import Room
from kafka_throttle._turnstile import Turnstile
from kafka_throttle.policies import Block

if TYPE_CHECKING:
    from kafka_throttle._admission import Wait

__all__ = ["BlockingAdmission"]

# A waiting thread looks again this often, in seconds, even when no report wakes it: another thread's poll may have
# served the report, and signals (Ctrl-C) are seen in between.
_SLICE = 0.005
_NO_ROOM = Room(0, 0)


class BlockingAdmission(Admission):
    """The admission of a producer whose produce() blocks; the arguments are those of `Admission` but the line."""

    line: Turnstile

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, make_line=Turnstile, **kwargs)
        self._in_line: set[int] = set()

    def at_edge(self, producer: Any, *args: Any, **kwargs: Any) -> None:
        """Have a record admitted, and wait for that as its rule says.

        Raises:
            Rejected: The rule refuses the record, or its patience is at its end.
        """
        wait = self.admit(producer, args, kwargs)
        if wait is not None:
            self._wait(wait)

    def cannot_wait(self) -> bool:
        """Return whether this is a callback, or a signal handler that came in the client's poll or in a wait of ours."""
        return self.gate.in_client or get_ident() in self._in_line

    def _wait(self, wait: Wait) -> None:
        """Wait in line until there is room or the time is up."""
        policy, producer, topic, args, kwargs, rank, attempt = wait
        trying = partial(self.try_in_line, producer, args, kwargs) if attempt is None else attempt
        reason = "deadline"
        worthwhile = self.worthwhile(policy)
        self.gate.close()  # nobody overtakes
        started = self.clock()
        deadline = started + policy.timeout
        self._in_line.add(get_ident())
        place = self.line.join(grantable=attempt is None, rank=rank)
        try:
            while True:
                left = deadline - self.clock()
                called = place.wait(max(0.0, min(left, _SLICE * 10)))
                least = worthwhile if self.clock() - started < TRICKLE else 1
                if self.draining:
                    reason = "draining"
                    break
                if called and trying(place, least):
                    return
                if left <= 0:
                    break
                self.refusals.refuse_unpolled(topic, args, kwargs, self.clock() - started)
                if place.granted:  # the client had no room for what was granted: back into the line
                    place = self.line.join(rank=rank)
                elif called:
                    self.polling.serve(producer, min(left, _SLICE))
        finally:
            self.line.leave(place)
            self._in_line.discard(get_ident())
        self.refuse(topic, args, kwargs, reason, policy, self.clock() - started)

    def reserve(self, producer: Any, topic: str, wanted: int, size: int) -> int:
        """Return how many records of a batch may go to the client now; 0 when the rule's patience is at its end."""
        self.polling.refuse_orphan()
        if self.closed or not self.throttle.enabled or self.cannot_wait():
            return wanted
        if self.draining:
            return 0
        rule = self.throttle.rule_for(topic)
        policy, rank = rule.policy, self.rank_of(rule)
        deadline = self.clock() + (policy.timeout if isinstance(policy, Block) else 0.0)
        self._in_line.add(get_ident())
        place = self.line.join(rank=rank)
        try:
            while True:
                left = deadline - self.clock()
                first = place.wait(max(0.0, min(left, _SLICE * 10)))
                if place.granted:
                    return 1
                room = self.look(producer, size, rank) if first else _NO_ROOM
                if room.records >= 1:
                    return min(wanted, max(1, min(room.records, room.bytes // max(1, size))))
                if left <= 0 or self.closed:
                    return 0
                if first:
                    self.polling.serve(producer, min(left, _SLICE))
        finally:
            self.line.leave(place)
            self._in_line.discard(get_ident())
