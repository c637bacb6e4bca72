"""The policy that keeps records on disk until Kafka takes them."""

from __future__ import annotations

from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from kafka_throttle._fields import (
    OptionalByteSize,
    OptionalSeconds,
    byte_size,
    choice,
    configured,
    make_field,
    ratio,
    seconds,
    text,
)
from kafka_throttle._kinds import Scalar
from kafka_throttle._units import shown
from kafka_throttle.policies._base import Policy, then_field
from kafka_throttle.policies.block import Block

if TYPE_CHECKING:
    from kafka_throttle._fields import Lenient

    Directory = Lenient[str, str | PathLike[str]]
else:
    Directory = Any

__all__ = ["Spill"]


def _to_directory(raw: object) -> str:
    path = fspath(raw) if isinstance(raw, (str, PathLike)) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise ValueError(f"{shown(raw)} is not a directory's path")
    return path


@configured
class Spill(Policy):
    """Put records that find no room on disk, and send them in their order when there is room.

    What is on disk survives the end of the process: whoever opens the directory next sends it, at least once. The
    callback of a record is called when it is delivered, as long as the process lives.

    Attributes:
        directory: Where; one producer at a time may have it.
        when: ``"overload"``: only what finds no room. ``"always"``: every record, before the client gets it (an outbox).
        commit: ``"group"``: on disk a few milliseconds after produce() has returned. ``"record"``: before.
        fsync: What survives the end of the machine. ``"off"``: left to the system. ``"normal"``: all but what was
            committed last. ``"full"``: everything.
        max_bytes: Bytes on disk at most; None for no limit.
        max_age: Seconds after which a record is shed; None for never. Needs an approval, as it loses data.
        record_id_header: Name of a header with 16 bytes that are the same whenever the record is sent again, for
            consumers that deduplicate; None for none.
        share: Share of the room in the client that may be used for what comes from the disk while other records come.
        resolve: When the future of a record that was put on disk is resolved, in the asyncio facades: ``"commit"``: once it
            is on disk, with a `Spilled`. ``"delivery"``: with its delivery.
        then: What happens when the disk cannot take a record.
    """

    takes_failures: ClassVar[bool] = True

    directory: Directory = make_field(
        Scalar("a directory's path", _to_directory, choices="the path of a directory"),
        attrs.NOTHING,
        doc="Where; one producer at a time may have it.",
        kw_only=False,
    )
    when: str = choice(
        default="overload", options=("overload", "always"), doc="Only what finds no room, or every record."
    )
    commit: str = choice(
        default="group", options=("group", "record"), doc="On disk soon after produce() returned, or before."
    )
    fsync: str = choice(
        default="normal", options=("off", "normal", "full"), doc="How much survives the end of the machine."
    )
    max_bytes: OptionalByteSize = byte_size(
        default=None, minimum="256 KiB", optional=True, doc="Bytes on disk at most; none for no limit."
    )
    max_age: OptionalSeconds = seconds(
        default=None,
        above=0,
        optional=True,
        doc="Time after which a record on disk is shed, which needs an approval; none for never.",
    )
    record_id_header: str | None = text(
        default=None, optional=True, doc="Name of a header with an identity for consumers that deduplicate."
    )
    share: float = ratio(
        default=0.5, above=0, doc="Share of the room for what comes from the disk while other records come."
    )
    resolve: str = choice(
        default="commit",
        options=("commit", "delivery"),
        doc="When the future of a record on disk is resolved (asyncio): once it is on disk, or delivered.",
    )
    then: Policy = then_field(Block(), "What happens when the disk cannot take a record.")

    @property
    def may_lose(self) -> bool:
        """Whether records may be discarded under it: when they can become too old."""
        return self.max_age is not None
