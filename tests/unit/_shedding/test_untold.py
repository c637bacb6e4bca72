"""Callbacks that want to know when their record is on disk: told once, in order, whoever commits."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from kafka_throttle._shedding.untold import Spilled, Untold


class Caller:
    """Remembers what it is told."""

    def __init__(self, *, keeps: bool = False) -> None:
        self.keeps = keeps
        self.told: list[Any] = []

    def committed(self, spilled: Spilled) -> None:
        self.told.append(spilled)

    def left(self, spilled: Spilled) -> None:
        self.told.append(("left", spilled))

    def __call__(self, error: Any, message: Any) -> None:
        self.told.append((error, message))


def spilled(sequence: int) -> Spilled:
    return Spilled("orders", "/spool", sequence)


def filled(*callers: Caller) -> Untold:
    untold = Untold("/spool")
    for sequence, caller in enumerate(callers):
        untold.add(sequence, "orders", caller)
    return untold


def test_they_are_told_when_what_they_wait_for_is_committed() -> None:
    callers = [Caller() for _ in range(4)]
    untold = filled(*callers)
    untold.tell(2)
    assert [caller.told for caller in callers] == [[spilled(0)], [spilled(1)], [], []]
    untold.tell(4)
    untold.tell(4)
    assert [caller.told for caller in callers] == [[spilled(n)] for n in range(4)]


def test_a_commit_may_come_before_the_callback_is_remembered() -> None:
    untold, caller = Untold("/spool"), Caller()
    untold.tell(1)
    untold.add(0, "orders", caller)
    assert caller.told == [spilled(0)]


def test_who_was_told_is_forgotten_unless_it_waits_for_the_outcome() -> None:
    forgotten, kept = Caller(), Caller(keeps=True)
    untold = filled(forgotten, kept)
    untold.tell(2)
    assert [untold.take(sequence) for sequence in (0, 1)] == [None, kept]
    assert untold.take(1) is None


def test_a_record_may_be_sent_before_it_is_committed() -> None:
    first, second = Caller(), Caller()
    untold = filled(first, second)
    assert untold.take(0) is first
    untold.tell(2)
    assert (first.told, second.told) == ([], [spilled(1)])


def test_those_of_records_that_were_given_up_are_passed_over() -> None:
    callers = [Caller(keeps=True) for _ in range(3)]
    untold = filled(*callers)
    untold.tell(3)
    assert untold.take(2) is callers[2]
    assert untold.take(0) is None


def test_in_the_end_those_are_told_whose_records_stay() -> None:
    callers = [Caller(keeps=True) for _ in range(3)]
    untold = filled(*callers)
    untold.tell(3)
    taken = untold.take(0)
    untold.end([(0, taken, "orders"), (7, print, "orders")])
    assert [caller.told for caller in callers] == [[spilled(n), ("left", spilled(n))] for n in range(3)]


@pytest.mark.parametrize("keeps", [False, True])
def test_each_is_told_once_when_commits_and_records_come_from_several_threads(keeps: bool) -> None:
    untold = Untold("/spool")
    callers = [Caller(keeps=keeps) for _ in range(2000)]
    appended = [0]

    def commit() -> None:
        while appended[0] < len(callers):
            untold.tell(appended[0])

    threads = [threading.Thread(target=commit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for sequence, caller in enumerate(callers):
        untold.add(sequence, "orders", caller)
        appended[0] = sequence + 1
    for thread in threads:
        thread.join()
    untold.tell(len(callers))
    assert [caller.told for caller in callers] == [[spilled(n)] for n in range(len(callers))]
