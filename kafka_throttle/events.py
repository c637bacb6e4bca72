"""What hooks are told: frozen events, each named after what has happened.

A hook is any callable that takes one event; give it as ``Throttle(hooks=[hook])``. Hooks run in the thread that found
out, after the facade let go of its lock. A hook that raises is counted and logged once; it never disturbs a produce().
"""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

__all__ = [
    "Event",
    "Hook",
    "LimitDecreased",
    "LimitIncreased",
    "RecordDeadLettered",
    "RecordEvent",
    "RecordReplayed",
    "RecordShed",
    "RecordSpilled",
    "SignalCleared",
    "SignalRaised",
    "ThrottlingEnded",
    "ThrottlingStarted",
]


@frozen(kw_only=True)
class Event:
    """Base of the events.

    Attributes:
        at: When it happened, in seconds of the monotonic clock.
    """

    at: float


@frozen(kw_only=True)
class LimitDecreased(Event):
    """The limit was lowered.

    Attributes:
        before: Records that could be in the client.
        after: Records that may be in it now.
        signal: Name of the signal that asked for it.
    """

    before: int
    after: int
    signal: str


@frozen(kw_only=True)
class LimitIncreased(Event):
    """The limit was raised, because it was reached and nothing spoke against it.

    Attributes:
        before: Records that could be in the client.
        after: Records that may be in it now.
    """

    before: int
    after: int


@frozen(kw_only=True)
class SignalRaised(Event):
    """A signal found something wrong.

    Attributes:
        signal: Its name.
        value: What it measured, in its own unit.
        threshold: The value at which it is raised.
    """

    signal: str
    value: float
    threshold: float


@frozen(kw_only=True)
class SignalCleared(Event):
    """A signal found that things are well again.

    Attributes:
        signal: Its name.
        value: What it measured, in its own unit.
    """

    signal: str
    value: float


@frozen(kw_only=True)
class ThrottlingStarted(Event):
    """Somebody found the gate closed: Kafka takes less than is offered.

    Attributes:
        limit: Records that may be in the client.
        in_flight: Records that are in it.
        broker_quota: A broker's quota that is honoured, in bytes per second; None when none is known.
    """

    limit: int
    in_flight: int
    broker_quota: float | None = None


@frozen(kw_only=True)
class ThrottlingEnded(Event):
    """Nobody found the gate closed for a while.

    Attributes:
        lasted: Seconds since it started.
        limit: Records that may be in the client.
    """

    lasted: float
    limit: int


@frozen(kw_only=True)
class RecordEvent(Event):
    """Base of the events that tell of one record.

    Attributes:
        topic: Its topic.
        bytes: Bytes of its value and key.
    """

    topic: str
    bytes: int


@frozen(kw_only=True)
class RecordShed(RecordEvent):
    """A record was given up, as its rule allows.

    Attributes:
        policy: Name of the policy.
        reason: Why, in one word.
    """

    policy: str
    reason: str


@frozen(kw_only=True)
class RecordSpilled(RecordEvent):
    """A record was put on disk.

    Attributes:
        directory: The spool.
    """

    directory: str


@frozen(kw_only=True)
class RecordReplayed(RecordEvent):
    """A record from the disk was handed to the client."""


@frozen(kw_only=True)
class RecordDeadLettered(RecordEvent):
    """A record was written to the dead letters.

    Attributes:
        policy: Name of the policy that gave it up.
        reason: Why, in one word or in the client's name of the error.
    """

    policy: str
    reason: str


class Hook(Protocol):
    """What a hook looks like."""

    def __call__(self, event: Event, /) -> object:
        """Take one event; return soon."""
