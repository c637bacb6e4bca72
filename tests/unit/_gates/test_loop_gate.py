"""The gate of an event loop: what passes, what is counted, and what holds others back."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from kafka_throttle._gates.loop_gate import LIVE, LoopGate


class Put(list[Any]):
    def __call__(self, *args: Any, **kwargs: Any) -> None:
        self.append((args, kwargs))


def test_it_counts_what_callers_and_what_the_facade_hand_over() -> None:
    put = Put()
    gate = LoopGate(put, deque())
    gate.live += 3
    gate.forward(object(), "orders", b"v", headers=None)
    gate.forward(LIVE, "orders", b"v")  # who asks hands it over, and counts it
    assert gate.ticket == 4
    assert put == [(("orders", b"v"), {"headers": None})]


@pytest.mark.parametrize(
    ("left", "records", "size", "record_bytes"),
    [(5, 5, 1000, 10.0), (3, 5, 30, 10.0), (0, 5, 9, 10.0), (0, 0, 1000, 10.0), (0, -3, 1000, 10.0)],
)
def test_so_many_may_pass_as_there_is_room_for_in_records_and_in_bytes(
    left: int, records: int, size: int, record_bytes: float
) -> None:
    gate = LoopGate(Put(), deque())
    gate.open(records, size, record_bytes)
    assert gate.left == left


def test_nothing_passes_a_closed_gate() -> None:
    gate = LoopGate(Put(), deque())
    gate.open(10, 1000, 1.0)
    gate.close()
    assert gate.left == 0


def test_what_the_facade_has_not_handed_over_yet_holds_back_what_comes_after_it() -> None:
    gate, outgoing = LoopGate(Put(), deque()), deque([1])
    gate.forward(object(), "orders", b"v")
    assert (gate.held_back, gate.passes("orders")) == (True, False)
    gate.catch_up(outgoing)
    assert (gate.held_back, gate.passes("orders")) == (True, False)
    outgoing.clear()
    gate.catch_up(outgoing)
    assert (gate.held_back, gate.passes("orders")) == (False, True)


def test_a_topic_of_which_the_facade_hands_nothing_over_passes_meanwhile() -> None:
    gate = LoopGate(Put(), deque())
    gate.set_apart("clicks")
    gate.forward(object(), "orders", b"v")
    assert [gate.passes(topic) for topic in ("orders", "clicks")] == [False, True]


def test_only_topics_that_are_free_pass_a_restricted_gate() -> None:
    gate = LoopGate(Put(), deque())
    gate.restrict({"free"})
    gate.set_apart("apart")
    assert gate.held_back
    assert [gate.passes(topic) for topic in ("free", "other", "apart", None)] == [True, False, False, False]
    gate.catch_up(deque())
    assert gate.held_back
    gate.restrict(None)
    assert (gate.held_back, gate.passes("other")) == (False, True)


def test_calls_are_made_as_they_are() -> None:
    gate = LoopGate(Put(), deque())
    assert gate.serve(divmod, 7, 2) == gate.run(divmod, 7, 2) == (3, 1)
