"""The line of waiting threads: first come, first served, whoever leaves and whenever."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from kafka_throttle._turnstile import Turnstile

LONG = 30.0  # seconds; only reached when a wake-up was lost


def test_who_joins_an_empty_line_is_first_at_once() -> None:
    line = Turnstile()
    assert line.join().wait(0.0)


def test_the_second_is_not_first() -> None:
    line = Turnstile()
    line.join()
    assert not line.join().wait(0.0)


def test_when_the_first_leaves_the_second_is_first() -> None:
    line = Turnstile()
    first, second = line.join(), line.join()
    line.leave(first)
    assert second.wait(0.0)


def test_who_leaves_from_the_middle_changes_nobodys_turn() -> None:
    line = Turnstile()
    first, second, third = line.join(), line.join(), line.join()
    line.leave(second)
    assert [place.wait(0.0) for place in (first, third)] == [True, False]
    line.leave(first)
    assert third.wait(0.0)


def test_the_length_is_the_number_of_those_who_wait() -> None:
    line = Turnstile()
    places = [line.join() for _ in range(3)]
    lengths = [len(line)]
    for place in places:
        line.leave(place)
        lengths.append(len(line))
    assert lengths == [3, 2, 1, 0]


def test_nobody_leaves_twice() -> None:
    line = Turnstile()
    place = line.join()
    line.leave(place)
    with pytest.raises(ValueError, match="deque"):
        line.leave(place)


def test_a_sleeping_thread_is_woken_when_its_turn_comes() -> None:
    line = Turnstile()
    first, second = line.join(), line.join()
    with ThreadPoolExecutor(1) as threads:
        woken = threads.submit(second.wait, LONG)
        line.leave(first)
        assert woken.result()


def test_many_threads_are_served_in_the_order_in_which_they_came() -> None:
    line = Turnstile()
    places = [line.join() for _ in range(50)]
    served: list[int] = []

    def wait_and_leave(number: int) -> None:
        assert places[number].wait(LONG)
        served.append(number)
        line.leave(places[number])

    with ThreadPoolExecutor(50) as threads:
        list(threads.map(wait_and_leave, reversed(range(50))))
    assert served == list(range(50))


def test_with_many_threads_only_one_is_first_at_a_time_and_all_get_through() -> None:
    line = Turnstile()
    inside = 0
    crowds: list[int] = []
    start = threading.Barrier(16)

    def pass_often() -> int:
        nonlocal inside
        start.wait()
        passed = 0
        for _ in range(50):
            place = line.join()
            assert place.wait(LONG)
            inside += 1
            crowds.append(inside)
            inside -= 1
            line.leave(place)
            passed += 1
        return passed

    with ThreadPoolExecutor(16) as threads:
        passed = [future.result() for future in [threads.submit(pass_often) for _ in range(16)]]
    assert (passed, set(crowds), len(line)) == ([50] * 16, {1}, 0)


def test_impatient_threads_leave_no_gap_behind() -> None:
    line = Turnstile()
    places = [line.join() for _ in range(20)]
    for place in places[1::2]:
        assert not place.wait(0.0)
        line.leave(place)
    for place, following in pairwise(places[::2]):
        assert place.wait(0.0)
        assert not following.wait(0.0)
        line.leave(place)
    assert places[-2].wait(0.0)


def test_those_who_are_granted_room_go_in_their_order_and_the_caller_stays_first() -> None:
    line = Turnstile()
    first, second, third, fourth = (line.join() for _ in range(4))

    assert line.grant(2, after=first) == 2

    assert [place.granted for place in (first, second, third, fourth)] == [False, True, True, False]
    assert len(line) == 2
    for place in (second, third, first):
        line.leave(place)
    assert fourth.wait(0.0)


def test_no_more_are_granted_than_wait() -> None:
    line = Turnstile()
    alone = line.join()

    assert line.grant(5, after=alone) == 0
    assert line.grant(5) == 1
    assert alone.granted


def test_who_matters_more_stands_in_front() -> None:
    turnstile = Turnstile()
    sheddable = turnstile.join(rank=2)
    assert sheddable.wait(0)
    critical, later = turnstile.join(rank=0), turnstile.join(rank=0)
    assert (critical.wait(0), later.wait(0), sheddable.wait(0)) == (True, False, False)
    assert [turnstile.holds_back(rank) for rank in (0, 1, 2)] == [True, True, True]
    turnstile.leave(critical)
    turnstile.leave(later)
    assert sheddable.wait(0)
    assert [turnstile.holds_back(rank) for rank in (0, 1, 2)] == [False, False, True]


def test_room_is_granted_to_those_who_wait_for_room_alone_and_matter_enough() -> None:
    turnstile = Turnstile()
    bound, critical, sheddable = (
        turnstile.join(grantable=False, rank=0),
        turnstile.join(rank=0),
        turnstile.join(rank=2),
    )
    assert turnstile.grant(5, after=bound, rank=1) == 1
    assert (bound.granted, critical.granted, sheddable.granted) == (False, True, False)
    assert turnstile.grant(5) == 1
    assert sheddable.granted
