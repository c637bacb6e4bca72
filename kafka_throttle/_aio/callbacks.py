"""The user's callbacks of an `AIOProducer`: functions or coroutine functions, on the loop."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Callbacks"]

_OF_THE_CLIENT = ("error_cb", "stats_cb", "throttle_cb")
_ONLY_ERRORS = "delivery.report.only.error"


class Callbacks:
    """Calls the user's callbacks, which may be coroutine functions; what they raise goes to the loop's handler.

    Args:
        loop: The loop.
        conf: The client's configuration, in which they are replaced.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, conf: dict[str, Any]) -> None:
        self._loop = loop
        self._running: set[asyncio.Future[Any]] = set()
        for name in _OF_THE_CLIENT:
            if callable(conf.get(name)):
                conf[name] = self.of(conf[name])
        # Every record has a callback, by which its future is resolved: the client never needs its own.
        default = conf.pop("on_delivery", None)
        self._only_errors = conf.get(_ONLY_ERRORS) is True
        if self._only_errors:
            conf[_ONLY_ERRORS] = False
        self.default = None if default is None else self.of_record(default)

    def of_record(self, callback: Callable[[Any, Any], object]) -> Callable[[Any, Any], None]:
        """Return what stands in for the callback of a record."""
        call = self.of(callback)
        if not self._only_errors:
            return call

        def call_if_failed(error: Any, message: Any) -> None:
            if error is not None:
                call(error, message)

        return call_if_failed

    def of(self, callback: Callable[..., object]) -> Callable[..., None]:
        """Return what stands in for a callback, and never raises."""

        def call(*args: Any) -> None:
            try:
                result = callback(*args)
                if inspect.isawaitable(result):
                    self._begin(result)
            except Exception as error:  # noqa: BLE001 - whatever it is, the client is not the one to be told
                self._loop.call_exception_handler(
                    {"message": f"exception in {callback!r}", "exception": error}
                )

        return call

    def _begin(self, awaitable: Any) -> None:
        task: asyncio.Future[Any] = asyncio.ensure_future(awaitable, loop=self._loop)
        self._running.add(task)  # the loop itself would not keep it
        task.add_done_callback(self._running.discard)
