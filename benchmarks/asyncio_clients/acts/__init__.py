"""What a worker can be asked for: each act is a coroutine function that does it and returns what came out, for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.asyncio_clients.acts.bursts import batches, one_by_one, produces, sends
from benchmarks.asyncio_clients.acts.crowds import crowd, leave, rush, wait, wait_bare
from benchmarks.asyncio_clients.acts.open_loop import offer
from benchmarks.asyncio_clients.acts.stalls import replay, stream, watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["ACTS"]

ACTS: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
    act.__name__: act
    for act in (
        batches,
        crowd,
        leave,
        offer,
        one_by_one,
        produces,
        replay,
        rush,
        sends,
        stream,
        wait,
        wait_bare,
        watch,
    )
}
"""By name. The first argument is the client; those that need none get None."""
