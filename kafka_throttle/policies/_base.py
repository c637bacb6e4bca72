"""What every policy is."""

from __future__ import annotations

from typing import ClassVar

from kafka_throttle._fields import Configured, configured

__all__ = ["Policy"]


@configured
class Policy(Configured):
    """What happens to a record that finds the edge reached; subclasses say which and hold its settings.

    A policy is data: the engine and the facades act on it.

    Attributes:
        can_lose: Whether records may be discarded under it.
    """

    can_lose: ClassVar[bool] = False

    def __attrs_post_init__(self) -> None:
        """Check the settings as every configuration class does."""
        if type(self) is Policy:
            raise TypeError("Policy is abstract; use a policy such as Block() or Reject()")
        super().__attrs_post_init__()
