"""The line of tasks: who goes first, who leaves, and what is left of those who did."""

from __future__ import annotations

import asyncio
import threading

from kafka_throttle._aio.line import TaskLine


class Line:
    """A line with names for those who stand in it."""

    def __init__(self) -> None:
        self.woken = 0
        self.line = TaskLine(self._wake)
        self.futures: dict[str, asyncio.Future[str]] = {}

    def _wake(self) -> None:
        self.woken += 1

    def join(self, *names: str, now: float = 0.0, timeout: float = 60.0, rank: int = 0) -> None:
        for name in names:
            self.futures[name] = asyncio.get_running_loop().create_future()
            self.line.join(self.futures[name], now, timeout, rank)  # type: ignore[arg-type]

    def leave(self, name: str) -> bool:
        """Do what a task does that is cancelled."""
        self.futures[name].cancel()
        return self.line.leave(self.futures[name])  # type: ignore[arg-type]

    def told(self, reason: str = "") -> list[str]:
        return [
            name for name, future in self.futures.items()
            if future.done() and not future.cancelled() and future.result() == reason
        ]  # fmt: skip

    def counts(self) -> tuple[int, int, int]:
        return len(self.line), self.line.waiting, self.line.granted


async def test_the_first_ones_go_first() -> None:
    line = Line()
    line.join("a", "b", "c")
    assert line.line.grant(2) == 2
    assert (line.told(), line.counts()) == (["a", "b"], (3, 1, 2))


async def test_who_was_granted_room_counts_until_it_is_used() -> None:
    line = Line()
    line.join("a")
    line.line.grant(1)
    assert line.line.holds_back(0)
    assert not line.line.alone(None)
    line.line.enter()
    assert (line.counts(), line.line.holds_back(0), line.line.alone(None)) == ((0, 0, 0), False, True)


async def test_no_more_are_let_go_than_stand_there() -> None:
    line = Line()
    line.join("a")
    assert (line.line.grant(10), line.line.grant(10), line.line.grant(0), line.line.grant(-5)) == (1, 0, 0, 0)


async def test_what_matters_more_goes_before_what_came_earlier() -> None:
    line = Line()
    line.join("sheddable", rank=2)
    line.join("normal", rank=1, now=1.0)
    line.join("critical", rank=0, now=2.0)
    assert line.line.first_rank == 0
    assert [line.line.grant(1) and line.told() for _ in range(3)] == [
        ["critical"], ["normal", "critical"], ["sheddable", "normal", "critical"],
    ]  # fmt: skip


async def test_only_those_are_let_go_for_whom_there_is_room() -> None:
    line = Line()
    line.join("sheddable", rank=2)
    line.join("normal", rank=1)
    assert line.line.grant(5, rank=1) == 1
    assert line.told() == ["normal"]


async def test_a_record_is_held_back_by_those_it_must_not_overtake() -> None:
    line = Line()
    line.join("normal", rank=1)
    assert [line.line.holds_back(rank) for rank in (0, 1, 2)] == [False, True, True]


async def test_those_of_another_patience_keep_their_turn() -> None:
    line = Line()
    for number, name in enumerate("abcdef"):
        line.join(name, now=float(number), timeout=1.0 + number % 2)
    for first in range(1, 7):
        line.line.grant(1)
        assert line.told() == list("abcdef"[:first])


async def test_they_keep_it_behind_somebody_who_has_left() -> None:
    line = Line()
    line.join("a", now=1.0, timeout=1.0)
    line.join("b", now=2.0, timeout=2.0)
    line.join("c", now=3.0, timeout=1.0)
    line.leave("a")
    line.line.grant(1)
    assert line.told() == ["b"]


async def test_each_is_told_when_its_own_time_is_up() -> None:
    line = Line()
    line.join("patient", now=0.0, timeout=10.0)
    line.join("hasty", now=1.0, timeout=1.0)
    line.line.expire(1.9)
    assert line.told("deadline") == []
    line.line.expire(2.0)
    assert line.told("deadline") == ["hasty"]
    line.line.expire(10.0)
    assert line.told("deadline") == ["patient", "hasty"]
    assert line.counts() == (0, 0, 0)


async def test_who_has_left_is_passed_over() -> None:
    line = Line()
    line.join("a", "b", "c")
    assert line.leave("a") is False
    assert line.counts() == (2, 2, 0)
    assert line.line.grant(1) == 1
    assert line.told() == ["b"]


async def test_who_leaves_gives_back_the_room_that_was_granted() -> None:
    line = Line()
    line.join("a", "b")
    line.line.grant(1)
    assert line.line.leave(line.futures["a"]) is True  # type: ignore[arg-type]
    assert line.counts() == (1, 1, 0)


async def test_who_was_told_that_there_is_nothing_to_wait_for_gives_back_nothing() -> None:
    line = Line()
    line.join("a")
    line.line.dismiss("draining")
    assert line.line.leave(line.futures["a"]) is False  # type: ignore[arg-type]
    assert (line.told("draining"), line.counts()) == (["a"], (0, 0, 0))


async def test_those_who_have_left_do_not_pile_up() -> None:
    line = Line()
    line.join("stays")
    for number in range(1000):
        line.join(f"leaves {number}", timeout=60.0 + number)
        line.leave(f"leaves {number}")
    assert sum(map(len, line.line._lanes.values())) < 200
    assert len(line.line._lanes) < 200
    assert line.line.grant(1000) == 1
    assert line.told() == ["stays"]


async def test_who_had_its_turn_in_vain_goes_back_to_its_place() -> None:
    line = Line()
    line.join("a", now=1.0)
    line.join("b", now=2.0)
    line.line.grant(1)
    line.line.enter()
    line.join("c", now=3.0)
    line.join("a again", now=1.0)
    line.line.grant(1)
    assert line.told() == ["a", "a again"]


async def test_everybody_who_had_come_by_a_moment_has_had_their_turn() -> None:
    line = Line()
    line.join("a", now=1.0)
    moment = line.line.last
    line.join("b", now=2.0)
    assert not line.line.passed(moment)
    line.line.grant(1)
    assert not line.line.passed(moment)
    line.line.enter()
    assert line.line.passed(moment)


async def test_another_thread_lets_nobody_go_and_wakes_the_loop() -> None:
    line = Line()
    line.join("a")
    granted: list[int] = []
    thread = threading.Thread(target=lambda: granted.append(line.line.grant(1)))
    thread.start()
    thread.join()
    assert (granted, line.woken, line.told()) == ([0], 1, [])
