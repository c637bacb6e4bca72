"""What a record weighs."""

from __future__ import annotations

from typing import Any

import pytest

from kafka_throttle._sizes import bytes_of_call, bytes_of_messages


@pytest.mark.parametrize(
    ("expected", "args", "kwargs"),
    [
        (5, ("t", b"abc", b"de"), {}),
        (5, ("t",), {"value": b"abc", "key": "de"}),
        (3, ("t", b"abc"), {"key": None}),
        (0, ("t",), {}),
        (0, ("t", 5), {}),
    ],
)
def test_a_call_weighs_its_value_and_its_key(
    expected: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    assert bytes_of_call(args, kwargs) == expected


def test_messages_weigh_their_values_and_keys() -> None:
    assert bytes_of_messages([{"value": b"abc", "key": b"de"}, {"value": None}, {"headers": b"zz"}]) == 5
