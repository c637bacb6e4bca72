"""`Calls`: the calls of an `AIOProducer` that wait in its client, made in threads."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from kafka_throttle._publish import logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

    from kafka_throttle._aio.client import LoopClient
    from kafka_throttle._aio.polling import Poller

__all__ = ["Calls"]

# librdkafka sends without lingering while a thread is in its flush(), where that thread takes the GIL for each report that
# it meets: so it is there for moments, in which the brokers' threads notice, and the loop takes the reports in between.
_MOMENT = 0.002
_PAUSE = 0.01
# Where it lingers no longer than that, in seconds, it is not hurried.
_SHORT = 0.01
# A client whose records are all done gets so many seconds when others still wait in it.
_PATIENCE = 1.0


class Calls:
    """Makes them.

    Args:
        client: The client.
        poller: Who polls it, but for the time in which others do.
        loop: The loop.
        executor: The application's threads; None: some of its own.
        max_workers: How many those are.

    Attributes:
        executor: The threads.
    """

    def __init__(
        self,
        client: LoopClient,
        poller: Poller,
        loop: asyncio.AbstractEventLoop,
        executor: Executor | None,
        max_workers: int,
    ) -> None:
        name = f"kafka_throttle-{client.admission.settings.client_id}"
        self.executor = ThreadPoolExecutor(max_workers, f"{name}-calls") if executor is None else executor
        self._owns_executor = executor is None
        # The threads above may all be waiting, for other things.
        self._flusher = ThreadPoolExecutor(1, f"{name}-flush")
        self._client = client
        self._poller = poller
        self._loop = loop
        self._made: set[Future[Any]] = set()
        self._polling = 0

    async def make(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make a call that polls nothing."""
        return await asyncio.wrap_future(self._submit(self.executor, partial(call, *args, **kwargs)))

    async def make_polling(self, call: Callable[..., Any], *args: Any) -> Any:
        """Make a call that polls; when this returns everything is told that was reported."""
        self._polling += 1
        try:
            return await self._poll_elsewhere(self.executor, partial(call, *args))
        finally:
            self._polling -= 1

    async def _poll_elsewhere(self, executor: Executor, call: Callable[[], Any]) -> Any:
        self._poller.pause()
        called = self._submit(executor, call)
        called.add_done_callback(self._resume)  # and not as soon as nobody waits for it any more
        result = await asyncio.wrap_future(called)
        await self.told()
        return result

    def _submit(self, executor: Executor, call: Callable[[], Any]) -> Future[Any]:
        called = executor.submit(call)
        self._made.add(called)
        called.add_done_callback(self._made.discard)
        return called

    def _resume(self, called: Future[Any]) -> None:
        del called
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._poller.resume)

    async def told(self) -> None:
        """Wait until everything is told that was reported."""
        while self._poller.busy:
            await asyncio.sleep(0)

    async def flush(self, seconds: float) -> int:
        """Have the client send what it has without lingering, and wait until it is delivered.

        Args:
            seconds: Longest wait.

        Returns:
            Records and events that the client has still.
        """
        client, clock = self._client, self._loop.time
        hurries = client.admission.settings.linger > _SHORT
        deadline = clock() + seconds
        while client.outstanding and (left := deadline - clock()) > 0:
            if hurries and not self._polling:
                await self._poll_elsewhere(self._flusher, partial(client.send, min(_MOMENT, left)))
            await self._poller.wait(min(_PAUSE, left))
            await self.told()
        if client.outstanding:  # which counts events as well as records: they are served now
            await self._poller.wait(min(_PAUSE, seconds))
        return client.outstanding

    async def end(self) -> None:
        """Close the client, and give up what it has.

        Raises:
            SpoolError: Something could not be put on disk; the client is closed all the same.
        """
        others = frozenset(self._made)
        try:
            if others and self._client.outstanding:
                await self._poll_elsewhere(self._flusher, self._client.give_up)
            self._poller.pause()
            ending = self._loop.run_in_executor(self._flusher, self._client.end, others)
            # Where somebody else is still waiting in it, it is left to itself: its records are done.
            await asyncio.wait({ending}, timeout=_PATIENCE if others else None)
            if ending.done():
                ending.result()
        finally:
            self._let_threads_end()

    def forget(self) -> None:
        """Close the client of a producer that was forgotten: what it has is delivered, and its futures are resolved."""
        self._poller.stop()
        self._let_threads_end()
        try:  # the loop may be in the middle of a poll
            self._loop.call_soon_threadsafe(_begin_end, self._client, frozenset(self._made))
        except RuntimeError:  # it is closed
            _begin_end(self._client, frozenset(self._made))

    def _let_threads_end(self) -> None:
        self._flusher.shutdown(wait=False)
        if self._owns_executor:
            self.executor.shutdown(wait=False)


def _begin_end(client: LoopClient, others: frozenset[Future[Any]]) -> None:
    with suppress(RuntimeError):  # the interpreter is at its end: no thread can be started
        threading.Thread(
            target=_end, args=(client, others), name="kafka_throttle-forgotten", daemon=True
        ).start()


def _end(client: LoopClient, others: frozenset[Future[Any]]) -> None:
    wait(others)
    try:
        client.close()
    except Exception:  # noqa: BLE001 - nobody is left to be told otherwise
        logger.exception("a producer was forgotten without close(), and could not be closed")
