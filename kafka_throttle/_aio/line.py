"""`TaskLine`: first come, first served for tasks that wait for room, a hundred thousand of them if need be.

A task stands in the line with a future, and does nothing until that is resolved: by a grant, or because its time is up.
There is one lane for each rank and patience, so that within a lane both the arrivals and the deadlines ascend: to grant
and to expire is to look at the first ones, whatever the length. Who leaves early is not searched for: a future that is
done is passed over when its turn comes, and swept out when such are the most.
"""

from __future__ import annotations

from collections import deque
from threading import get_ident
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import TypeAlias

__all__ = ["Reason", "TaskLine"]

Reason = Literal["", "deadline", "draining", "closed"]
"""Why a task does not wait any more; empty: it was granted room."""

_ANY = 1 << 30
_SWEEP = 64

_Standing: TypeAlias = "tuple[float, asyncio.Future[Reason]]"
# Since when, in seconds of the clock, and what is resolved when the wait is over.


class TaskLine:
    """A line of waiting tasks of one event loop; only that loop's thread may call it, but for `grant`.

    Who joins has to `leave` when its future was cancelled, and to `enter` when it was granted room and has used it:
    until then it counts as one of the line, so that nobody overtakes it between the grant and its turn in the loop.

    Attributes:
        last: When the last one came, in seconds of the clock.

    Args:
        wake: Has the loop look for room, when another thread has found some.
    """

    __slots__ = ("_granted", "_ident", "_lanes", "_standing", "_waiting", "_wake", "last")

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._ident = 0
        self._lanes: dict[tuple[int, float], deque[_Standing]] = {}
        self._waiting = self._granted = self._standing = 0
        self.last = 0.0

    def __len__(self) -> int:
        return self._waiting + self._granted

    @property
    def waiting(self) -> int:
        """Tasks that have not been granted room yet."""
        return self._waiting

    @property
    def granted(self) -> int:
        """Tasks that were granted room and have not used it yet."""
        return self._granted

    def join(self, future: asyncio.Future[Reason], now: float, timeout: float, rank: int = 0) -> None:
        """Stand behind those of the same rank, before those of higher ones.

        Args:
            future: Resolved with the reason when the wait is over.
            now: Since when it waits, in seconds of the monotonic clock: now, unless it had its turn before, in vain.
            timeout: Longest wait in seconds.
            rank: Rank of the record's class of criticality, 0 for the most important.
        """
        lane = self._lanes.get((rank, timeout))
        if lane is None:
            lane = self._lanes[rank, timeout] = deque()
        self._ident = get_ident()  # a loop may be made in one thread and run in another
        if now >= self.last:
            self.last = now
            lane.append((now, future))
        else:
            lane.insert(
                next((at for at, (since, _) in enumerate(lane) if since > now), len(lane)), (now, future)
            )
        self._waiting += 1
        self._standing += 1
        if self._standing > 2 * self._waiting + _SWEEP:
            self._sweep()

    def leave(self, future: asyncio.Future[Reason]) -> bool:
        """Leave the line, as the task was cancelled; return whether it gives back room that it was granted."""
        if future.done() and not future.cancelled():
            if future.result():
                return False  # it had been told that its time is up
            self._granted -= 1
            return True
        self._waiting -= 1
        return False

    def enter(self) -> None:
        """Take note that a task uses the room that it was granted."""
        self._granted -= 1

    def passed(self, moment: float) -> bool:
        """Return whether everybody who had come by then has had their turn."""
        return not self._granted and all(lane[0][0] > moment for lane in self._lanes.values() if lane)

    @property
    def first_rank(self) -> int:
        """The rank of the one who goes first; 0 when nobody waits."""
        return min((at for (at, _), lane in self._lanes.items() if lane), default=0)

    def holds_back(self, rank: int) -> bool:
        """Return whether somebody waits whom a record of this rank must not overtake."""
        if self._granted:
            return True
        return self._waiting > 0 and any(lane and at <= rank for (at, _), lane in self._lanes.items())

    def alone(self, place: object) -> bool:
        """Return whether nobody waits; who asks stands elsewhere."""
        del place
        return not len(self)

    def grant(self, most: int, *, after: object = None, rank: int = _ANY) -> int:
        """Let the first ones of the line go, each with one record.

        Args:
            most: How many at most.
            after: For the sake of the protocol.
            rank: The highest rank of those who are let go.

        Returns:
            How many were let go.
        """
        del after
        if get_ident() != self._ident:
            self._wake()
            return 0
        count = 0
        while count < most:
            lane = self._first_lane(rank)
            if lane is None:
                break
            alone = len(self._lanes) == 1
            while lane and count < most:
                if self._resolve(lane.popleft()[1], ""):
                    self._granted += 1
                    count += 1
                if not alone:  # those of the same rank with another patience may have come in between
                    break
        return count

    def _first_lane(self, rank: int) -> deque[_Standing] | None:
        first: tuple[int, float] | None = None
        found = None
        for (at, _), lane in self._lanes.items():
            if lane and at <= rank and (first is None or (at, lane[0][0]) < first):
                first, found = (at, lane[0][0]), lane
        return found

    def _resolve(self, future: asyncio.Future[Reason], reason: Reason) -> bool:
        """Tell a task that its wait is over; False when it has left."""
        self._standing -= 1
        if future.done():
            return False
        self._waiting -= 1
        future.set_result(reason)
        return True

    def expire(self, now: float) -> None:
        """Tell those whose time is up."""
        for (_, timeout), lane in self._lanes.items():
            while lane and (lane[0][0] + timeout <= now or lane[0][1].done()):
                self._resolve(lane.popleft()[1], "deadline")

    def dismiss(self, reason: Reason) -> None:
        """Tell all that there is nothing to wait for."""
        for lane in self._lanes.values():
            while lane:
                self._resolve(lane.popleft()[1], reason)

    def _sweep(self) -> None:
        """Forget those who have left, and lanes that nobody uses."""
        for key, lane in list(self._lanes.items()):
            kept = deque(standing for standing in lane if not standing[1].done())
            if kept:
                self._lanes[key] = kept
            else:
                del self._lanes[key]
        self._standing = sum(map(len, self._lanes.values()))
