"""What kafka_throttle raises.

```
ThrottleError
├── Rejected             (also a BufferError: raised where the client would raise its queue-full BufferError)
├── ConfigurationError   (also a ValueError)
│   └── LossNotApproved
├── SpoolError           (also an OSError)
│   ├── SpoolCorrupt
│   ├── SpoolFull
│   └── SpoolLocked
├── Shed                 (asyncio; also a KafkaException, or aiokafka's KafkaError)
├── DeadLetterError
├── CallbackReentryError (also a RuntimeError)
└── ForkedProducerError  (also a RuntimeError)
```

Errors of the client itself (``KafkaException``, ``BufferError``, ``TypeError``) pass through unchanged.
"""

from __future__ import annotations

__all__ = [
    "CallbackReentryError",
    "ConfigurationError",
    "DeadLetterError",
    "ForkedProducerError",
    "LossNotApproved",
    "Rejected",
    "Shed",
    "SpoolCorrupt",
    "SpoolError",
    "SpoolFull",
    "SpoolLocked",
    "ThrottleError",
]


class ThrottleError(Exception):
    """Root of everything that kafka_throttle itself raises."""


class Rejected(ThrottleError, BufferError):
    """The record was not accepted; nothing of it was kept, and it may be offered again.

    Attributes:
        topic: The topic of the record.
        reason: One word for programs: ``"limit"``, ``"deadline"``, ``"too_large"``, ``"callbacks"``,
            ``"draining"``, ``"closed"``.
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


class Shed(ThrottleError):
    """What the future of a record raises that its rule gave up, or wrote to the dead letters.

    Attributes:
        topic: The topic of the record.
        policy: Name of the policy.
        reason: Why, in one word.
    """

    def __init__(self, message: object, *, topic: str | None, policy: str, reason: str) -> None:
        super().__init__(message)
        self.topic = topic
        self.policy = policy
        self.reason = reason


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


class DeadLetterError(ThrottleError):
    """A dead letter could not be written, or what was read is none; the message says where and why."""


class SpoolError(ThrottleError, OSError):
    """The disk queue could not do it now; what was committed stays, and the spool goes on when the cause is gone.

    Attributes:
        directory: The spool's directory.
        errno: The system's error number, or None when it is not known.
    """

    def __init__(self, message: str, *, directory: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.directory = directory
        self.errno = errno


class SpoolFull(SpoolError):
    """The record would not fit under the spool's ``max_bytes``; nothing of it was kept."""


class SpoolCorrupt(SpoolError):
    """Something in the spool's directory cannot be read, and could not be set aside either."""


class SpoolLocked(SpoolError):
    """Another process has the directory.

    Attributes:
        pid: The process that owns it, or None when it did not say.
    """

    def __init__(self, message: str, *, directory: str, pid: int | None) -> None:
        super().__init__(message, directory=directory)
        self.pid = pid


def known_as(public: type[ThrottleError], own: type[ThrottleError]) -> None:
    """Have a class that is a client's exception, too, appear in tracebacks under its public name."""
    own.__module__, own.__name__, own.__qualname__ = public.__module__, public.__name__, public.__qualname__
