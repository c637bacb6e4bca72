"""What a sink of dead letters is, and which one a policy means."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kafka_throttle._dead_letter.letter import Letter
    from kafka_throttle.policies.dead_letter import DeadLetter

__all__ = ["Done", "Sink", "open_sink"]

Done = Callable[["BaseException | None"], None]


class Sink(Protocol):
    """Takes dead letters; its methods may be called from any thread."""

    @property
    @abstractmethod
    def pending(self) -> int:
        """Letters written whose `done` was not called yet."""

    @abstractmethod
    def write(self, letter: Letter, done: Done) -> None:
        """Take a letter.

        Args:
            letter: The letter.
            done: Called exactly once, from any thread, when `write` did not raise: with None when the letter has
                arrived, else with the reason why it has not. It must neither block nor call the sink's `flush` or
                `close`.

        Raises:
            DeadLetterError: When it can be told at once that the letter cannot be taken; nothing is kept of it, and
                `done` is not called.
        """

    @abstractmethod
    def flush(self, timeout: float | None = None) -> int:
        """Wait until nothing is pending.

        Args:
            timeout: Longest wait in seconds, None for any.

        Returns:
            Letters that still are pending.
        """

    @abstractmethod
    def close(self, timeout: float | None = None) -> int:
        """Flush, then take nothing any more; what is pending after the timeout is given up.

        Args:
            timeout: Longest wait for what is pending, in seconds, None for any.

        Returns:
            Letters that were given up; the `done` of each is called with the reason.
        """


def open_sink(policy: DeadLetter, conf: Mapping[str, Any]) -> Sink:
    """Return the sink that a policy means.

    Args:
        policy: The policy.
        conf: The configuration of the producer's client, used where the policy has none of its own.

    Raises:
        DeadLetterError: When a file cannot be opened. A topic is first tried when a letter is written.
    """
    if policy.file is not None:
        from kafka_throttle._dead_letter.file_sink import FileSink  # noqa: PLC0415 (the client's sink needs no file)

        return FileSink(policy.file, policy.max_bytes, policy.files)
    from kafka_throttle._dead_letter.topic_sink import TopicSink  # noqa: PLC0415 (the file sink needs no client)

    chosen = conf if policy.client is None else policy.client
    return TopicSink(chosen, str(policy.topic), dialect=policy.headers, max_records=policy.max_records)
