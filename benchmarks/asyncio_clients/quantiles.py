"""A quantile of a list of numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["quantile"]


def quantile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that so large a share of all values does not exceed; nan when there is none.

    Args:
        values: In any order.
        share: 0 to 1; 1 for the largest.
    """
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
