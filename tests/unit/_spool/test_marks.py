"""Marks: exact whatever the order, and the same after a restart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kafka_throttle._spool.marks import Marks


@given(st.lists(st.lists(st.integers(0, 99), max_size=30), max_size=8), st.integers(1, 1 << 50))
def test_marks_agree_with_a_set_and_survive_being_written(groups: list[list[int]], first: int) -> None:
    sizes = [index * 3 for index in range(100)]
    marks = Marks(first)
    marks.learn(first, sizes)
    done: set[int] = set()
    for group in groups:
        new = set(group) - done
        assert (len(new), sum(sizes[i] for i in new)) == marks.add(first + i for i in group)
        done |= new
    for each in (marks, Marks.load(first, *marks.dump(), marks.payload)):
        assert (len(done), sum(sizes[i] for i in done)) == (each.count, each.payload)
        assert first + min(set(range(100)) - done, default=100) == each.low
        wanted = each.missing(first, 100)
        assert ([0 if i in done else 1 for i in range(100)] if done else None) == (wanted and list(wanted))


def test_learning_later_records_keeps_what_was_loaded() -> None:
    marks = Marks.load(10, 2, b"\x02", 7)
    marks.learn(10, [1] * 20)
    assert (marks.count, marks.payload, marks.low) == (3, 7, 12)
    assert marks.add([12]) == (1, 1)
    assert marks.low == 14


def test_lost_records_weigh_nothing() -> None:
    marks = Marks(1)
    marks.learn(1, [5, 5])
    marks.lose(3, 4)
    assert (marks.count, marks.payload) == (4, 0)
    marks.add([1])
    marks.weigh_again()
    assert (marks.count, marks.payload) == (5, 5)


def test_marks_are_dirty_until_they_are_written() -> None:
    marks = Marks(1)
    marks.learn(1, [1])
    assert not marks.dirty
    marks.add([1])
    assert marks.dirty
    marks.dump()
    assert not marks.dirty
    assert marks.add([1]) == (0, 0)
    assert not marks.dirty
