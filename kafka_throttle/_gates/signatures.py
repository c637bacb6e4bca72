"""The signatures of the gated methods, which the client's own do not tell."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = ["POLL", "PRODUCE"]


def _signature(**defaults: Any) -> inspect.Signature:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind, default=default) for name, default in defaults.items()]
    return inspect.Signature([inspect.Parameter("self", kind), *parameters])


PRODUCE = _signature(
    topic=inspect.Parameter.empty,
    value=None,
    key=None,
    partition=-1,
    callback=None,
    on_delivery=None,
    timestamp=0,
    headers=None,
)
POLL = _signature(timeout=-1)
