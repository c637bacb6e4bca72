"""Who polls: the facade never while the user does, and callbacks run in the order of the reports."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING, Any

import pytest

from kafka_throttle import _polling
from kafka_throttle._gates.gate import COMPILED, PureGate
from kafka_throttle._polling import Polling
from kafka_throttle.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Iterator

SOON = 30.0  # seconds; reached only when something is wrong


class ToldLock:
    """A lock that says when somebody begins to wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.release = self._lock.release
        self.waited_for = threading.Event()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if blocking:
            self.waited_for.set()
        return self._lock.acquire(blocking, timeout)


class Client:
    """Reports that wait in the client, and whoever polls for them."""

    def __init__(self, make_gate: Any) -> None:
        self.clock = VirtualClock(1000.0)
        self.gate = make_gate(print, print, deque())
        self.reports: deque[Any] = deque()
        self.polls: list[Any] = []
        self.told: list[Any] = []
        self.inside = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.polling = Polling(self.gate, self.poll_for, self.clock, "orders")
        self.lock: Any = ToldLock()
        self.polling._lock = self.lock
        self.on_delivery = self.gate.stand_in(self.told.append)

    def poll_for(self, producer: Any, timeout: float) -> int:
        return self.poll(timeout)

    def poll(self, timeout: float = -1) -> int:
        self.polls.append(timeout)
        taken = [self.reports.popleft() for _ in range(len(self.reports))]
        self.inside.set()
        assert self.go_on.wait(SOON)
        for report in taken:
            self.on_delivery(report)
        return len(taken)

    @contextmanager
    def facade_inside(self) -> Iterator[None]:
        """Have another thread poll for the facade, with the reports that there are in its hands."""
        self.go_on.clear()
        with ThreadPoolExecutor(1) as other:
            serving = other.submit(self.polling.serve, "producer", 0.0)
            assert self.inside.wait(SOON)
            try:
                yield
            finally:
                self.go_on.set()
                serving.result(SOON)


GATES = [
    pytest.param(PureGate, id="pure"),
    pytest.param(
        getattr(COMPILED, "Gate", None),
        id="compiled",
        marks=pytest.mark.compiled,
    ),
]


@pytest.fixture(params=GATES)
def client(request: pytest.FixtureRequest) -> Client:
    return Client(request.param)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr(_polling.time, "sleep", seconds.append)
    return seconds


def test_what_the_facade_serves_is_told_in_the_users_poll(client: Client) -> None:
    client.reports += [1, 2]
    client.polling.serve("producer", 0.0)
    client.reports += [3]
    assert client.told == []
    assert client.polling.poll(client.poll, 5) == 3
    assert (client.told, client.polls) == ([1, 2, 3], [0.0, 0])


def test_the_users_poll_waits_for_the_facades_and_runs_first_what_that_put_off(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_polling, "_PATIENCE", SOON)
    client.reports += [1]
    with ThreadPoolExecutor(1) as user:
        with client.facade_inside():
            client.reports += [2]
            polling = user.submit(client.polling.poll, client.poll, 10.0)
            assert client.lock.waited_for.wait(SOON)
        assert polling.result(SOON) == 2
    assert client.told == [1, 2]


def test_so_does_every_call_that_runs_callbacks(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_polling, "_PATIENCE", SOON)

    def flush() -> None:
        client.polling.run_all_deferred()
        client.poll()

    client.reports += [1]
    with ThreadPoolExecutor(1) as user:
        with client.facade_inside():
            client.reports += [2]
            flushing = user.submit(client.polling.call, "flush", flush)
            assert client.lock.waited_for.wait(SOON)
        flushing.result(SOON)
    assert client.told == [1, 2]


def test_a_poll_without_time_runs_what_is_there_and_leaves_the_client_to_the_facade(client: Client) -> None:
    client.gate.deferred.append((client.told.append, 0))
    client.reports += [1]
    with client.facade_inside():
        client.reports += [2]
        assert client.polling.poll(client.poll, 0) == 1
        assert (client.told, len(client.polls)) == ([0], 1)
    assert (client.polling.poll(client.poll, 0), client.told) == (2, [0, 1, 2])


@pytest.mark.parametrize("timeout", [0, 5.0, -1])
def test_a_facade_that_was_interrupted_in_its_poll_is_not_waited_for_for_ever(
    client: Client, timeout: float
) -> None:
    with client.facade_inside():
        client.clock.advance(0.06)
        client.go_on.set()
        assert client.polling.poll(client.poll, timeout) == 0
    assert client.polls == [0.0, timeout]


def test_a_handler_that_interrupts_the_facades_poll_does_not_wait_for_itself(client: Client) -> None:
    client.gate.deferring = get_ident()
    client.lock.acquire()
    client.gate.deferred.append((client.told.append, 1))
    assert (client.polling.poll(client.poll, 5.0), client.told) == (1, [1])


def test_the_facade_does_not_poll_while_the_user_does(client: Client, slept: list[float]) -> None:
    with ThreadPoolExecutor(1) as user:
        client.go_on.clear()
        polling = user.submit(client.polling.poll, client.poll, 5.0)
        assert client.inside.wait(SOON)
        for timeout in (0.0, 0.0004, 0.005):
            client.polling.serve("producer", timeout)
        client.go_on.set()
        assert polling.result(SOON) == 0
    assert (client.polls, slept, client.gate.deferring) == ([5.0], [0.0004, 0.001], 0)
    client.polling.serve("producer", 0.0)
    assert client.polls == [5.0, 0.0]


def test_one_thread_polls_for_the_facade(client: Client, slept: list[float]) -> None:
    with client.facade_inside():
        client.polling.serve("producer", 0.005)
    assert (client.polls, slept) == ([0.0], [0.001])


def test_arguments_that_the_client_refuses_reach_it(client: Client) -> None:
    for arguments in ((None,), ("x",), (1, 2)):
        told: list[Any] = []
        client.polling.poll(lambda *args, told=told: told.append(args) or 0, *arguments)  # type: ignore[func-returns-value]
        assert told == [arguments]
