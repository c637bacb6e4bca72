"""Records kept on disk: the way in and out, with several threads at it."""

from __future__ import annotations

import threading
from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from kafka_throttle import Spill
from kafka_throttle._publish import Publisher
from kafka_throttle._records import record_of
from kafka_throttle._shedding.books import Books
from kafka_throttle._shedding.spooled import Spooled

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
