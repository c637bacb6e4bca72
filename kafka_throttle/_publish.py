"""Events go to the hooks and to the log; neither can disturb a produce()."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from kafka_throttle._units import format_bytes
from kafka_throttle.events import Event, ThrottlingEnded, ThrottlingStarted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Publisher", "logger"]

logger = logging.getLogger("kafka_throttle")

# One pair of lines in this time; spells in between are counted and told with the next line.
_QUIET = 10.0


class Publisher:
    """Hands events to hooks and says once, in plain words, when throttling starts and ends.

    Attributes:
        hook_errors: Exceptions that hooks raised.
        hooks: The hooks.
    """

    def __init__(self, client_id: str, hooks: Sequence[Callable[[Any], object]]) -> None:
        self.hook_errors = 0
        self._client_id = client_id
        self.hooks = hooks
        self._complained: set[int] = set()
        self._logged_at = -1e9
        self._unlogged = 0
        self._told_start = False

    def publish(self, events: Iterable[Event]) -> None:
        """Hand events to the log and to every hook."""
        for event in events:
            self._log(event)
            for number, hook in enumerate(self.hooks):
                self._call(number, hook, event)

    def _call(self, number: int, hook: Callable[[Any], object], event: Event) -> None:
        try:
            hook(event)
        except Exception:  # a hook is a guest: whatever it raises, the record it was told about goes its way
            self.hook_errors += 1
            if number not in self._complained:
                self._complained.add(number)
                logger.exception("%s: hook %r failed on %r; it is logged once", self._client_id, hook, event)

    def _log(self, event: Event) -> None:
        if isinstance(event, ThrottlingStarted):
            if event.at - self._logged_at < _QUIET:
                self._unlogged += 1
                return
            self._logged_at = event.at
            self._told_start = True
            logger.warning(
                "%s: throttling: %s; %d records are in flight and the limit is %d%s",
                self._client_id,
                _cause(event),
                event.in_flight,
                event.limit,
                f" ({self._unlogged} short spells before this were not logged)" if self._unlogged else "",
            )
            self._unlogged = 0
        elif isinstance(event, ThrottlingEnded) and self._told_start:
            self._told_start = False
            logger.info(
                "%s: no longer throttling: Kafka keeps up again, after %.1f s", self._client_id, event.lasted
            )


def _cause(event: ThrottlingStarted) -> str:
    if event.broker_quota is None:
        return "Kafka takes less than is offered"
    return f"more is offered than a broker's quota of {format_bytes(event.broker_quota)}/s allows"
