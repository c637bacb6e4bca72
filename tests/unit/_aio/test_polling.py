"""Who polls an asyncio producer's client: when it rings, after what was put off, and never while others do."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from kafka_throttle._aio.polling import LoopPoller, ThreadPoller, make_poller


class Meter:
    """Keeps the descriptor at which the client would ring."""

    def __init__(self) -> None:
        self.fds: list[int] = []

    def ring(self, fd: int) -> bool:
        self.fds.append(fd)
        return True


class Client:
    """Serves what a test says, and keeps when it was polled."""

    def __init__(self, *served: int | BaseException) -> None:
        self.served = deque(served)
        self.polled: list[float] = []
        self.deferred: deque[Any] = deque()
        self.tended = 0
        self.admission: Any = SimpleNamespace(
            tend_soon=self._tend,
            polling=SimpleNamespace(orphaned=False),
            settings=SimpleNamespace(client_id="of-a-test"),
            meter=None,
        )

    def _tend(self) -> None:
        self.tended += 1

    def poll(self, timeout: float) -> int:
        self.polled.append(timeout)
        served = self.served.popleft() if self.served else 0
        if isinstance(served, BaseException):
            raise served
        return served


class Stage:
    """A poller on a running loop."""

    def __init__(self, *served: int | BaseException) -> None:
        self.client, self.meter = Client(*served), Meter()
        self.poller = LoopPoller(self.client, asyncio.get_running_loop(), self.meter)  # type: ignore[arg-type]

    async def ring(self, times: int = 1) -> None:
        for _ in range(times):
            os.write(self.meter.fds[0], b"\0")
        await rounds()


async def rounds(count: int = 3) -> None:
    """Let the loop have some turns."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_what_the_client_had_to_say_before_is_served_first() -> None:
    async def main() -> None:
        stage = Stage(1)
        await rounds()
        assert (stage.client.polled, stage.client.tended) == ([0], 1)
        stage.poller.stop()
        await rounds()

    asyncio.run(main())


def test_it_polls_once_however_often_the_client_has_rung() -> None:
    async def main() -> None:
        stage = Stage()
        await rounds()
        await stage.ring(times=100)
        assert stage.client.polled == [0, 0]
        stage.poller.stop()
        await rounds()

    asyncio.run(main())


def test_it_does_not_poll_while_others_do_and_looks_when_they_have_done() -> None:
    async def main() -> None:
        stage = Stage()
        await rounds()
        stage.poller.pause()
        stage.poller.pause()
        await stage.ring()
        stage.poller.resume()
        await rounds()
        assert stage.client.polled == [0]
        stage.poller.resume()
        assert stage.poller.busy
        await rounds()
        assert (stage.client.polled, stage.poller.busy) == ([0, 0], False)
        stage.poller.stop()
        await rounds()

    asyncio.run(main())


def test_what_was_put_off_comes_before_what_is_reported_now() -> None:
    async def main() -> None:
        stage = Stage()
        await rounds()
        stage.client.deferred.append("a call")
        await stage.ring()
        assert (stage.client.polled, stage.poller.busy) == ([0], True)
        stage.client.deferred.clear()
        await rounds()
        assert stage.client.polled == [0, 0]
        stage.poller.stop()
        await rounds()

    asyncio.run(main())


def test_after_an_interrupt_it_looks_again() -> None:
    complaints: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        stage = Stage(0, ValueError("of a callback"), 1)
        await rounds()
        await stage.ring()
        await rounds()
        assert stage.client.polled == [0, 0, 0]
        stage.poller.stop()
        await rounds()

    asyncio.run(main())
    assert [str(each["exception"]) for each in complaints] == ["of a callback"]


def test_who_waits_is_told_how_much_was_served() -> None:
    async def main() -> None:
        stage = Stage()
        await rounds()
        assert await stage.poller.wait(0) == 0
        waiting = [asyncio.ensure_future(stage.poller.wait(None)) for _ in range(2)]
        cancelled = asyncio.ensure_future(stage.poller.wait(None))
        await rounds()
        cancelled.cancel()
        await stage.ring()
        assert [task.done() for task in waiting] == [False, False]  # there was nothing
        stage.client.served.append(3)
        await stage.ring()
        assert await asyncio.gather(*waiting) == [3, 3]
        assert await stage.poller.wait(0.001) == 0
        stage.poller.stop()
        await rounds()

    asyncio.run(main())


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_when_it_stops_the_client_is_told_and_the_pipe_is_closed() -> None:
    async def main() -> None:
        stage = Stage()
        await rounds()
        threading.Thread(target=stage.poller.stop).start()
        writer = stage.meter.fds[0]
        while stage.meter.fds != [writer, -1]:
            await asyncio.sleep(0.001)
        stage.poller.stop()
        stage.poller.poll()
        stage.poller.pause()
        stage.poller.resume()
        while is_open(writer):
            await asyncio.sleep(0.001)
        assert (stage.meter.fds, stage.client.polled) == ([writer, -1], [0])

    asyncio.run(main())


def test_it_stops_when_its_loop_is_closed() -> None:
    async def main() -> Stage:
        return Stage()

    stage = asyncio.run(main())
    stage.poller.stop()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(stage.meter.fds[0])


def test_in_a_forked_child_it_leaves_the_client_alone() -> None:
    async def main() -> None:
        stage = Stage()
        stage.client.admission.polling.orphaned = True
        stage.poller.stop()
        assert len(stage.meter.fds) == 1
        stage.client.admission.polling.orphaned = False
        stage.poller.stop()
        await rounds()

    asyncio.run(main())


def test_the_loop_does_not_keep_it_alive() -> None:
    async def main() -> None:
        stage = Stage()
        await rounds()
        poller, fds = weakref.ref(stage.poller), stage.meter.fds
        reader = stage.poller._reader
        del stage.poller
        assert poller() is None
        os.write(fds[0], b"\0")
        await rounds()
        asyncio.get_running_loop().remove_reader(reader)
        os.close(reader)
        os.close(fds[0])

    asyncio.run(main())


def test_a_thread_polls_where_the_client_cannot_ring() -> None:
    async def main() -> None:
        client = Client(2)
        poller = make_poller(client, asyncio.get_running_loop())  # type: ignore[arg-type]
        assert isinstance(poller, ThreadPoller)
        assert await poller.wait(None) == 2
        poller.pause()
        client.deferred.append("a call")
        assert poller.busy
        poller.resume()
        poller.poll()  # does nothing: the thread is at it
        poller.stop()
        while any("of-a-test" in thread.name for thread in threading.enumerate()):
            await asyncio.sleep(0.001)
        assert client.polled[0] > 0

    asyncio.run(main())


def test_the_thread_ends_with_its_poller() -> None:
    async def main() -> None:
        poller = make_poller(Client(), asyncio.get_running_loop())  # type: ignore[arg-type]
        reference = weakref.ref(poller)
        del poller
        while reference() is not None or any("of-a-test" in thread.name for thread in threading.enumerate()):
            gc.collect()
            await asyncio.sleep(0.001)

    asyncio.run(main())
