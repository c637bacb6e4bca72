"""Signal handlers that come in the middle of a call that keeps a record: no deadlock, no disorder, nothing lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError

from kafka_throttle import (
    Block,
    CallbackReentryError,
    DeadLetter,
    DropOldest,
    Fixed,
    Policy,
    Producer,
    Reject,
    Rule,
    Spill,
    Throttle,
)
from kafka_throttle._dead_letter.files import Files
from kafka_throttle._shedding.held import Held
from kafka_throttle._spool.intake import Intake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Interrupt = Any


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    """Have a handler called in the middle of a method, once."""

    def interrupt(owner: type, name: str, handler: Callable[[], object]) -> None:
        method = getattr(owner, name)

        def interrupted(*args: Any, **kwargs: Any) -> Any:
            monkeypatch.setattr(owner, name, method)
            handler()
            return method(*args, **kwargs)

        monkeypatch.setattr(owner, name, interrupted)

    return interrupt


class Makers(list[Producer]):
    def __call__(self, policy: Policy) -> Producer:
        rules = [Rule("kept", policy, loss_approved_by="data team, OPS-123")]
        conf = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0, "message.timeout.ms": 60_000}
        producer = Producer(conf, throttle=Throttle(rules=rules, limit=Fixed(1), burst=0))
        producer.produce("kept", b"in the client")
        self.append(producer)
        return producer


@pytest.fixture
def make() -> Iterator[Makers]:
    makers = Makers()
    yield makers
    for producer in makers:
        producer.close(timeout=0)


class Reports(list[Any]):
    def __call__(self, error: Any, message: Any) -> None:
        self.append((error, message.value()))


def values(producer: Producer) -> list[bytes | None]:
    (way,) = producer.__admission__.shedding.ways  # type: ignore[union-attr]
    (keeper,) = way.keepers
    entries = keeper.next(10)
    keeper.put_back(entries)
    return [record.value for _, record in entries]


@pytest.mark.parametrize("commit", ["group", "record"])
def test_a_record_of_a_handler_follows_the_one_it_interrupted_to_disk(
    make: Makers, interrupt: Interrupt, tmp_path: Path, commit: str
) -> None:
    producer = make(Spill(str(tmp_path), commit=commit))

    def handler() -> None:
        before = len(producer)
        producer.produce("kept", b"2")
        producer.produce("kept", b"3")
        assert producer.statistics().held == 2
        assert len(producer) == before + 2

    # Both are called with locks held.
    interrupt(Intake, "_begin", handler) if commit == "group" else interrupt(Intake, "_face_closed", handler)
    for value in (b"1", b"4"):
        producer.produce("kept", value)

    assert values(producer) == [b"1", b"2", b"3", b"4"]
    now = producer.statistics()
    assert (now.offered, now.spooled, now.held, now.in_flight) == (5, 4, 0, 1)


def test_a_record_of_a_handler_follows_the_one_it_interrupted_in_memory(
    make: Makers, interrupt: Interrupt
) -> None:
    producer = make(DropOldest(max_records=10))

    interrupt(Held, "_make_room", lambda: producer.produce("kept", b"2"))
    for value in (b"1", b"3"):
        producer.produce("kept", value)

    assert values(producer) == [b"1", b"2", b"3"]


def test_a_record_of_a_handler_follows_the_one_it_interrupted_to_the_dead_letters(
    make: Makers, interrupt: Interrupt, tmp_path: Path
) -> None:
    producer, reports = make(DeadLetter(file=str(tmp_path / "letters"))), Reports()

    interrupt(Files, "locked", lambda: producer.produce("kept", b"2", on_delivery=reports))
    producer.produce("kept", b"1", on_delivery=reports)
    producer.poll(0)

    assert [value for _, value in reports] == [b"1", b"2"]
    assert producer.statistics().dead_lettered == 2


def test_the_callback_of_a_handlers_record_is_told_when_there_is_no_room_for_it(
    make: Makers, interrupt: Interrupt, tmp_path: Path
) -> None:
    producer, reports = make(DropOldest(max_bytes=10, then=Reject())), Reports()

    def handler() -> None:
        producer.produce("kept", b"too large for it", on_delivery=reports)

    interrupt(Held, "_make_room", handler)
    producer.produce("kept", b"1")
    producer.poll(0)

    ((error, value),) = reports
    assert (error.code(), value) == (KafkaError._QUEUE_FULL, b"too large for it")
    assert (
        error.str() == "kafka_throttle: no room for a record of a signal handler that interrupted produce()"
    )
    now = producer.statistics()
    assert (now.offered, now.held, now.in_flight, now.failed) == (3, 1, 1, 1)


def test_a_handler_that_flushes_gets_an_answer(make: Makers, interrupt: Interrupt, tmp_path: Path) -> None:
    producer, left = make(Spill(str(tmp_path), then=Block(1))), []

    interrupt(Intake, "_begin", lambda: left.append(producer.flush(0)))
    producer.produce("kept", b"1")

    assert left == [1]
    assert producer.statistics().spooled == 1


def test_a_handler_cannot_close_the_producer_whose_call_it_interrupted(
    make: Makers, interrupt: Interrupt, tmp_path: Path
) -> None:
    producer, raised = make(Spill(str(tmp_path))), []

    def handler() -> None:
        with pytest.raises(CallbackReentryError) as error:
            producer.close()
        raised.append(str(error.value))

    interrupt(Intake, "_begin", handler)
    producer.produce("kept", b"1")

    assert raised == [
        (
            "close() was called from a signal handler that interrupted a call of the same producer, which has to end "
            "first: set a flag in the handler, or raise an exception"
        )
    ]
    assert values(producer) == [b"1"]
