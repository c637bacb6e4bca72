"""flush() and close() of a producer that keeps records, when something stands in the way."""

from __future__ import annotations

import errno
import gc
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from kafka_throttle import (
    Block,
    DropOldest,
    Fixed,
    Policy,
    Producer,
    Reject,
    Rejected,
    Rule,
    Spill,
    SpoolError,
    SpoolLocked,
    Throttle,
)
from kafka_throttle._spool import Files

if TYPE_CHECKING:
    from pathlib import Path

NOWHERE = "127.0.0.1:1"


def make(policy: Policy, bootstrap: str = NOWHERE, **conf: Any) -> Producer:
    rules = [Rule("kept", policy, loss_approved_by="data team, OPS-123")]
    settings = {
        "bootstrap.servers": bootstrap,
        "client.id": "closing",
        "log_level": 0,
        "linger.ms": 1,
        **conf,
    }
    return Producer(settings, throttle=Throttle(rules=rules, limit=Fixed(1), burst=0))


def pumps() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "kafka_throttle-closing"]


class Reports(list[Any]):
    def __call__(self, error: Any, message: Any) -> None:
        self.append((error, message.value()))


@pytest.mark.parametrize("leave", ["close", "with"])
def test_what_is_held_is_delivered_before_the_client_is_closed(bootstrap: str, leave: str) -> None:
    producer, reports = make(DropOldest(), bootstrap), Reports()
    for number in range(50):
        producer.produce("kept", b"%d" % number, on_delivery=reports)

    if leave == "close":
        producer.close()
    else:
        producer.__exit__(None, None, None)

    assert reports == [(None, b"%d" % number) for number in range(50)]


def test_flush_waits_for_ever_when_the_client_never_gives_a_record_up(bootstrap: str, tmp_path: Path) -> None:
    producer = make(Spill(str(tmp_path)), bootstrap, **{"message.timeout.ms": 0})
    for number in range(50):
        producer.produce("kept", b"%d" % number)

    assert producer.flush() == 0
    producer.close()


class Disk(Files):
    """Refuses to commit as long as it is told to."""

    refuses = False

    def at(self, point: str) -> None:
        if self.refuses and point == "before-commit":
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The disk of every spool that is opened."""
    disk = Disk()
    monkeypatch.setattr("kafka_throttle._spool.spool.Files", lambda: disk)
    return disk


REFUSED = r"^cannot write in .*: No space left on device$"


@pytest.mark.parametrize("when", ["overload", "always"])
@pytest.mark.parametrize("end", ["flush", "close"])
def test_what_the_disk_refuses_is_delivered_from_memory_in_order(
    bootstrap: str, tmp_path: Path, disk: Disk, when: str, end: str
) -> None:
    producer, reports = make(Spill(str(tmp_path), when=when, then=Reject()), bootstrap), Reports()
    disk.refuses = True
    accepted = []
    for number in range(200):
        with suppress(Rejected):
            producer.produce("kept", b"%d" % number, b"key", on_delivery=reports)
            accepted.append(b"%d" % number)

    producer.flush(30) if end == "flush" else producer.close()

    assert reports == [(None, value) for value in accepted]
    now = producer.statistics()
    assert (now.delivered, now.spooled, now.failed) == (len(accepted), 0, 0)
    assert now.offered == sum(now.places().values())
    producer.close()


def test_what_was_sent_from_memory_is_not_sent_again_by_the_next_owner(
    bootstrap: str, tmp_path: Path, disk: Disk
) -> None:
    producer, reports = make(Spill(str(tmp_path), then=Block(60)), bootstrap), Reports()
    shedding: Any = producer.__admission__.shedding  # type: ignore[union-attr]
    for number in range(300):
        producer.produce("kept", b"%d" % number, b"key", on_delivery=reports)
        if number % 50 == 0:
            with suppress(SpoolError):
                shedding.commit()
            disk.refuses = not disk.refuses
    disk.refuses = False
    producer.close()

    assert reports == [(None, b"%d" % number) for number in range(300)]
    again = make(Spill(str(tmp_path)), bootstrap)
    assert again.statistics().spooled == 0
    again.close()


@pytest.mark.parametrize("timeout", [0, None])
def test_what_can_neither_be_sent_nor_put_on_disk_is_reported_at_close(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture, timeout: float | None
) -> None:
    producer = make(Spill(str(tmp_path)), **{"client.id": "closing", "message.timeout.ms": 300})
    reports = Reports()
    producer.produce("kept", b"in the client", on_delivery=reports)
    disk.refuses = True
    for value in (b"1", b"2", b"3"):
        producer.produce("kept", value, on_delivery=reports)

    with pytest.raises(SpoolError, match=REFUSED) as caught:
        producer.close(timeout=timeout)

    assert [value for _, value in reports[-3:]] == [b"1", b"2", b"3"]
    words = (
        "kafka_throttle: the producer was closed before this record was delivered, and the disk refuses it: "
    )
    assert {error.str() for error, _ in reports[-3:]} == {f"{words}{caught.value}"}
    assert f"{caught.value}: 3 records were neither delivered nor put on disk" in caplog.messages
    now = producer.statistics()
    assert (now.state, now.spooled, now.failed + now.unknown, pumps()) == ("closed", 0, 4, [])
    assert now.offered == sum(now.places().values())


def test_flush_says_what_the_disk_refuses_and_keeps_it(tmp_path: Path, disk: Disk) -> None:
    producer = make(Spill(str(tmp_path)))
    producer.produce("kept", b"in the client")
    disk.refuses = True
    producer.produce("kept", b"in memory")

    with pytest.raises(SpoolError, match=REFUSED):
        producer.flush(0.1)

    assert producer.statistics().spooled == 1
    disk.refuses = False
    producer.close(timeout=0)
    assert producer.statistics().spooled == 1


def test_a_directory_that_has_gone_does_not_keep_the_client_from_being_closed(tmp_path: Path) -> None:
    producer, reports = make(Spill(str(tmp_path / "spool")), **{"client.id": "closing"}), Reports()
    producer.produce("kept", b"in the client")
    shutil.rmtree(tmp_path / "spool")
    producer.produce("kept", b"on no disk", on_delivery=reports)

    with pytest.raises(SpoolError, match=r"cannot write in .*: No such file or directory"):
        producer.close(timeout=0)

    assert [value for _, value in reports] == [b"on no disk"]
    assert (producer.statistics().state, pumps()) == ("closed", [])


def test_the_client_is_closed_though_a_callback_raises(tmp_path: Path) -> None:
    def refuse(error: Any, message: Any) -> None:
        raise LookupError(message.value())

    producer = make(DropOldest(max_records=1), **{"client.id": "closing"})
    for value in (b"in the client", b"shed", b"held"):
        producer.produce("kept", value, on_delivery=refuse)

    with pytest.raises(LookupError):
        producer.close(timeout=0)

    assert (producer.statistics().state, pumps()) == ("closed", [])


def test_nothing_goes_to_the_client_any_more_when_the_time_of_close_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    producer, reports = make(DropOldest(), **{"message.timeout.ms": 2000}), Reports()  # type: ignore[arg-type]
    for value in (b"in the client", b"held", b"held"):
        producer.produce("kept", value, on_delivery=reports)
    shedding: Any = producer.__admission__.shedding  # type: ignore[union-attr]
    stop = shedding.stop

    step, rounds = shedding.step, threading.Semaphore(0)

    def counted(producer: Producer) -> int:
        rounds.release()
        moved: int = step(producer)
        return moved

    def stop_late() -> None:
        monkeypatch.setattr(shedding, "stop", stop)
        for _ in range(20):
            assert rounds.acquire(timeout=30)
        stop()

    monkeypatch.setattr(shedding, "step", counted)
    monkeypatch.setattr(shedding, "stop", stop_late)
    producer.close(timeout=0)

    outcomes = [(error.name(), value) for error, value in reports]
    assert outcomes == [
        ("_PURGE_QUEUE", b"in the client"),
        ("_QUEUE_FULL", b"held"),
        ("_QUEUE_FULL", b"held"),
    ]


def test_a_forgotten_producer_gives_its_directory_free_with_all_that_it_kept(tmp_path: Path) -> None:
    producer = make(Spill(str(tmp_path)), **{"message.timeout.ms": 100})  # type: ignore[arg-type]
    for number in range(10):
        producer.produce("kept", b"%d" % number)

    del producer
    deadline = time.monotonic() + 30
    reopened = None
    while reopened is None and time.monotonic() < deadline:
        gc.collect()  # the twin in Python is part of a cycle
        with suppress(SpoolLocked):
            reopened = make(Spill(str(tmp_path)))

    assert reopened is not None
    assert reopened.statistics().spooled == 9
    reopened.close(timeout=0)


def test_what_was_accepted_just_before_the_application_ends_is_on_disk(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", _ENDS_AT_ONCE, str(tmp_path)],
        check=True,
        timeout=60,
        stderr=subprocess.DEVNULL,
    )

    producer = make(Spill(str(tmp_path)))
    assert producer.statistics().spooled == 1500
    producer.close(timeout=0)


_ENDS_AT_ONCE = """
import sys
from kafka_throttle import Fixed, Producer, Rule, Spill, Throttle

throttle = Throttle(rules=[Rule("kept", Spill(sys.argv[1], when="always"))], limit=Fixed(1), burst=0)
producer = Producer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, throttle=throttle)
for _ in range(1500):
    producer.produce("kept", b"value")
"""


@pytest.mark.parametrize("max_age", [None, 60])
def test_statistics_can_be_read_after_close_and_count_what_stays_on_disk(
    tmp_path: Path, max_age: float | None
) -> None:
    producer = make(Spill(str(tmp_path), max_age=max_age, when="always"))
    for _ in range(10):
        producer.produce("kept", b"value")

    producer.close(timeout=0)

    now = producer.statistics()
    assert (now.spooled, now.offered, len(producer)) == (10, 10, 10)


def test_what_is_lost_with_the_end_of_the_process_because_the_disk_refuses_is_logged(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _ENDS_WITH_A_DISK_THAT_REFUSES, str(tmp_path)],
        check=True,
        timeout=60,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert (
        f"cannot write in {str(tmp_path)!r}: No space left on device: 3 records are lost with the end of the process\n"
        in ended.stderr
    )


_ENDS_WITH_A_DISK_THAT_REFUSES = """
import errno, sys
from kafka_throttle import Fixed, Producer, Rule, Spill, Throttle
from kafka_throttle._spool import Files

throttle = Throttle(rules=[Rule("kept", Spill(sys.argv[1]))], limit=Fixed(1), burst=0)
producer = Producer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, throttle=throttle)

def refuse(self, point):
    raise OSError(errno.ENOSPC, "No space left on device")

Files.at = refuse
for _ in range(4):
    producer.produce("kept", b"value")
"""
