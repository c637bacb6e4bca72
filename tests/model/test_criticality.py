"""Criticality on a path that cannot keep up, in virtual time: who gives way first, and that none starves."""

from __future__ import annotations

from contextlib import suppress

import pytest

from kafka_throttle import Block, DropNewest, DropOldest, Policy, Reject, Rejected, Rule, Throttle
from kafka_throttle.testing import SimulatedPath, SimulatedProducer, VirtualClock

CLASSES = ("critical", "normal", "sheddable")
CAPACITY = 1000
SECONDS = 24.0


def delivered(policy: Policy, quota: bool, **offered: int) -> dict[str, float]:
    """Return the records per second that each class got in the second half of the run."""
    clock = VirtualClock()
    speed = 100 * CAPACITY
    path = SimulatedPath(
        clock, bytes_per_second=100 * speed if quota else speed, quota=speed if quota else None
    )
    rules = [Rule(name, policy, criticality=name, loss_approved_by="the model") for name in CLASSES]
    producer = SimulatedProducer(path, Throttle(rules=rules))
    got = dict.fromkeys(offered, 0)
    due = dict.fromkeys(offered, clock())
    start = clock()
    while (now := min(due.values())) - start < SECONDS:
        name = min(due, key=due.__getitem__)
        clock.advance(max(0.0, now - clock()))
        due[name] += 1 / offered[name]

        def report(error: object, _message: object, name: str = name, at: float = clock()) -> None:
            got[name] += error is None and at - start > SECONDS / 2

        with suppress(Rejected):
            producer.produce(name, b"v" * 100, on_delivery=report)
        producer.poll(0)
    return {name: count / (SECONDS / 2) for name, count in got.items()}


@pytest.mark.parametrize("quota", [False, True], ids=["path", "quota"])
@pytest.mark.parametrize(
    "policy", [Reject(), DropNewest(), DropOldest(50, max_age=1)], ids=lambda policy: type(policy).__name__
)
def test_critical_records_go_first_and_none_starves(policy: Policy, quota: bool) -> None:
    got = delivered(policy, quota, critical=500, normal=1000, sheddable=1000)
    assert got["critical"] >= 0.85 * 500
    assert got["critical"] / 500 > got["normal"] / 1000 > 2 * got["sheddable"] / 1000
    assert got["sheddable"] >= 0.02 * CAPACITY
    assert sum(got.values()) >= 0.95 * CAPACITY


def test_even_critical_records_leave_the_others_their_floor() -> None:
    got = delivered(Reject(), False, critical=3000, normal=1000, sheddable=1000)
    assert min(got["normal"], got["sheddable"]) >= 0.02 * CAPACITY
    assert got["critical"] >= 0.75 * CAPACITY


def test_where_there_is_room_for_all_criticality_makes_no_difference() -> None:
    got = delivered(Reject(), False, critical=200, normal=200, sheddable=200)
    assert min(got.values()) >= 0.98 * 200


def test_one_class_alone_has_everything() -> None:
    got = delivered(Reject(), False, sheddable=3000)
    assert got["sheddable"] >= 0.95 * CAPACITY


def test_a_class_is_told_by_the_rules_that_there_are() -> None:
    assert Throttle().classes == ["normal"]
    assert Throttle(rules=[Rule("a", Block(), criticality="critical")]).classes == ["critical", "normal"]
    assert Throttle(rules=[Rule("*", Block(), criticality="sheddable")]).classes == ["sheddable"]
    assert Throttle(rules=[Rule("*", Block(), criticality="sheddable")]).tracked is False
