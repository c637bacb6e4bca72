"""Where dead letters are read from: a file with its older ones, or a topic."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import click
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kafka_throttle._dead_letter import Letter

__all__ = ["Found", "Source", "open_source", "topic_of"]

_SCHEME = "kafka://"


@frozen
class Found:
    """What was found in one place.

    Attributes:
        place: Where, for people.
        letter: The letter, or None when there is none that can be read.
        problem: Why it cannot be read.
        weight: Its share of the size of the source.
        mark: By what the source knows it again.
    """

    place: str
    letter: Letter | None
    problem: str
    weight: int
    mark: Any


class Source(Protocol):
    """Letters in order, oldest first."""

    name: str
    """What it is, for people."""

    size: int
    """Sum of the weights of what will be read, about."""

    @abstractmethod
    def count(self) -> int:
        """Return how many letters there are, about."""

    @abstractmethod
    def read(self) -> Iterator[Found]:
        """Yield what there is."""

    @abstractmethod
    def claim(self) -> None:
        """Keep others from taking letters out; before `read`."""

    @abstractmethod
    def settle(self, found: Found, *, delivered: bool) -> None:
        """Note what became of a letter; in the order of `read`."""

    @abstractmethod
    def save(self) -> None:
        """Have what was delivered not come again, as far as that can be done already."""

    @abstractmethod
    def close(self) -> int:
        """Save the rest, and let go.

        Returns:
            Letters that were delivered and will come again all the same.
        """


def topic_of(source: str) -> tuple[str, str] | None:
    """Return bootstrap servers and topic of a ``kafka://`` address, or None for the path of a file.

    Raises:
        click.BadParameter: It begins like such an address and is none.
    """
    if not source.startswith(_SCHEME):
        return None
    parts = urlsplit(source)
    topic = parts.path.removeprefix("/")
    if not parts.netloc or "@" in parts.netloc or not topic or "/" in topic or parts.query or parts.fragment:
        raise click.BadParameter(
            f"{source!r} is neither the path of a file nor kafka://HOST:PORT/TOPIC", param_hint="SOURCE"
        )
    return parts.netloc, topic


def open_source(source: str, settings: Mapping[str, str], group: str | None) -> Source:
    """Return the source that an argument means.

    Args:
        source: The argument.
        settings: Client settings for a topic.
        group: The consumer group whose offsets say where to begin in a topic; None for its beginning.

    Raises:
        click.BadParameter: The argument means none.
        DeadLetterError: It cannot be read.
    """
    address = topic_of(source)
    if address is None:
        from kafka_throttle.cli.dead_letters.file_source import FileSource  # noqa: PLC0415 (one of the two)

        return FileSource(source)
    from kafka_throttle.cli.dead_letters.topic_source import TopicSource  # noqa: PLC0415 (loads the client)

    bootstrap, topic = address
    return TopicSource({**settings, "bootstrap.servers": bootstrap}, topic, group)
