"""`UnknownTopics`: tasks whose record is of a topic that aiokafka does not know yet, first come, first served.

aiokafka's send() would have each of them ask and sleep for itself, so that one that came later may find the topic known
and overtake those that sleep. And they would do so behind the gate: a topic that there is not would take up the room of
all the others.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

__all__ = ["UnknownTopics"]


class _Topic:
    """One of them, until everybody who waits for it has had their turn.

    Attributes:
        learning: Asks for its metadata.
        waiting: Those who are to be told.
        present: How many have not had their turn yet.
        known: Whether it is known by now, and only their turn in the loop is missing.
    """

    def __init__(self, learning: asyncio.Task[None]) -> None:
        self.learning = learning
        self.waiting: list[asyncio.Future[None]] = []
        self.present = 0
        self.known = False


class UnknownTopics(dict[str, _Topic]):
    """Has tasks wait for the metadata of their topic; a dict, as each send() asks whether it is empty.

    Args:
        loop: The loop.
        learn: Asks for the metadata of a topic; returns what stands in the way.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, learn: Callable[[str], Awaitable[BaseException | None]]
    ) -> None:
        super().__init__()
        self._loop = loop
        self._learn = learn

    async def wait(self, name: str) -> None:
        """Wait until a topic is known and everybody has gone on who came before.

        Raises:
            Exception: What aiokafka raises for a topic that there is not.
        """
        topic = self.get(name)
        if topic is None:
            topic = self[name] = _Topic(self._loop.create_task(self._ask(name)))
        turn = self._loop.create_future()
        topic.present += 1
        if (
            topic.known
        ):  # others have been told, and go on in the next round: this one in the round after that
            self._loop.call_soon(_tell, turn, None)
        else:
            topic.waiting.append(turn)
        try:
            await turn
        finally:
            topic.present -= 1
            if topic.known and not topic.present:
                self.pop(name, None)

    async def _ask(self, name: str) -> None:
        problem = await self._learn(name)
        topic = self[name]
        if problem is None and topic.present:
            topic.known = True
        else:
            del self[name]
        for turn in topic.waiting:
            _tell(turn, problem)

    def dismiss(self, problem: BaseException) -> None:
        """Tell everybody that there is nothing to wait for."""
        for topic in self.values():
            topic.learning.cancel()
            for turn in topic.waiting:
                _tell(turn, problem)
        self.clear()


def _tell(turn: asyncio.Future[None], problem: BaseException | None) -> None:
    if turn.done():
        return
    if problem is None:
        turn.set_result(None)
    else:
        turn.set_exception(copy.copy(problem))  # each has a traceback of its own
