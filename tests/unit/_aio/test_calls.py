"""The calls that wait in an asyncio producer's client, and how they are brought to their end."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from kafka_throttle._aio.calls import Calls

if TYPE_CHECKING:
    from collections.abc import Collection


class Poller:
    """Keeps what it was told; each wait delivers one record."""

    busy = False

    def __init__(self, client: Client) -> None:
        self.client = client
        self.steps: list[str] = []

    def pause(self) -> None:
        self.steps.append("pause")

    def resume(self) -> None:
        self.steps.append("resume")

    def poll(self) -> None:
        self.steps.append("poll")

    def stop(self) -> None:
        self.steps.append("stop")

    async def wait(self, seconds: float | None) -> int:
        self.steps.append("wait")
        await asyncio.sleep(0)
        self.client.outstanding -= self.client.moves
        return self.client.moves


class Client:
    """A client that has some records."""

    def __init__(self, outstanding: int = 0, linger: float = 0.005, moves: int = 1) -> None:
        self.outstanding = outstanding
        self.moves = moves
        self.steps: list[Any] = []
        self.admission: Any = SimpleNamespace(settings=SimpleNamespace(linger=linger, client_id="of-a-test"))
        self.closing = threading.Event()
        self.raises: Exception | None = None

    def send(self, seconds: float) -> int:
        self.steps.append("send")
        return self.outstanding

    def give_up(self) -> None:
        self.steps.append("give up")
        self.outstanding = 0

    def end(self, others: Collection[Any]) -> None:
        self.steps.append(("end", len(others)))
        if others:
            self.closing.wait(10)
        if self.raises is not None:
            raise self.raises

    def close(self) -> None:
        self.steps.append("close")
        self.closing.set()
        if self.raises is not None:
            raise self.raises


class Stage:
    """Calls on a running loop."""

    def __init__(self, executor: Any = None, **kwargs: Any) -> None:
        self.client = Client(**kwargs)
        self.poller = Poller(self.client)
        self.calls = Calls(self.client, self.poller, asyncio.get_running_loop(), executor, 2)  # type: ignore[arg-type]


def test_a_call_is_made_in_a_thread_and_its_result_and_exceptions_come_back() -> None:
    async def main() -> None:
        stage = Stage()
        assert await stage.calls.make(threading.get_ident) != threading.get_ident()
        with pytest.raises(ValueError, match="invalid literal"):
            await stage.calls.make(int, "no number")
        assert stage.poller.steps == []
        await stage.calls.end()

    asyncio.run(main())


def test_nobody_else_polls_while_a_call_does() -> None:
    async def main() -> None:
        stage = Stage()
        assert await stage.calls.make_polling(int, "5") == 5
        assert stage.poller.steps == ["pause", "resume"]
        await stage.calls.end()

    asyncio.run(main())


def test_the_loop_polls_again_only_when_a_call_that_was_given_up_has_ended() -> None:
    async def main() -> None:
        stage, leave = Stage(), threading.Event()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(stage.calls.make_polling(leave.wait, 10), 0.01)
        assert stage.poller.steps == ["pause"]
        leave.set()
        while stage.poller.steps != ["pause", "resume"]:
            await asyncio.sleep(0.001)
        await stage.calls.end()

    asyncio.run(main())


@pytest.mark.parametrize(("linger", "sent"), [(0.005, 0), (1.0, 3)])
def test_a_client_that_lingers_long_is_hurried(linger: float, sent: int) -> None:
    async def main() -> None:
        stage = Stage(outstanding=3, linger=linger)
        assert await stage.calls.flush(10) == 0
        assert stage.client.steps == ["send"] * sent
        await stage.calls.end()

    asyncio.run(main())


def test_a_flush_leaves_it_to_a_call_that_polls_to_have_the_client_send() -> None:
    async def main() -> None:
        stage, leave = Stage(outstanding=3, linger=1.0), threading.Event()
        polling = asyncio.ensure_future(stage.calls.make_polling(leave.wait, 10))
        await asyncio.sleep(0)
        assert await stage.calls.flush(10) == 0
        assert stage.client.steps == []
        leave.set()
        await polling
        await stage.calls.end()

    asyncio.run(main())


def test_a_flush_says_what_is_left() -> None:
    async def main() -> None:
        stage = Stage(outstanding=3, moves=0)
        assert await stage.calls.flush(0.01) == 3
        assert stage.poller.steps[-1] == "wait"
        await stage.calls.end()

    asyncio.run(main())


def test_the_end_raises_what_the_client_raises_and_lets_the_threads_go() -> None:
    async def main() -> None:
        stage = Stage()
        stage.client.raises = OSError("the disk is full")
        with pytest.raises(OSError, match="the disk is full"):
            await stage.calls.end()
        with pytest.raises(RuntimeError, match="after shutdown"):
            await stage.calls.make(int)

    asyncio.run(main())


def test_who_waits_in_the_client_holds_up_neither_the_records_nor_the_end(monkeypatch: Any) -> None:
    monkeypatch.setattr("kafka_throttle._aio.calls._PATIENCE", 0.01)

    async def main() -> None:
        stage, leave = Stage(outstanding=3), threading.Event()
        waiting = asyncio.ensure_future(stage.calls.make(leave.wait, 10))
        await asyncio.sleep(0)
        await stage.calls.end()
        assert (stage.client.steps, waiting.done()) == (["give up", ("end", 1)], False)
        leave.set()
        stage.client.closing.set()
        assert await waiting

    asyncio.run(main())


def test_an_executor_that_was_given_goes_on() -> None:
    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            stage = Stage(executor=executor)
            await stage.calls.end()
            assert executor.submit(int, "5").result() == 5

    asyncio.run(main())


@pytest.mark.parametrize("loop_is_closed", [False, True])
def test_a_forgotten_client_is_closed_in_a_thread(loop_is_closed: bool) -> None:
    async def main() -> Stage:
        stage = Stage()
        if not loop_is_closed:
            stage.calls.forget()
            while not stage.client.steps:
                await asyncio.sleep(0.001)
        return stage

    stage = asyncio.run(main())
    if loop_is_closed:
        stage.calls.forget()
    assert stage.client.closing.wait(10)
    assert (stage.client.steps, stage.poller.steps) == (["close"], ["stop"])


def test_what_goes_wrong_with_a_forgotten_client_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        stage = Stage()
        stage.client.raises = OSError("the disk is full")
        stage.calls.forget()
        while not caplog.records:
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert ["forgotten without close()" in record.getMessage() for record in caplog.records] == [True]
