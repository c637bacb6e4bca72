"""Who polls the client of an `AIOProducer`: the loop, or a thread where librdkafka cannot ring at the loop's door.

A thread that polls has to take the GIL for each report, and to wait for it while the loop is busy. So librdkafka is asked
to write a byte into a pipe whenever its queue is no longer empty (rd_kafka_queue_io_event_enable), and the loop polls when
there is something to read: one wake-up for all the reports of a response, and futures are resolved where they live.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from kafka_throttle._adapters.acks import InterceptedAcks

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_throttle._aio.client import LoopClient

__all__ = ["LoopPoller", "Poller", "ThreadPoller", "make_poller"]

_PIPE = 4096
# The thread polls for so long, in seconds, before it looks whether it is wanted still.
_SLICE = 0.1


class Poller:
    """Polls one client. `pause` and `resume` go around what polls elsewhere, so that callbacks keep their order.

    Args:
        client: The client.
        loop: The loop, on whose thread everything here is called.
    """

    def __init__(self, client: LoopClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop
        self._paused = 0
        self._served = 0
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def busy(self) -> bool:
        """Whether there is something that was reported and not told."""
        return bool(self._client.deferred)

    def pause(self) -> None:
        """Do not poll."""
        self._paused += 1

    def resume(self) -> None:
        """Go on."""
        self._paused -= 1

    def poll(self) -> None:
        """Serve what there is now, if that can be done here."""

    def stop(self) -> None:
        """Poll no more; from any thread."""

    def _count(self, served: int) -> None:
        """Take note of what was served, and tell those who wait for it."""
        self._served += served
        while served and self._waiting:
            waiter = self._waiting.pop()
            if not waiter.done():
                waiter.set_result(None)
        self._client.admission.tend_soon()

    async def wait(self, seconds: float | None) -> int:
        """Wait until something was served; None: for ever. Return how much that was."""
        before = self._served
        self.poll()
        if self._served == before and seconds != 0:
            waiter = self._loop.create_future()
            self._waiting.append(waiter)
            await asyncio.wait({waiter}, timeout=seconds)
        return self._served - before


class LoopPoller(Poller):
    """Polls on the loop, when librdkafka rings.

    Raises:
        NotImplementedError: The loop cannot watch a pipe (asyncio's on Windows).
    """

    def __init__(self, client: LoopClient, loop: asyncio.AbstractEventLoop, meter: InterceptedAcks) -> None:
        super().__init__(client, loop)
        self._meter = meter
        self._soon = self._stopped = False
        self._reader, self._writer = os.pipe()
        try:
            os.set_blocking(self._reader, False)
            os.set_blocking(self._writer, False)
            loop.add_reader(self._reader, _call, weakref.WeakMethod(self._answer))
        except BaseException:  # raised again: an interrupt must not leave the pipe open either
            self._close_pipe()
            raise
        meter.ring(self._writer)
        self._poll_soon()  # it may have had something to say before

    @property
    def busy(self) -> bool:
        """Whether there is something that was reported and not told."""
        return self._soon or bool(self._client.deferred)

    def _answer(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._reader, _PIPE)
        self.poll()

    def poll(self) -> None:
        """Serve what there is now, unless others are at it."""
        self._soon = False
        if self._paused or self._stopped:
            return
        if self._client.deferred:  # what was reported before comes first
            self._poll_soon()
            return
        try:
            served = self._client.poll(0)
        except BaseException:  # an interrupt
            self._poll_soon()
            raise
        self._count(served)

    def _poll_soon(self) -> None:
        if not self._soon:
            self._soon = True
            self._loop.call_soon(_call, weakref.WeakMethod(self.poll))

    def resume(self) -> None:
        """Go on, with what has come meanwhile."""
        super().resume()
        if not (self._paused or self._stopped):
            self._poll_soon()

    def stop(self) -> None:
        """Poll no more; from any thread."""
        if self._stopped or self._client.admission.polling.orphaned:
            return  # in a forked child, another thread of the parent may have held the queue's lock
        self._stopped = True
        self._meter.ring(-1)
        try:
            self._loop.call_soon_threadsafe(_hang_up, self._loop, self._reader, self._writer)
        except RuntimeError:  # the loop is closed
            self._close_pipe()

    def _close_pipe(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


class ThreadPoller(Poller):
    """Polls in a thread, for clients that cannot ring; what is reported is put off, for the loop."""

    def __init__(self, client: LoopClient, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(client, loop)
        self._stopping = threading.Event()
        name = f"kafka_throttle-{client.admission.settings.client_id}-poll"
        threading.Thread(
            target=_serve, args=(weakref.ref(self), self._stopping), name=name, daemon=True
        ).start()

    def serve(self) -> None:
        """Poll once, in the thread."""
        if self._paused:
            self._stopping.wait(_SLICE / 10)
            return
        served = self._client.poll(_SLICE)
        if served:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._count, served)

    def stop(self) -> None:
        """Poll no more; from any thread."""
        self._stopping.set()


def make_poller(client: LoopClient, loop: asyncio.AbstractEventLoop) -> Poller:
    """Return what polls a client."""
    meter = client.admission.meter
    if isinstance(meter, InterceptedAcks):
        with suppress(NotImplementedError):
            return LoopPoller(client, loop, meter)
    return ThreadPoller(client, loop)


def _serve(poller_of: weakref.ref[ThreadPoller], stopping: threading.Event) -> None:
    while not stopping.is_set():
        poller = poller_of()
        if poller is None:
            return
        poller.serve()
        del poller


def _call(method_of: weakref.WeakMethod[Callable[[], None]]) -> None:
    method = method_of()
    if method is not None:
        method()


def _hang_up(loop: asyncio.AbstractEventLoop, reader: int, writer: int) -> None:
    loop.remove_reader(reader)
    os.close(reader)
    os.close(writer)
