"""Records held in memory, as the caller's and the pump's thread see them at once."""

from __future__ import annotations

import threading
from collections import deque
from types import SimpleNamespace
from typing import Any

from kafka_throttle import DropNewest, DropOldest
from kafka_throttle._publish import Publisher
from kafka_throttle._records import record_of
from kafka_throttle._shedding.books import Books
from kafka_throttle._shedding.held import Held
from kafka_throttle.events import RecordReplayed


def make(policy: DropOldest | DropNewest) -> Held:
    gate: Any = SimpleNamespace(deferred=deque())
    return Held(policy, Books(gate, Publisher("test", ()), lambda topic: "me", None), lambda: 0.0)


def record(value: bytes) -> Any:
    return record_of("kept", value)


class Watched(deque[Any]):
    """Asks, after each record that leaves the queue, whether others have to wait: as another thread might."""

    def __init__(self, held: Held) -> None:
        super().__init__()
        self.held = held
        self.answers: list[bool] = []

    def popleft(self) -> Any:
        entry = super().popleft()
        self.answers.append(self.held.waits("kept"))
        return entry


def test_a_later_record_has_to_wait_while_the_pump_takes_the_last_one_out_of_the_queue() -> None:
    held = make(DropOldest())
    held._queue = watched = Watched(held)
    held.take(record(b"first"))

    entries = held.next(10)

    assert watched.answers == [True]
    assert held.waiting == 1
    held.moved(entries)
    assert (held.waiting, held.waits("kept")) == (0, False)


def test_what_is_put_back_is_first_again_and_weighs_what_it_did() -> None:
    held = make(DropOldest(max_bytes=7))
    for value in (b"one", b"two"):
        held.take(record(value))

    entries = held.next(10)
    held.moved(entries[:1])
    held.put_back(entries[1:])
    held.take(record(b"three"))  # 8 bytes: the oldest has to go

    assert [each.value for _, each in held.next(10)] == [b"three"]
    assert held.waiting == 1


def test_records_in_the_hands_of_the_pump_count_as_held() -> None:
    held = make(DropNewest(2))
    for value in (b"one", b"two"):
        held.take(record(value))

    held.next(2)
    held.take(record(b"three"))

    assert held.waiting == 2
    assert held._books.ledger.shed.records == 1


def test_no_event_is_lost_that_another_thread_notes_while_they_are_published() -> None:
    seen: list[Any] = []
    gate: Any = SimpleNamespace(deferred=deque())
    books = Books(gate, Publisher("test", [seen.append]), lambda topic: "me", None)
    publishing = books.lock.acquire()
    noting = threading.Thread(target=books.note, args=(RecordReplayed, record(b"value")))
    noting.start()
    noting.join(0.05)

    assert publishing
    assert books._unpublished == []  # it waits for its turn
    books.lock.release()
    noting.join()
    books.publish()
    assert [type(event) for event in seen] == [RecordReplayed]
