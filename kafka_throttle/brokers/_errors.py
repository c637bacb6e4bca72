"""What can go wrong with a broker, in one place."""

from __future__ import annotations

from kafka_throttle.exceptions import ThrottleError

__all__ = ["BrokerUnavailable"]


class BrokerUnavailable(ThrottleError, RuntimeError):
    """A broker cannot be had, did not start, or cannot do what was asked of it.

    The message gives the reason and, where there is one, the tail of the broker's log.
    """
