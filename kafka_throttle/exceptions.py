"""What kafka_throttle raises.

```
ThrottleError
├── Rejected             (also a BufferError: raised where the client would raise its queue-full BufferError)
├── ConfigurationError   (also a ValueError)
│   └── LossNotApproved
├── CallbackReentryError (also a RuntimeError)
└── ForkedProducerError  (also a RuntimeError)
```

Errors of the client itself (``KafkaException``, ``BufferError``, ``TypeError``) pass through unchanged.
"""

from __future__ import annotations

__all__ = [
    "CallbackReentryError",
    "ConfigurationError",
    "ForkedProducerError",
    "LossNotApproved",
    "Rejected",
    "ThrottleError",
]


class ThrottleError(Exception):
    """Root of everything that kafka_throttle itself raises."""


class Rejected(ThrottleError, BufferError):
    """The record was not accepted; nothing of it was kept, and it may be offered again.

    Attributes:
        topic: The topic of the record.
        reason: One word for programs: ``"limit"``, ``"deadline"``, ``"too_large"``, ``"callbacks"``, ``"reentrant"``.
        waited: How long the call waited, in seconds.
        retry_after: Seconds after which another try is sensible, or None when waiting cannot help.
    """

    def __init__(
        self,
        message: str,
        *,
        topic: str | None = None,
        reason: str = "limit",
        waited: float = 0.0,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.topic = topic
        self.reason = reason
        self.waited = waited
        self.retry_after = retry_after


class ConfigurationError(ThrottleError, ValueError):
    """The configuration cannot be used; the message lists every problem that was found.

    Attributes:
        problems: One line per problem, each naming the key, the value and what is allowed.
    """

    def __init__(self, *problems: str) -> None:
        self.problems: tuple[str, ...] = problems
        super().__init__("\n".join(problems))


class LossNotApproved(ConfigurationError):
    """A policy that can lose data was configured without ``loss_approved_by``."""


class CallbackReentryError(ThrottleError, RuntimeError):
    """A waiting call (poll, flush, list_topics, ...) was made from inside a callback of the same producer.

    The client itself aborts the whole process here.
    """


class ForkedProducerError(ThrottleError, RuntimeError):
    """A producer created before ``os.fork()`` was used in the child, where the client would send nothing."""
