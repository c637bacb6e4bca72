"""Records kept on disk: the way in and out, with several threads at it."""

from __future__ import annotations

import errno
import threading
from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from kafka_throttle import Spill, SpoolError
from kafka_throttle._publish import Publisher
from kafka_throttle._records import record_of
from kafka_throttle._shedding.books import Books
from kafka_throttle._shedding.spooled import Spooled
from kafka_throttle._spool import Files

if TYPE_CHECKING:
    from pathlib import Path


def make(policy: Spill) -> Spooled:
    gate: Any = SimpleNamespace(deferred=deque())
    return Spooled(policy, Books(gate, Publisher("test", ()), lambda topic: "me", None))


def test_records_come_in_order_with_their_callbacks_when_somebody_looks_for_old_ones_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spooled = make(Spill(str(tmp_path), max_age=60, commit="record"))
    callbacks = [lambda error, message: None for _ in range(600)]
    for number, callback in enumerate(callbacks):
        spooled.take(record_of("kept", b"%d" % number, on_delivery=callback))  # type: ignore[arg-type]
    read = spooled.spool.read

    def read_slowly(limit: int) -> Any:
        monkeypatch.setattr(spooled.spool, "read", read)
        records = read(limit)
        other = threading.Thread(target=spooled.expire)  # as statistics() does
        other.start()
        other.join(10)
        return records

    monkeypatch.setattr(spooled.spool, "read", read_slowly)
    entries = []
    while portion := spooled.next(256):
        entries += portion
    spooled.moved(entries)
    spooled.close()

    assert [record.value for _, record in entries] == [b"%d" % number for number in range(600)]
    assert [record.callback for _, record in entries] == callbacks


@pytest.mark.parametrize("commit", ["group", "record"])
def test_a_record_that_was_on_disk_when_ctrl_c_came_is_accounted_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit: str
) -> None:
    spooled = make(Spill(str(tmp_path), commit=commit))
    append = spooled.spool.append

    def interrupted(*args: Any) -> int:
        append(*args)
        monkeypatch.setattr(spooled.spool, "append", append)
        raise KeyboardInterrupt

    monkeypatch.setattr(spooled.spool, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        spooled.take(record_of("kept", b"1"))  # type: ignore[arg-type]
    spooled.take(record_of("kept", b"2"))  # type: ignore[arg-type]
    spooled.post()
    assert (spooled.waiting, spooled._books.ledger.spooled.records) == (2, 2)

    entries = spooled.next(10)
    spooled.moved(entries)
    spooled.close()

    assert [record.value for _, record in entries] == [b"1", b"2"]
    assert (spooled.waiting, spooled._books.ledger.spooled.records) == (0, 0)


@pytest.mark.parametrize("commit", ["group", "record"])
def test_a_record_that_was_not_on_disk_when_ctrl_c_came_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit: str
) -> None:
    spooled = make(Spill(str(tmp_path), commit=commit))

    def interrupted(*_: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(spooled.spool, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            spooled.take(record_of("kept", b"1"))  # type: ignore[arg-type]
    spooled.take(record_of("kept", b"2"))  # type: ignore[arg-type]

    assert [record.value for _, record in spooled.next(10)] == [b"2"]
    assert spooled.waiting == 1
    spooled.close()


class Disk(Files):
    """Refuses to commit as long as it is told to."""

    refuses = False

    def at(self, point: str) -> None:
        if self.refuses and point == "before-commit":
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr("kafka_throttle._spool.spool.Files", lambda: disk)
    return disk


def test_what_the_disk_refuses_has_an_identity_that_lasts(tmp_path: Path, disk: Disk) -> None:
    spooled = make(Spill(str(tmp_path), record_id_header="id"))
    disk.refuses = True
    spooled.take(record_of("kept", b"1"))  # type: ignore[arg-type]
    ((sequence, record),) = spooled.next(10)
    spooled.moved([(sequence, record)])
    spooled.failed(sequence, record)
    disk.refuses = False
    spooled.close()

    again = make(Spill(str(tmp_path), record_id_header="id"))
    assert [found.headers for _, found in again.next(10)] == [record.headers]
    again.close()


def test_each_record_that_close_can_put_nowhere_fails_once_wherever_it_was(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Any] = []
    spooled = make(Spill(str(tmp_path)))
    disk.refuses = True
    for number in range(600):
        taken = spooled.take(record_of("kept", b"%d" % number, on_delivery=told.append))  # type: ignore[arg-type]
        assert taken
    entries = spooled.next(4)
    spooled.moved(entries)
    spooled.done(entries[0][0])
    spooled.failed(*entries[1])
    spooled.put_back(spooled.next(1))
    spooled.put_back(spooled.next(1))

    with pytest.raises(SpoolError, match="No space left on device"):
        spooled.close()

    deferred = spooled._books._gate.deferred
    ledger = spooled._books.ledger
    # Delivered: 0; in the client, which has to report them: 2 and 3.
    assert [message.value() for _, _, message in deferred] == [b"1", *(b"%d" % n for n in range(4, 600))]
    assert {callback for callback, _, _ in deferred} == {told.append}
    assert (ledger.stranded.records, ledger.spooled.records, spooled.waiting) == (597, 0, 0)
    assert (ledger.stranded.bytes, ledger.spooled.bytes) == (sum(len(m.value()) for *_, m in deferred), 0)
    refused = f"cannot write in {str(tmp_path)!r}: No space left on device: "
    assert [message.removeprefix(refused) for message in caplog.messages if message.startswith(refused)] == [
        "what waits for it is sent from memory until it is mended",
        "597 records were neither delivered nor put on disk",
    ]


def test_a_disk_that_refuses_is_complained_of_once_until_it_is_mended(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    spooled = make(Spill(str(tmp_path)))
    for refusals in (1, 2):
        disk.refuses = True
        for _ in range(3):
            spooled.spool._retry_at = 0.0
            spooled.take(record_of("kept", b"v"))  # type: ignore[arg-type]
            entries = spooled.next(10)
            spooled.moved(entries)
            for sequence, _ in entries:
                spooled.done(sequence)
            spooled.tidy()
        disk.refuses = False
        spooled.spool._retry_at = 0.0
        spooled.commit()
        spooled.take(record_of("kept", b"v"))  # type: ignore[arg-type]
        spooled.commit()
        spooled.take(record_of("kept", b"v"))  # type: ignore[arg-type]
        assert len([message for message in caplog.messages if "No space" in message]) == refusals
    spooled.close()
