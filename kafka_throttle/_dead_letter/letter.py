"""`Letter`: a record that was put aside, with what is known of why."""

from __future__ import annotations

from attrs import frozen

__all__ = ["Headers", "Letter"]

Headers = tuple[tuple[str, "bytes | None"], ...]


@frozen(kw_only=True)
class Letter:
    """A dead letter.

    Attributes:
        topic: The topic that the record was meant for.
        partition: Its partition, or None when the client was to choose.
        key: Its key, or None.
        value: Its value, or None.
        headers: Names and values of its headers in order, duplicates kept.
        timestamp: Its timestamp in milliseconds since the epoch, 0 when the client was to choose.
        policy: The name of the policy that put it aside: ``"dead_letter"``.
        reason: One word for programs, why it was put aside: ``"limit"``, ``"failed"``.
        attempts: How often it was given to a client.
        first_seen: When it was offered, in seconds since the epoch.
        record_id: Bytes that tell it from every other record, or None.
        error: The client's words for its failure, or None when it did not fail.
        error_name: The client's name for its failure, such as ``"_MSG_TIMED_OUT"``, or None.
    """

    topic: str
    partition: int | None = None
    key: bytes | None = None
    value: bytes | None = None
    headers: Headers = ()
    timestamp: int = 0
    policy: str
    reason: str
    attempts: int = 0
    first_seen: float
    record_id: bytes | None = None
    error: str | None = None
    error_name: str | None = None
