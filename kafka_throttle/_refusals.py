"""`Refusals`: records that are not accepted are counted, and the caller is told how things stand."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from kafka_throttle._sizes import bytes_of_call
from kafka_throttle._wording import draining, how_it_stands, too_large, unpolled
from kafka_throttle.exceptions import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_throttle._adapters.confluent import ClientSettings
    from kafka_throttle._gates.gate import Gate
    from kafka_throttle.policies import Policy
    from kafka_throttle.statistics import Statistics

__all__ = ["Refusals"]


class Refusals:
    """Counts and raises.

    Args:
        settings: What the client can hold.
        gate: Has the callbacks that wait for the application.

    Attributes:
        records: Records that were refused.
        bytes: Their bytes.
        raises: The exception's class, for clients that have one of their own for a full buffer.
    """

    def __init__(self, settings: ClientSettings, gate: Gate) -> None:
        self.records = self.bytes = 0
        self.raises: type[Rejected] = Rejected
        self._settings = settings
        self._gate = gate
        # Reentrant: a signal handler may produce in the middle of a count.
        self._lock = threading.RLock()

    def orphan(self) -> None:
        """Renew the lock in a forked child."""
        self._lock = threading.RLock()

    def reject(
        self,
        statistics: Callable[[], Statistics],
        topic: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        waited: float,
        reason: str,
        policy: Policy | None,
    ) -> None:
        """Refuse a record, and say how things stand.

        Raises:
            Rejected: Always.
        """
        self._count(args, kwargs)
        if reason == "draining":
            words, retry_after = draining(topic), None
        else:
            words, retry_after = how_it_stands(statistics(), topic, waited, policy)
        raise self.raises(words, topic=topic, reason=reason, waited=waited, retry_after=retry_after)

    def refuse_what_never_fits(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refuse a value that is larger than the client's whole buffer."""
        # The client raises BufferError for such a value for ever: waiting for room would never end.
        value = args[1] if len(args) > 1 else kwargs.get("value")
        size = len(value) if isinstance(value, (bytes, str)) else 0
        if size > self._settings.buffer_bytes:
            self._count(args, kwargs)
            topic = args[0] if args else kwargs["topic"]
            raise self.raises(
                too_large(topic, size, self._settings.buffer_bytes), topic=topic, reason="too_large"
            )

    def refuse_unpolled(
        self, topic: str, args: tuple[Any, ...], kwargs: dict[str, Any], waited: float = 0.0
    ) -> None:
        """Refuse a record when too many callbacks wait for the application."""
        # As with the client, which counts a record until its callback has run.
        if len(self._gate.deferred) >= self._settings.max_messages:
            self._count(args, kwargs)
            words = unpolled(topic, len(self._gate.deferred))
            raise self.raises(words, topic=topic, reason="callbacks", waited=waited)

    def _count(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with self._lock:
            self.records += 1
            self.bytes += bytes_of_call(args, kwargs)

    def count_batch(self, records: int, size: int) -> None:
        """Count records of a batch that found no room."""
        with self._lock:
            self.records += records
            self.bytes += size
