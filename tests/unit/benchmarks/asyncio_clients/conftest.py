"""A client whose fate a test decides."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, field

from benchmarks.asyncio_clients.clients import KINDS, Client

if TYPE_CHECKING:
    from collections.abc import Callable


@define
class ScriptedProducer:
    """A producer that admits each record when the loop comes round again, and gives it the next outcome.

    Attributes:
        outcome: Returns what becomes of a record, or raises it; a future of None is left pending.
        open: Set while records are admitted.
        submitted: Records that were taken.
        abandoned: Whether purge() was called.
    """

    outcome: Callable[[int], Any] = lambda number: f"record {number}"
    open: asyncio.Event = field(factory=asyncio.Event)
    submitted: int = 0
    abandoned: bool = False

    async def produce(self, topic: str, value: bytes) -> asyncio.Future[Any]:
        await self.open.wait()
        self.submitted += 1
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(self._resolve, future, self.submitted)
        return future

    def _resolve(self, future: asyncio.Future[Any], number: int) -> None:
        result = self.outcome(number)
        if isinstance(result, Exception):
            future.set_exception(result)
        elif result is not None:
            future.set_result(result)

    async def flush(self) -> None:
        await asyncio.sleep(0)

    async def purge(self) -> None:
        self.abandoned = True


@pytest.fixture
def client() -> Client:
    """A client that takes and delivers everything."""
    producer = ScriptedProducer()
    producer.open.set()
    return Client(KINDS["AIOProducer"], producer, "orders", producer.produce)


@pytest.fixture
def closed(client: Client) -> Client:
    """A client that admits nothing."""
    client.producer.open.clear()
    return client
