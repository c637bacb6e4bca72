"""Rules and the whole configuration as objects."""

from __future__ import annotations

from typing import Any

import pytest

from kafka_throttle._core.limits import AIMD, Fixed
from kafka_throttle._core.signals import DEFAULT_SIGNALS, BufferFill
from kafka_throttle._throttle import Rule, Throttle
from kafka_throttle.exceptions import ConfigurationError
from kafka_throttle.policies import Block, Policy, Reject


def problems(make: type[Any], *args: Any, **values: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        make(*args, **values)
    return caught.value.problems


def test_the_defaults_block_like_the_java_client() -> None:
    throttle = Throttle()

    assert ((Rule("*", Block(60)),), AIMD(), DEFAULT_SIGNALS) == (
        throttle.rules,
        throttle.limit,
        throttle.signals,
    )
    assert (throttle.burst, throttle.hooks, throttle.enabled) == (32 * 2**20, (), True)


def test_a_topic_and_a_list_of_one_are_the_same_rule() -> None:
    assert Rule("audit.*", Reject()) == Rule(["audit.*"], Reject())


def test_lists_become_tuples_so_that_a_configuration_is_a_value() -> None:
    throttle = Throttle(rules=[Rule("a", Reject())], signals=[BufferFill()], hooks=[print])

    assert throttle == Throttle(rules=(Rule("a", Reject()),), signals=(BufferFill(),), hooks=(print,))
    assert hash(throttle) == hash(throttle.evolve())


def test_the_first_rule_that_matches_holds() -> None:
    narrow, wide = Rule("audit.eu", Block(1)), Rule(["audit.*", "log"], Reject())
    throttle = Throttle(rules=[narrow, wide])

    assert [narrow, wide, wide] == [throttle.rule_for(topic) for topic in ("audit.eu", "audit.us", "log")]


def test_a_last_rule_that_blocks_is_implied() -> None:
    assert (
        Rule("*", Block())
        == Throttle(rules=[Rule("a", Reject())]).rule_for("b")
        == Throttle(rules=()).rule_for("b")
    )


def test_globs_are_case_sensitive() -> None:
    assert Rule("*", Block()) == Throttle(rules=[Rule("a*", Reject())]).rule_for("Audit")


def test_a_thousand_rules_find_the_rule_of_ten_thousand_topics() -> None:
    rules = [Rule(f"topic-{number}.*", Block(number)) for number in range(1000)]
    throttle = Throttle(rules=rules)

    for number in range(10_000):
        assert throttle.rule_for(f"topic-{number % 1000}.{number}") is rules[number % 1000]


def test_an_own_policy_is_as_good_as_the_built_in_ones() -> None:
    from kafka_throttle._fields import configured

    @configured
    class Mine(Policy):
        """A policy of the application."""

    assert Mine() == Rule("a", Mine()).policy


GLOB = "letters, digits, . _ - and the wildcards * ? [...]"


@pytest.mark.parametrize(
    ("expected", "topics"),
    [
        (f"topics: 5 is not a topic name or glob; allowed: {GLOB}", 5),
        (f"topics: '' is not a topic name or glob; allowed: {GLOB}", ""),
        (f"topics: '^audit' is not a topic name or glob; allowed: {GLOB}", "^audit"),
        (f"topics: 'a,b' is not a topic name or glob; allowed: {GLOB}", "a,b"),
        (f"topics[1]: None is not a topic name or glob; allowed: {GLOB}", ["a", None]),
        ("topics: [] is empty; allowed: a topic name or glob, or a list of them", []),
        (f"topics: None is not a topic name or glob; allowed: {GLOB}", None),
    ],
)
def test_topics_that_are_no_globs_are_refused(expected: str, topics: Any) -> None:
    assert (f"Rule.{expected}",) == problems(Rule, topics, Block())


def test_a_policy_that_is_none_is_refused() -> None:
    assert problems(Rule, "a", "reject") == (
        (
            "Rule.policy: 'reject' is not a policy; allowed: Block, Reject, DropNewest, DropOldest, Sample, Spill, DeadLetter, "
            "another Policy"
        ),
    )


def test_everything_wrong_with_a_throttle_is_told_at_once() -> None:
    assert problems(
        Throttle,
        rules=[Rule("a", Block()), 5],
        limit="aimd",
        signals="x",
        burst=-1,
        hooks=[5],
        enabled="maybe",
    ) == (
        "Throttle.rules[1]: 5 is not a rule; allowed: a Rule",
        "Throttle.limit: 'aimd' is not a limit; allowed: AIMD, Fixed, another Limit",
        "Throttle.signals: 'x' is not a list of signals; allowed: a list, each item a signal",
        "Throttle.burst: -1 is out of range; allowed: at least 0 B",
        "Throttle.hooks[0]: 5 is not callable; allowed: callables that take one event",
        "Throttle.enabled: 'maybe' is neither true nor false; allowed: true/false, 1/0, yes/no, on/off",
    )


def test_contradictory_rules_are_refused() -> None:
    assert problems(Throttle, rules=[Rule("*", Block()), Rule("a", Reject()), Rule("*", Reject())]) == (
        "Throttle.rules[1].topics: 'a' can never be reached, rules[0] (*) takes all of it; allowed: the narrower rule first",
        "Throttle.rules[2].topics: '*' stands twice, first in rules[0]; allowed: each glob once",
    )


def test_another_limit_can_be_chosen() -> None:
    assert Fixed(5) == Throttle(limit=Fixed(5)).limit
