"""Chains of policies, and what a rule asks of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kafka_throttle import (
    Block,
    ConfigurationError,
    DropNewest,
    DropOldest,
    LossNotApproved,
    Policy,
    Reject,
    Rule,
    Sample,
    Spill,
    Throttle,
)
from kafka_throttle.config import load
from kafka_throttle.policies._base import chain_of

if TYPE_CHECKING:
    from collections.abc import Callable

APPROVED = "data team, OPS-123"


def problems(make: Callable[[], object]) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        make()
    return caught.value.problems


def test_a_chain_goes_down_to_the_policy_that_takes_or_refuses_everything() -> None:
    policy = Sample(0.5, then=Spill("/spool", then=DropOldest(5, then=Reject())))
    assert [type(link) for link in chain_of(policy)] == [Sample, Spill, DropOldest, Reject]


@pytest.mark.parametrize(
    "policy",
    [
        DropNewest(),
        DropOldest(),
        Sample(0.5),
        Spill("/spool", max_age=60),
        Spill("/spool", then=DropNewest()),
        Sample(0.1, then=Spill("/spool", then=DropOldest())),
    ],
    ids=lambda policy: type(policy).__name__,
)
def test_a_rule_that_can_lose_records_needs_an_approval(policy: Policy) -> None:
    with pytest.raises(LossNotApproved) as caught:
        Rule("clicks", policy)
    losing = next(type(link).__name__ for link in chain_of(policy) if link.may_lose)
    assert caught.value.problems == (
        (
            f"Rule.loss_approved_by: is missing for clicks, but {losing} can lose records; allowed: who approved it and "
            "where that is written down, such as 'data team, OPS-123'"
        ),
    )
    assert Rule("clicks", policy, loss_approved_by=APPROVED).loss_approved_by == APPROVED


def test_a_policy_for_failed_deliveries_needs_an_approval_too() -> None:
    with pytest.raises(LossNotApproved):
        Rule("clicks", Block(), on_failure=Spill("/spool", max_age=60))


@pytest.mark.parametrize("approval", ["", "  ", 5])
def test_an_approval_says_something(approval: object) -> None:
    (problem,) = problems(lambda: Rule("clicks", DropNewest(), loss_approved_by=approval))  # type: ignore[arg-type]
    assert problem.startswith("Rule.loss_approved_by: ")
    assert problem.endswith("; allowed: text that is not empty, or none")


def test_every_door_asks_for_the_approval() -> None:
    rule = {"topics": "clicks", "policy": {"type": "drop_oldest", "max_records": 5}}
    with pytest.raises(LossNotApproved) as caught:
        load({"rules": [rule]})
    assert caught.value.problems[0].startswith(
        "rules[0].loss_approved_by: is missing for clicks, but DropOldest"
    )
    approved = load({"rules": [{**rule, "loss_approved_by": APPROVED}]})
    assert approved.rules[0] == Rule("clicks", DropOldest(5), loss_approved_by=APPROVED)


@pytest.mark.parametrize(
    ("expected", "make"),
    [
        (
            (
                "DropNewest.then: Block(timeout=60.0) can never be reached, because DropNewest takes every record; "
                "allowed: none"
            ),
            lambda: DropNewest(then=Block()),
        ),
        ("Spill.then: None is not a policy; allowed: ", lambda: Spill("/spool", then=None)),  # type: ignore[arg-type]
        (
            "Rule.policy.then: a second Spill in one chain; allowed: each policy once",
            lambda: Rule("a", Spill("/a", then=Spill("/b"))),
        ),
        (
            "Rule.on_failure: Block cannot take a failed delivery; allowed: Spill, DeadLetter, none",
            lambda: Rule("a", Block(), on_failure=Block()),
        ),
        (
            (
                "Rule.on_failure: spills to '/a' with other settings than the policy does; allowed: the same settings, or "
                "another directory"
            ),
            lambda: Rule("a", Spill("/a"), on_failure=Spill("/a", commit="record")),
        ),
        (
            "Throttle.rules[1]: spills to '/a' as rules[0] does; allowed: a directory of its own for each rule",
            lambda: Throttle(rules=[Rule("a", Spill("/a")), Rule("b", Spill("/a"))]),
        ),
        ("Sample.rate: 0 is out of range; allowed: above 0, at most 1", lambda: Sample(0)),
        ("Sample.by: 'topic' is not a choice; allowed: key, random", lambda: Sample(0.5, by="topic")),
        ("DropOldest.max_records: 0 is out of range; allowed: at least 1", lambda: DropOldest(0)),
        (
            "Spill.directory: '' is not a directory's path; allowed: the path of a directory",
            lambda: Spill(""),
        ),
        ("Spill.when: 'never' is not a choice; allowed: overload, always", lambda: Spill("/a", when="never")),
        (
            "Spill.max_bytes: 1000 is out of range; allowed: at least 256 KiB, or none",
            lambda: Spill("/a", max_bytes=1000),
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(expected: str, make: Callable[[], object]) -> None:
    (problem,) = problems(make)
    assert problem.startswith(expected)


def test_units_are_read_as_everywhere() -> None:
    policy = DropOldest(max_bytes="1 MiB", max_age="250 ms")
    assert (policy.max_bytes, policy.max_age) == (1 << 20, 0.25)
    assert Spill("/a", max_bytes="10 GiB").max_bytes == 10 << 30
