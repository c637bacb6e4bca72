"""Records that are kept on disk: the way into a spool, and out of it in order."""

from __future__ import annotations

import threading
from bisect import insort
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from kafka_throttle._core.groups import Groups, group_of
from kafka_throttle._publish import logger
from kafka_throttle._records import Record
from kafka_throttle._shedding.untold import Untold
from kafka_throttle._spool import Spool
from kafka_throttle.events import RecordReplayed, RecordSpilled
from kafka_throttle.exceptions import SpoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from kafka_throttle._shedding.books import Books
    from kafka_throttle._shedding.untold import CommitAware
    from kafka_throttle._spool import SpooledRecord
    from kafka_throttle.policies import Spill

__all__ = ["Entry", "Spooled"]

Entry = tuple[int, Record]
"""A record and its number in the spool."""

_READ = 512


class _Callbacks:
    """The callbacks of spooled records, in runs: a million records with one callback take the room of one."""

    def __init__(self) -> None:
        self._runs: deque[list[object]] = deque()

    def add(self, sequence: int, callback: object) -> None:
        """Remember the callback of the record that was appended last."""
        runs = self._runs
        if runs and runs[-1][2] is callback and runs[-1][1] == sequence - 1:
            runs[-1][1] = sequence
        else:
            runs.append([sequence, sequence, callback])

    def take(self, sequence: int) -> Callable[[object, object], object] | None:
        """Return the callback of a record; sequences come in ascending order."""
        runs = self._runs
        while runs and runs[0][1] < sequence:  # type: ignore[operator]
            runs.popleft()
        if runs and runs[0][0] <= sequence:  # type: ignore[operator]
            return runs[0][2]  # type: ignore[return-value]
        return None


class Spooled:
    """One spool of a way: `take` puts records in, `next` gives them out in portions, `done` removes them.

    Three stages: waiting (on disk, not yet read), out (read, in the client), failed (read, and to be sent once more).
    While the disk refuses, "on disk" is the spool's memory.

    Attributes:
        policy: The policy it belongs to.
        spool: The disk queue.
    """

    def __init__(self, policy: Spill, books: Books) -> None:
        """Open the directory.

        Raises:
            SpoolError: It cannot be used, or another process has it.
        """
        self.policy = policy
        self.spool = Spool(
            policy.directory,
            commit=policy.commit,  # type: ignore[arg-type]
            fsync=policy.fsync,  # type: ignore[arg-type]
            max_bytes=policy.max_bytes,
            max_age=policy.max_age,
            clock=books.wall,
        )
        self._books = books
        # Held by a caller for its own record, and by the pump for a whole portion: never for one record at a time from both sides.
        self._lock = threading.RLock()
        # Held while records are read: who reads first has to be first to say what it read.
        self._filling = threading.Lock()
        self._callbacks = _Callbacks()
        self._untold = Untold(policy.directory)
        self.spool.on_commit = self._untold.tell
        self._groups = Groups()
        self._ready: list[Entry] = []
        self._failed: list[Entry] = []
        self._acknowledged: list[int] = []
        self._own_from = self._next = self.spool.opened_at
        self._read_to = 0
        self._lost = self.spool.lost_records
        self._complained = False
        self._always = policy.when == "always"
        self._unposted = 0
        self._unposted_bytes = 0
        self._moved = self._removed = 0
        self._recovered = self.spool.records
        if self._recovered:
            books.ledger.recovered.add(self._recovered, self.spool.payload_bytes)
            books.ledger.spooled.add(self._recovered, self.spool.payload_bytes)

    # ---- in

    def waits(self, group: Hashable) -> bool:
        """Whether a record of this group has to queue here; after a restart all have to, until the past is sent."""
        return self._recovered > 0 or group in self._groups

    @property
    def may_wait(self) -> bool:
        """Whether `take` may have to wait for the disk."""
        return self.spool.may_wait

    @property
    def waiting(self) -> int:
        """Records that are on disk and not in the client."""
        return self._recovered + self._groups.total

    @property
    def out(self) -> int:
        """Records that the client has."""
        return self._moved - self._removed - len(self._acknowledged)

    def take(self, record: Record, *, offered: bool = True) -> bool:
        """Put a record on disk; False when the disk cannot take it now.

        Args:
            record: The record.
            offered: Whether it comes from produce(), and not from a failed delivery.
        """
        topic, value, key, partition, timestamp, headers, *_ = record
        with self._lock:
            try:
                sequence = self.spool.append(topic, key, value, headers, timestamp, partition)
            except (SpoolError, ValueError) as error:
                self._complain(error, "the next policy takes over")
                return False
            except BaseException:  # Ctrl-C: produce() raises, and the record may be in the spool all the same
                if self.spool.next_sequence > self._next:
                    self._enter(record, self._next, offered=offered)
                raise
            self._enter(record, sequence, offered=offered)
        if self._complained:
            self._complained = (
                self.spool.trouble is not None
            )  # one record is let in now and then, to try the disk
        if self._books.watched:
            self._books.note(RecordSpilled, record, directory=self.policy.directory)
        return True

    def _enter(self, record: Record, sequence: int, *, offered: bool) -> None:
        self._next = sequence + 1
        self._groups.add(group_of(record.topic, record.key, record.partition))
        callback = record.callback
        if callback is not None:
            if hasattr(callback, "committed"):
                self._untold.add(sequence, record.topic, cast("CommitAware", callback))
            else:
                self._callbacks.add(sequence, callback)
        if offered:
            self._unposted += 1
            self._unposted_bytes += record.size
        else:
            with self._books.lock:
                self._books.ledger.spooled.add(1, record.size)

    def post(self) -> None:
        """Enter into the ledger what was put on disk since: the ledger's lock for each record would cost too much."""
        with self._lock:
            self._post()

    def _post(self) -> None:
        records, size = self._unposted, self._unposted_bytes
        if records:
            self._unposted = self._unposted_bytes = 0
            with self._books.lock:
                self._books.ledger.offered.add(records, size)
                self._books.ledger.spooled.add(records, size)

    def _complain(self, error: Exception, consequence: str) -> None:
        if not self._complained:
            self._complained = True
            logger.warning("%s: %s until it is mended", error, consequence)

    # ---- out

    def next(self, most: int) -> list[Entry]:
        """Return the records whose turn it is; `moved`, `refused` and `put_back` follow.

        Args:
            most: How many at most.

        Raises:
            SpoolError: The disk cannot be read.
        """
        with self._filling:
            if not self._ready and not self._failed:
                self._fill()
        with self._lock:
            self._shed_stale()
            source = self._failed or self._ready
            entries = source[:most]
            del source[:most]
            return entries

    def _shed_stale(self) -> None:
        """Give up what has become too old since it was read."""
        if self.policy.max_age is None:
            return
        oldest = self._books.wall() - self.policy.max_age
        fresh = 0
        while fresh < len(self._ready) and self._ready[fresh][1].first_seen < oldest:
            fresh += 1
        if fresh:
            self._give_up(self._ready[:fresh])
            del self._ready[:fresh]

    def _give_up(self, entries: list[Entry]) -> None:
        self._leave(entries)
        with self._books.lock:
            for _, record in entries:
                self._books.shed_kept(record, self.policy, "max_age")
        self.spool.acknowledge([sequence for sequence, _ in entries])

    def _fill(self) -> None:
        """Read on; the caller has `_filling`."""
        if not self.spool.waiting and self.policy.max_age is None:
            self._forget_lost()
            return
        records = self.spool.read(_READ)
        trouble = self.spool.trouble
        if trouble is not None and records:
            self._complain(trouble, "what waits for it is sent from memory")
        # Reading passes over what is too old; callbacks are found in the order of the sequences.
        expired = self.spool.expire(_READ) if self.policy.max_age is not None else []
        if not records and not expired:
            self._forget_lost()
            return
        with self._lock:  # whoever has put the youngest of them on disk has remembered its callback by now
            self._read_to = max(records[-1:] + expired[-1:])[0] + 1
            if expired:
                self._sort_out(records, expired)
            else:
                self._ready.extend(map(self._entry, records))

    def _sort_out(self, records: list[SpooledRecord], expired: list[SpooledRecord]) -> None:
        old = {spooled.sequence for spooled in expired}
        gone: list[Entry] = []
        for spooled in sorted([*records, *expired], key=_sequence_of):
            (gone if spooled.sequence in old else self._ready).append(self._entry(spooled))
        self._give_up(gone)

    def _entry(self, spooled: SpooledRecord) -> Entry:
        sequence, topic, key, value, headers, timestamp, partition, spooled_at, _ = spooled
        if self.policy.record_id_header is not None:
            headers = (*(headers or ()), (self.policy.record_id_header, spooled.record_id))
        size = (len(value) if value else 0) + (len(key) if key else 0)
        callback = self._untold.take(sequence) or self._callbacks.take(sequence)
        return sequence, Record(topic, value, key, partition, timestamp, headers, callback, size, spooled_at)

    def expire(self) -> None:
        """Shed what is too old, when nothing else is to be read before."""
        if self.policy.max_age is None or not self.waiting or not self._filling.acquire(blocking=False):
            return
        try:
            if not self._ready:
                self._fill()
        finally:
            self._filling.release()

    def _leave(self, entries: Iterable[Entry]) -> tuple[int, int]:
        """Take records out of the count of those on disk, and return how many they are and what they weigh."""
        self._post()
        records = size = surplus = 0
        for sequence, record in entries:
            records += 1
            size += record.size
            if sequence < self._own_from and not record.attempts:
                self._recovered -= 1
                # What an earlier process left is weighed with its headers, as nobody has read it yet.
                surplus += self._surplus(record)
            else:
                self._groups.remove(group_of(record.topic, record.key, record.partition))
        with self._books.lock:
            self._books.ledger.recovered.add(0, -surplus)
            self._books.ledger.spooled.add(-records, -size - surplus)
        return records, size

    def _surplus(self, record: Record) -> int:
        headers = record.headers or ()
        if self.policy.record_id_header is not None:
            headers = headers[:-1]
        return sum(len(name.encode()) + len(value or b"") for name, value in headers)

    def _forget_lost(self) -> None:
        """Settle the count when everything was read: what is missing was lost to damage, and set aside."""
        with self._lock:
            if self._ready or self._failed or self.spool.waiting:
                return
            missing = self._recovered + self._groups.total
            if not missing or self.spool.records > self.out + len(self._acknowledged):
                return
            self._post()
            with self._books.lock:
                ledger = self._books.ledger
                size = ledger.spooled.bytes if ledger.spooled.records == missing else 0
                ledger.spooled.add(-missing, -size)
                ledger.lose_damaged(self.policy.directory, missing, size, self._books.wall())
            self._recovered, self._groups = 0, Groups()
        logger.error(
            "%s: %d records on disk were damaged; what is left of them is in the quarantine",
            self.spool,
            missing,
        )

    def moved(self, entries: list[Entry]) -> None:
        """Take note that the client has them."""
        with self._lock:
            self._moved += len(entries)
            records, size = self._leave(entries)
            with self._books.lock:
                self._books.ledger.handed.add(records, size)
        if self._books.watched:
            for _, record in entries:
                self._books.note(RecordReplayed, record)

    def refused(self, entry: Entry) -> None:
        """Take note that the client refused one for good."""
        with self._lock:
            self._moved += 1
            records, size = self._leave([entry])
            with self._books.lock:
                self._books.ledger.refused.add(records, size)
            self._acknowledged.append(entry[0])

    def put_back(self, entries: list[Entry]) -> None:
        """Put them back to where they were."""
        with self._lock:
            again = [entry for entry in entries if entry[1].attempts]
            self._failed = sorted([*again, *self._failed], key=_sequence_of)
            self._ready = [*(entry for entry in entries if not entry[1].attempts), *self._ready]

    # ---- done

    def done(self, sequence: int) -> None:
        """Remove a record that was delivered, with the next `tidy`."""
        self._acknowledged.append(sequence)

    def failed(self, sequence: int, record: Record) -> None:
        """Have a record sent once more, before all that were spooled after it."""
        record = record._replace(attempts=record.attempts + 1)
        with self._lock:
            self._removed += 1
            self._groups.add(record.group)
            insort(self._failed, (sequence, record), key=_sequence_of)
            with self._books.lock:
                self._books.ledger.spooled.add(1, record.size)

    def tidy(self) -> None:
        """Acknowledge what was delivered."""
        if self._acknowledged:
            with self._lock:
                done, self._acknowledged = self._acknowledged, []
                self._removed += len(done)
            self.spool.acknowledge(done)

    def oldest_age(self) -> float:
        """Return the age of the oldest record on disk in seconds; 0 when none waits."""
        return self.spool.oldest_age() if self.waiting else 0.0

    def commit(self) -> None:
        """Put on disk what waits to be."""
        self.spool.commit()

    @property
    def uncommitted(self) -> int:
        """Records that wait to be put on disk."""
        return self.spool.uncommitted

    def orphan(self) -> None:
        """Renew the locks, in a forked child."""
        self._lock, self._filling = threading.RLock(), threading.Lock()

    def close(self) -> None:
        """Give the directory free; what is neither sent nor on disk fails.

        Raises:
            SpoolError: Something could not be written.
        """
        try:
            self.tidy()
        finally:
            try:
                self.spool.close()
            except SpoolError as error:
                self._strand(error)
                raise
            finally:
                self._untold.end(
                    (number, record.callback, record.topic) for number, record in self._failed + self._ready
                )

    def _strand(self, error: SpoolError) -> None:
        """Fail what could not be put on disk, as the producer closes."""
        with self._lock:
            unwritten = {record.sequence: record for record in self.spool.unwritten}
            entries = [entry for entry in (*self._failed, *self._ready) if entry[0] in unwritten]
            entries += [
                self._entry(record) for number, record in unwritten.items() if number >= self._read_to
            ]
            self._leave(entries)
            self._ready = [entry for entry in self._ready if entry[0] not in unwritten]
            self._failed = [entry for entry in self._failed if entry[0] not in unwritten]
        for _, record in entries:
            self._books.strand(
                record,
                f"the producer was closed before this record was delivered, and the disk refuses it: {error}",
            )
        if entries:
            logger.error("%s: %d records were neither delivered nor put on disk", error, len(entries))


def _sequence_of(entry: tuple[Any, ...]) -> Any:
    return entry[0]
