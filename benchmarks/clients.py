"""Makes the client under test; everything else treats both alike."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

import confluent_kafka

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["gate_of", "make_client", "state_of"]


def make_client(
    client: str, config: Mapping[str, Any], rules: int, limit: int | None, *, policies: bool = False
) -> Any:
    """Return the bare client, or the facade with so many rules.

    Args:
        client: "bare" or "facade".
        config: The client's settings.
        rules: Rules of the facade; all but the last are for topics that do not occur.
        limit: A fixed limit in records; None: AIMD.
        policies: Whether there is a rule with each of the policies, too, for topics that do not occur.
    """
    if client == "bare":
        return confluent_kafka.Producer(dict(config))
    from kafka_throttle import (  # noqa: PLC0415 - the bare client's process must not have it
        AIMD,
        Block,
        Fixed,
        Producer,
        Rule,
        Throttle,
    )

    others = [Rule(f"other-{number}.*", Block(timeout=60)) for number in range(1, rules)]
    if policies:
        others += _one_of_each()
    throttle = Throttle(
        rules=[*others, Rule("*", Block(timeout=60))], limit=AIMD() if limit is None else Fixed(limit)
    )
    return Producer(dict(config), throttle=throttle)


def _one_of_each() -> list[Any]:
    """Return a rule with each of the policies that keep, follow or give up records."""
    from kafka_throttle import (  # noqa: PLC0415 - as above
        Block,
        DeadLetter,
        DropNewest,
        DropOldest,
        Rule,
        Sample,
        Spill,
    )

    directory = tempfile.mkdtemp(prefix="kafka_throttle-policies-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return [
        Rule("spilled.*", Spill(f"{directory}/overload")),
        Rule("outbox.*", Spill(f"{directory}/always", when="always")),
        Rule("newest.*", DropNewest(), loss_approved_by="the benchmark"),
        Rule("oldest.*", DropOldest(), criticality="sheddable", loss_approved_by="the benchmark"),
        Rule("sampled.*", Sample(0.5), loss_approved_by="the benchmark"),
        Rule("letters.*", DeadLetter(file=f"{directory}/letters/dead")),
        Rule(
            "followed.*",
            Block(),
            on_failure=DeadLetter(file=f"{directory}/failed/dead"),
            criticality="critical",
        ),
    ]


def gate_of(producer: Any) -> str:
    """Return which gate the facade uses; "none" for the bare client."""
    return producer.statistics().gate if hasattr(producer, "statistics") else "none"


def state_of(producer: Any) -> Callable[[], tuple[int, int]]:
    """Return a function for (records in the client, limit); the bare client's limit is 0."""
    if not hasattr(producer, "statistics"):
        return lambda: (len(producer), 0)

    def state() -> tuple[int, int]:
        now = producer.statistics()
        return now.in_flight, now.limit_records

    return state
