"""Quantiles of a few numbers."""

from __future__ import annotations

import math

import pytest

from benchmarks.asyncio_clients.quantiles import quantile


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.25, 1.0), (0.26, 2.0), (0.5, 2.0), (0.99, 4.0), (1.0, 4.0)]
)
def test_a_quantile_is_the_smallest_value_that_covers_the_share(share: float, expected: float) -> None:
    assert quantile([4.0, 2.0, 3.0, 1.0], share) == expected


def test_nothing_has_no_quantile() -> None:
    assert math.isnan(quantile([], 0.99))
