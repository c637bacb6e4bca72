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
    assert line.turn(line.join(), 0.0)


def test_the_second_is_not_first() -> None:
    line = Turnstile()
    line.join()
    assert not line.turn(line.join(), 0.0)


def test_when_the_first_leaves_the_second_is_first() -> None:
    line = Turnstile()
    first, second = line.join(), line.join()
    line.leave(first)
    assert line.turn(second, 0.0)


def test_who_leaves_from_the_middle_changes_nobodys_turn() -> None:
    line = Turnstile()
    first, second, third = line.join(), line.join(), line.join()
    line.leave(second)
    assert [line.turn(place, 0.0) for place in (first, third)] == [True, False]
    line.leave(first)
    assert line.turn(third, 0.0)


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
        woken = threads.submit(line.turn, second, LONG)
        line.leave(first)
        assert woken.result()


def test_many_threads_are_served_in_the_order_in_which_they_came() -> None:
    line = Turnstile()
    places = [line.join() for _ in range(50)]
    served: list[int] = []

    def wait_and_leave(number: int) -> None:
        assert line.turn(places[number], LONG)
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
            assert line.turn(place, LONG)
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
        assert not line.turn(place, 0.0)
        line.leave(place)
    for place, following in pairwise(places[::2]):
        assert line.turn(place, 0.0)
        assert not line.turn(following, 0.0)
        line.leave(place)
    assert line.turn(places[-2], 0.0)
