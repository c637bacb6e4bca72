"""Policies as data."""

from __future__ import annotations

import math

import pytest

import kafka_throttle.policies as package
from kafka_throttle.exceptions import ConfigurationError
from kafka_throttle.policies import POLICIES, Block, Policy, Reject


@pytest.mark.parametrize(
    ("expected", "timeout"), [(0.0, 0), (5.0, "5 s"), (math.inf, "forever"), (math.inf, math.inf)]
)
def test_block_waits_for_any_time_from_none_to_forever(expected: float, timeout: float | str) -> None:
    assert expected == Block(timeout).timeout


def test_block_waits_a_minute_when_nothing_is_said() -> None:
    assert Block().timeout == 60.0


def test_block_refuses_a_negative_wait() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Block(timeout=-1)

    assert caught.value.problems == (
        "Block.timeout: -1 is out of range; allowed: at least 0 s, or 'forever'",
    )


def test_neither_block_nor_reject_can_lose_a_record() -> None:
    assert (Block.can_lose, Reject().can_lose) == (False, False)


def test_the_base_is_no_policy_by_itself() -> None:
    with pytest.raises(
        TypeError, match=r"^Policy is abstract; use a policy such as Block\(\) or Reject\(\)$"
    ):
        Policy()


def test_every_public_policy_has_a_name_for_mappings() -> None:
    assert sorted(set(package.__all__) - {"POLICIES", "Policy"}) == sorted(
        c.__name__ for c in POLICIES.values()
    )
