"""Virtual time: it moves when it is told to, and what is due happens on the way."""

from __future__ import annotations

import math
from functools import partial

import pytest

from kafka_throttle.testing import VirtualClock


def test_time_does_not_pass_by_itself() -> None:
    clock = VirtualClock(5.0)
    assert (clock(), clock()) == (5.0, 5.0)


def test_what_is_due_happens_at_its_time_and_in_order() -> None:
    clock = VirtualClock()
    seen: list[tuple[str, float]] = []
    for name, when in (("late", 3.0), ("early", 1.0), ("same", 3.0), ("never", 9.0)):
        clock.call_at(when, lambda name=name: seen.append((name, clock())))
    clock.advance(4.0)
    assert seen == [("early", 1.0), ("late", 3.0), ("same", 3.0)]
    assert clock() == 4.0


def test_an_action_may_ask_for_the_next() -> None:
    clock = VirtualClock()
    seen: list[float] = []

    def again() -> None:
        seen.append(clock())
        clock.call_at(clock() + 1.0, again)

    clock.call_at(1.0, again)
    clock.advance(3.5)
    assert seen == [1.0, 2.0, 3.0]


def test_what_was_due_in_the_past_happens_at_the_next_advance() -> None:
    clock = VirtualClock(10.0)
    seen: list[float] = []
    clock.call_at(3.0, lambda: seen.append(clock()))
    clock.advance(0.0)
    assert seen == [10.0]


def test_advancing_to_the_next_thing_stops_there() -> None:
    clock = VirtualClock()
    clock.call_at(2.0, int)
    clock.call_at(4.0, int)
    assert (clock.advance_to_next(), clock()) == (True, 2.0)


def test_advancing_to_the_next_thing_goes_no_further_than_the_bound() -> None:
    clock = VirtualClock()
    clock.call_at(2.0, int)
    assert (clock.advance_to_next(0.5), clock()) == (False, 0.5)


def test_without_anything_to_come_and_without_a_bound_no_time_passes() -> None:
    clock = VirtualClock(7.0)
    assert (clock.advance_to_next(), clock()) == (False, 7.0)


@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
def test_time_that_cannot_pass_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"is not a time that can pass; allowed: 0 or more, finite"):
        VirtualClock().advance(seconds)


def test_an_action_cannot_advance_the_clock() -> None:
    clock = VirtualClock()
    clock.call_at(1.0, partial(clock.advance, 1.0))
    clock.call_at(1.5, int)
    with pytest.raises(RuntimeError, match=r"^the clock was advanced from inside an action"):
        clock.advance(2.0)


def test_the_clock_shows_what_it_is() -> None:
    clock = VirtualClock(1.5)
    clock.call_at(2.0, int)
    assert repr(clock) == "<VirtualClock 1.5 s, 1 timers>"
