"""`Outcome`: stands in for the callback of a record whose caller has a future."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka_throttle._records import ShedError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from confluent_kafka import KafkaError

    from kafka_throttle._aio.deferred import LoopDeferred
    from kafka_throttle._shedding.untold import Spilled

__all__ = ["Outcome"]


class Outcome:
    """Resolves the future of one record; called on the future's loop alone, but for `committed`.

    Attributes:
        future: What the caller awaits.
        waits: Whether the future of a record on disk waits for its delivery, and not only until it is committed.
    """

    __slots__ = ("_as_exception", "_deferred", "_on_delivery", "future", "waits")

    def __init__(
        self,
        future: asyncio.Future[Any],
        deferred: LoopDeferred,
        as_exception: Callable[[KafkaError, Any], BaseException],
        on_delivery: Callable[[Any, Any], object] | None = None,
        *,
        waits: bool = False,
    ) -> None:
        """Stand in.

        Args:
            future: What the caller awaits.
            deferred: Runs calls on the loop.
            as_exception: Returns what the client raises for an error, given the message, too.
            on_delivery: The user's callback, called with (error, message) whatever becomes of the future.
            waits: See the attribute.
        """
        self.future = future
        self._deferred = deferred
        self._as_exception = as_exception
        self._on_delivery = on_delivery
        self.waits = waits

    @property
    def keeps(self) -> bool:
        """Whether it has to be called when a record that was committed to disk is delivered."""
        return self.waits or self._on_delivery is not None

    def committed(self, spilled: Spilled) -> None:
        """Take note, in any thread, that the record is on disk."""
        if not self.waits:
            self._deferred.append((self._resolve, spilled))

    def left(self, spilled: Spilled) -> None:
        """Take note, in any thread, that the record stays on disk."""
        self._deferred.append((self._resolve, spilled))

    def _resolve(self, result: Any) -> None:
        if not self.future.done():
            self.future.set_result(result)

    def __call__(self, error: Any, message: Any) -> None:
        """Take the report."""
        future = self.future
        if error is None:
            if not future.done():
                future.set_result(message)
        elif not future.done():
            future.set_exception(self._as_exception(error, message))
            if isinstance(error, ShedError):
                future.exception()  # it was decided, approved and counted: no warning when nobody looks
        if self._on_delivery is not None:  # in portions: it may take long
            self._deferred.append((self._on_delivery, error, message))
