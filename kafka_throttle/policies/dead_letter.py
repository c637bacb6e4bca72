"""The policy that puts a record aside, with what is known of why."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from kafka_throttle._fields import ByteSize, byte_size, choice, configured, count, kind_of, make_field
from kafka_throttle._kinds import Scalar
from kafka_throttle._units import shown
from kafka_throttle.policies._base import Policy, then_field
from kafka_throttle.policies._client import to_client_conf
from kafka_throttle.policies.block import Block

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kafka_throttle._fields import Lenient

    ClientConf = Lenient[Mapping[str, Any] | None, Mapping[str, str | int | float | bool] | None]
    FilePath = Lenient[str | None, str | os.PathLike[str] | None]

__all__ = ["DIALECTS", "DeadLetter"]

DIALECTS = ("native", "connect", "spring", "smallrye")
"""The conventions for the headers of dead letters in a topic."""

_TOPIC = re.compile(r"(?:[A-Za-z0-9._-]|\{topic\})+")
_OF_TOPICS = ("client", "headers", "max_records")
_OF_FILES = ("max_bytes", "files")


def _to_topic(raw: object) -> str:
    if not isinstance(raw, str) or not _TOPIC.fullmatch(raw):
        raise ValueError(f"{shown(raw)} is not a topic name")
    return raw


def _to_path(raw: object) -> str:
    try:
        path = os.fspath(raw)  # type: ignore[call-overload]
    except TypeError:
        path = None
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise ValueError(f"{shown(raw)} is not the path of a file")
    return path


@configured
class DeadLetter(Policy):
    """Write the record to a topic or a file of dead letters, with what is known of why.

    The record is accepted, and reported as dead-lettered. When it cannot be written, `then` holds.

    Attributes:
        topic: Topic of the dead letters; ``{topic}`` stands for the record's own: ``"{topic}-dlt"``.
        file: Path of the file of dead letters, in place of a topic: JSON lines that only their owner may read.
        client: Whole configuration of a client of another cluster; None for that of the producer.
        headers: The convention for the headers of dead letters in a topic.
        max_records: Most dead letters that wait for their topic.
        max_bytes: Size at which a file is full and the next one is begun.
        files: How many files there may be in all; None for any number. Nothing is deleted to make room.
        then: What happens to a record whose dead letter cannot be written.
    """

    takes_failures: ClassVar[bool] = True

    topic: str | None = make_field(
        Scalar(
            "a topic name", _to_topic, choices="letters, digits, . _ - and the text {topic}", optional=True
        ),
        None,
        doc="Topic of the dead letters; `{topic}` stands for the record's own: `{topic}-dlt`.",
        kw_only=False,
    )
    file: FilePath = make_field(
        Scalar("a path", _to_path, choices="the path of a file", optional=True),
        None,
        doc="Path of the file of dead letters, in place of a topic.",
        kw_only=False,
    )
    client: ClientConf = make_field(
        Scalar(
            "a client configuration",
            to_client_conf,
            choices="a mapping of client settings, each to a text, a number, true or false",
            optional=True,
        ),
        None,
        doc="Whole configuration of a client of another cluster; none for that of the producer.",
        kw_only=False,
    )
    headers: str = choice(
        default="native",
        options=DIALECTS,
        doc="The convention for the headers of dead letters in a topic.",
    )
    max_records: int = count(default=10_000, minimum=1, doc="Most dead letters that wait for their topic.")
    max_bytes: ByteSize = byte_size(
        default="64 MiB", minimum="1 KiB", doc="Size at which a file is full and the next one is begun."
    )
    files: int | None = count(
        default=5,
        minimum=1,
        optional=True,
        doc="How many files there may be in all; nothing is deleted to make room.",
    )
    then: Policy = then_field(Block(), "What happens to a record whose dead letter cannot be written.")

    def _problems(self) -> Iterator[str]:
        if self.topic is None and self.file is None:
            yield "topic: neither a topic nor a file is given; allowed: exactly one of topic and file"
        elif self.topic is not None and self.file is not None:
            yield (
                f"file: {self.file!r} and the topic {self.topic!r} are both given; "
                "allowed: exactly one of topic and file"
            )
        elif self.topic is None:
            yield from self._out_of_place(_OF_TOPICS, "topic")
        else:
            yield from self._out_of_place(_OF_FILES, "file")
            yield from self._unsendable()

    def _out_of_place(self, names: tuple[str, ...], missing: str) -> Iterator[str]:
        """Yield the settings that were changed and mean nothing, because the sink is of the other kind."""
        for name in names:
            value, attribute = getattr(self, name), attrs.fields_dict(type(self))[name]
            kind = kind_of(attribute)
            if kind is not None and value != kind.normalise(attribute.default):
                yield f"{name}: is set to {shown(value)}; allowed: only with a {missing}"

    def _unsendable(self) -> Iterator[str]:
        if self.client is None and self.topic == "{topic}":
            yield "topic: '{topic}' is the topic of the record itself; allowed: another one, or another cluster by client"
        if self.client is not None and not {"bootstrap.servers", "metadata.broker.list"} & set(self.client):
            yield f"client: {shown(self.client)} names no cluster; allowed: a mapping with bootstrap.servers"
