"""What all tests share: Hypothesis without deadlines (machines differ), and the same examples in every CI run.

Tests marked `compiled` are left out where the pure gate is asked for (KAFKA_THROTTLE_PURE=1): they run in the other pass.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from kafka_throttle._adapters.acks import interceptors

settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI", "").lower() == "true" else "default")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if interceptors() is not None:
        return
    compiled = [item for item in items if item.get_closest_marker("compiled")]
    if os.environ.get("KAFKA_THROTTLE_PURE"):
        items[:] = [item for item in items if item not in set(compiled)]
        config.hook.pytest_deselected(items=compiled)
    for item in compiled:
        item.add_marker(pytest.mark.skip(reason="the compiled gate and interceptors are not built"))
