"""`SpooledRecord`: a record as the spool hands it out."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Headers", "SpooledRecord", "weigh_headers"]

Headers = tuple[tuple[str, "bytes | None"], ...]


class SpooledRecord(NamedTuple):
    """A record of the disk queue; a named tuple, because a million of them are built in a second.

    Attributes:
        sequence: Its number: later records have higher ones, also after a restart.
        topic: The topic.
        key: The key, or None.
        value: The value, or None.
        headers: Names and values in order, duplicates kept; None when the record was given without headers.
        timestamp: Milliseconds since the epoch, 0 when the client shall choose.
        partition: The partition, -1 when the client shall choose.
        spooled_at: When it was spooled, in seconds since the epoch.
        origin: Eight random bytes of the segment file that it was written to.
    """

    sequence: int
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers | None
    timestamp: int
    partition: int
    spooled_at: float
    origin: bytes

    @property
    def record_id(self) -> bytes:
        """Sixteen bytes that are the same at every replay, and no other record's."""
        return self.origin + self.sequence.to_bytes(8, "big")

    @property
    def payload_bytes(self) -> int:
        """Bytes of key, value and headers."""
        return len(self.key or b"") + len(self.value or b"") + weigh_headers(self.headers)


def weigh_headers(headers: Headers | None) -> int:
    """Return the bytes of names and values."""
    if not headers:
        return 0
    return sum(len(name.encode()) + len(value or b"") for name, value in headers)
