"""Which rule takes a topic, and which can take none."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_throttle import _topics
from kafka_throttle._topics import GlobIndex, RuleTable, contradictions

LETTERS = "ab."
TOPICS = st.text(LETTERS, min_size=1, max_size=6)
GLOBS = st.text(LETTERS + "*?[]!", min_size=1, max_size=5)


@given(st.lists(st.lists(GLOBS, min_size=1, max_size=3), max_size=6), TOPICS)
def test_the_first_rule_whose_glob_matches_takes_the_topic(rules: list[list[str]], topic: str) -> None:
    expected = next((i for i, globs in enumerate(rules) if any(fnmatchcase(topic, g) for g in globs)), None)

    table = RuleTable(rules)

    assert (expected, expected) == (table.position(topic), table.position(topic))


@given(GLOBS, GLOBS, st.lists(TOPICS, min_size=10, max_size=30))
def test_a_glob_called_unreachable_takes_no_topic_that_the_earlier_one_leaves(
    earlier: str, later: str, topics: list[str]
) -> None:
    index = GlobIndex()
    index.add(earlier, 0)
    if index.first_covering(later) == 0:
        assert [t for t in topics if fnmatchcase(t, later) and not fnmatchcase(t, earlier)] == []


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("*", "audit.*"),
        ("*", "x"),
        ("audit.*", "audit.eu.*"),
        ("audit.*", "audit.eu"),
        ("audit.*", "audit.[ab]"),
        ("*.dlq", "audit.*.dlq"),
        ("a?c", "abc"),
        ("a*z*", "a?z"),
    ],
)
def test_a_rule_that_an_earlier_one_covers_is_a_contradiction(earlier: str, later: str) -> None:
    expected = f"[1].topics: {later!r} can never be reached, rules[0] ({earlier}) takes all of it; allowed: the narrower rule first"

    assert [expected] == list(contradictions([[earlier], [later]]))


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("audit.*", "audit*"),
        ("a?c", "a*c"),
        ("*a*", "[ab]"),
        ("audit.eu", "audit.*"),
        ("a[bc]", "a?"),
        ("a", "b"),
    ],
)
def test_a_rule_that_leaves_something_to_a_later_one_is_none(earlier: str, later: str) -> None:
    assert list(contradictions([[earlier], [later]])) == []


def test_the_same_glob_twice_is_a_contradiction_wherever_it_stands() -> None:
    assert list(contradictions([["a", "b", "a"], ["c", "b"], ["a"]])) == [
        "[0].topics[2]: 'a' stands twice, first in rules[0]; allowed: each glob once",
        "[1].topics[1]: 'b' stands twice, first in rules[0]; allowed: each glob once",
        "[2].topics: 'a' stands twice, first in rules[0]; allowed: each glob once",
    ]


def test_a_glob_beside_a_wider_one_of_the_same_rule_is_none() -> None:
    assert list(contradictions([["a.*", "a.b"]])) == []


def test_the_memory_of_topics_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_topics, "_MOST_CACHED", 3)
    table = RuleTable([["a*"]])

    for number in range(10):
        assert table.position(f"a{number}") == 0

    assert len(table._seen) == 1
