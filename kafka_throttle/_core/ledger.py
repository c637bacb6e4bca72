"""The ledger: where every record is, so that what was offered is the sum of its outcomes.

The client's own counters know the records that were handed to it. The ledger knows the others, and those that the
client reported as failed and that were not given up: spilled again, or written to the dead letters. With

    offered = records handed over by produce() + those kept at first + those shed, dead-lettered or rejected + recovered

the sum rejected + held + spooled + in flight + delivered + failed + unknown + shed + dead-lettered is the same number,
because each movement below takes a record from one place and puts it into another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

if TYPE_CHECKING:
    from kafka_throttle._core.window import Reading

__all__ = ["Amount", "Ledger", "Loss"]


@define
class Amount:
    """Records and their bytes (values and keys)."""

    records: int = 0
    bytes: int = 0

    def add(self, records: int, size: int) -> None:
        """Add to both."""
        self.records += records
        self.bytes += size


@frozen(kw_only=True)
class Loss:
    """Records of one topic that were given up for one reason.

    Attributes:
        topic: The topic.
        policy: The policy that gave them up.
        reason: Why, in one word.
        count: How many.
        bytes: Bytes of their values and keys.
        first: When the first was given up, in seconds since the epoch.
        last: When the last was.
        approved_by: Who approved it.
    """

    topic: str
    policy: str
    reason: str
    count: int
    bytes: int
    first: float
    last: float
    approved_by: str | None


@define
class Ledger:
    """Counts what the client does not know of; see the module. The caller holds a lock.

    Attributes:
        offered: What was offered and did not go straight to the client, rejected records not included.
        handed: What went from here to the client.
        held: What is held in memory.
        spooled: What is on disk, or waits to be, and not in the client.
        shed: What was given up.
        dead_lettered: What was written to the dead letters.
        recovered: What an earlier process had left on disk.
        refused: What was kept here and the client then refused: it counts as failed.
        stranded: What was never sent and found no other place either: it counts as failed.
        retaken_failed: What the client reported as failed and was taken back.
        retaken_unknown: What it reported as failed and perhaps written, and was taken back.
        losses: What was given up, by topic and reason.
    """

    offered: Amount = field(factory=Amount)
    handed: Amount = field(factory=Amount)
    held: Amount = field(factory=Amount)
    spooled: Amount = field(factory=Amount)
    shed: Amount = field(factory=Amount)
    dead_lettered: Amount = field(factory=Amount)
    recovered: Amount = field(factory=Amount)
    refused: Amount = field(factory=Amount)
    stranded: Amount = field(factory=Amount)
    retaken_failed: Amount = field(factory=Amount)
    retaken_unknown: Amount = field(factory=Amount)
    losses: dict[tuple[str, str], Loss] = field(factory=dict)

    def lose(
        self, topic: str, policy: str, reason: str, size: int, now: float, approved_by: str | None
    ) -> None:
        """Count one record that is given up."""
        self.shed.add(1, size)
        key = (topic, reason)
        known = self.losses.get(key)
        if known is None:
            self.losses[key] = Loss(
                topic=topic,
                policy=policy,
                reason=reason,
                count=1,
                bytes=size,
                first=now,
                last=now,
                approved_by=approved_by,
            )
        else:
            self.losses[key] = evolve(known, count=known.count + 1, bytes=known.bytes + size, last=now)

    def lose_damaged(self, directory: str, records: int, size: int, now: float) -> None:
        """Count records that damage on disk made unreadable; their topics are not known."""
        self.shed.add(records, size)
        key = (directory, "damaged")
        known = self.losses.get(key)
        self.losses[key] = Loss(
            topic=directory,
            policy="Spill",
            reason="damaged",
            count=records + (known.count if known else 0),
            bytes=size + (known.bytes if known else 0),
            first=known.first if known else now,
            last=now,
            approved_by=None,
        )

    def balance(self, reading: Reading, rejected: int, rejected_bytes: int) -> dict[str, int]:
        """Return the counts that a user sees.

        Args:
            reading: All counters of the client.
            rejected: Records that produce() refused.
            rejected_bytes: Their bytes.
        """
        records = self._balance(
            "records",
            rejected,
            (reading.admitted, reading.in_flight, reading.acked, reading.failed, reading.unknown),
        )
        sizes = self._balance(
            "bytes",
            rejected_bytes,
            (
                reading.admitted_bytes,
                reading.in_flight_bytes,
                reading.acked_bytes,
                reading.failed_bytes,
                reading.unknown_bytes,
            ),
        )
        return {**records, **{f"{name}_bytes": size for name, size in sizes.items()}}

    def _balance(self, what: str, rejected: int, client: tuple[int, int, int, int, int]) -> dict[str, int]:
        admitted, in_flight, acked, failed, unknown = client

        def of(amount: Amount) -> int:
            return amount.records if what == "records" else amount.bytes

        # Whether a failed record may have been written is known to the client's counters alone. What was taken back
        # is put to one of them by its error; the sum is right, and neither goes below nothing.
        retaken_unknown = min(unknown, of(self.retaken_unknown))
        retaken_failed = of(self.retaken_failed) + of(self.retaken_unknown) - retaken_unknown
        beyond = max(0, retaken_failed - failed)
        return {
            "offered": admitted - of(self.handed) + of(self.offered) + of(self.recovered) + rejected,
            "rejected": rejected,
            "held": of(self.held),
            "spooled": of(self.spooled),
            "in_flight": in_flight,
            "delivered": acked - failed - unknown,
            "failed": failed + of(self.refused) + of(self.stranded) - retaken_failed + beyond,
            "unknown": unknown - retaken_unknown - beyond,
            "shed": of(self.shed),
            "dead_lettered": of(self.dead_lettered),
        }
