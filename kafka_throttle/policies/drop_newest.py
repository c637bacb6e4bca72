"""The policy that gives up the record that comes last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from kafka_throttle._fields import configured, count
from kafka_throttle.policies._base import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DropNewest"]


@configured
class DropNewest(Policy):
    """Shed the record that finds no room: ``produce()`` returns, and the record's callback is told.

    For records of which the earlier ones are worth more. It takes every record, so that nothing can come after it.

    Attributes:
        max_records: Records that are held in memory before any is shed.
    """

    can_lose: ClassVar[bool] = True

    max_records: int = count(default=0, doc="Records held in memory before any is shed.")
    then: Any = attrs.field(default=None, kw_only=True)

    def _problems(self) -> Iterator[str]:
        if self.then is not None:
            yield f"then: {self.then!r} can never be reached, because DropNewest takes every record; allowed: none"
