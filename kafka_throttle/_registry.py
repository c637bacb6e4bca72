"""The live producers of this process: for metrics, and to close their gates in a forked child."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kafka_throttle._admission import Admission

__all__ = ["live", "register"]

_live: weakref.WeakSet[Admission] = weakref.WeakSet()


def register(admission: Admission) -> None:
    """Add one producer's admission, until it is collected."""
    _live.add(admission)


def live() -> list[Admission]:
    """Return those that are alive, in no order."""
    return list(_live)


def _in_child() -> None:
    for admission in live():
        admission.orphan()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
