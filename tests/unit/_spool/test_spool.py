"""The disk queue in quiet times: order, acknowledgement, limits, ages, restarts."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from kafka_throttle._spool import Files, Spool
from kafka_throttle._spool.catalogue import Catalogue, State
from kafka_throttle.exceptions import SpoolError, SpoolFull

if TYPE_CHECKING:
    from pathlib import Path

Opener = Callable[..., Spool]

HEADERS = (("a", b"1"), ("a", None), ("ü", b""), ("", b"\x00\xff"))


def fill(spool: Spool, count: int, value: bytes = b"v") -> None:
    for _ in range(count):
        spool.append("t", None, value)
    spool.commit()


def sequences(spool: Spool, limit: int = 10_000) -> list[int]:
    return [record.sequence for record in spool.read(limit)]


@pytest.mark.parametrize("commit", ["group", "record"])
def test_every_field_survives_a_restart_byte_for_byte(opened: Opener, commit: str) -> None:
    rows = [
        ("orders", None, None, None, 0, -1),
        ("orders", b"", b"", (), 0, 0),
        ("prüfung", b"\x00k", b"\xff" * 5000, HEADERS, 1_700_000_000_000, 11),
        ("orders", b"k", None, (("tombstone", None),), 1, -1),
    ]
    spool = opened(commit=commit, clock=lambda: 50.5)
    assert [spool.append(*row) for row in rows] == [1, 2, 3, 4]
    spool.close()
    records = opened(commit=commit).read(10)
    assert rows == [tuple(record[1:7]) for record in records]
    assert {50.5} == {record.spooled_at for record in records}


@pytest.mark.parametrize("commit", ["group", "record"])
def test_records_come_out_once_and_in_order_across_segments(
    opened: Opener, directory: Path, commit: str
) -> None:
    spool = opened(commit=commit, segment_bytes=30_000, group_records=10)
    fill(spool, 200, b"x" * 1000)
    assert len(list(directory.glob("*.segment"))) > 3
    assert list(range(1, 121)) == sequences(spool, 120)
    assert list(range(121, 201)) == sequences(spool)
    assert sequences(spool) == []


def test_reading_commits_first_what_waits(opened: Opener) -> None:
    spool = opened()
    spool.append("t", None, b"v")
    assert (spool.uncommitted, spool.waiting) == (1, True)
    assert sequences(spool) == [1]
    assert (spool.uncommitted, spool.waiting) == (0, False)


def test_a_group_is_committed_when_it_is_full(opened: Opener) -> None:
    spool = opened(group_records=3)
    spool.append("t")
    spool.append("t")
    assert spool.uncommitted == 2
    spool.append("t")
    assert spool.uncommitted == 0


def test_a_group_is_committed_after_a_while(directory: Path) -> None:
    committed = threading.Event()

    class Watching(Files):
        def at(self, point: str) -> None:
            if point == "after-commit":
                committed.set()

    with Spool(directory, group_seconds=0.001, files=Watching()) as spool:
        spool.append("t", None, b"v")
        assert committed.wait(30)


def test_segments_are_deleted_whole_when_their_records_are_acknowledged(
    opened: Opener, directory: Path
) -> None:
    spool = opened(segment_bytes=30_000, group_records=10)
    fill(spool, 200, b"x" * 1000)
    before = sorted(directory.glob("*.segment"))
    sequences(spool)
    second = int(before[1].name[:20])
    third = int(before[2].name[:20])
    assert third - second == spool.acknowledge(range(second, third))
    assert [before[0], *before[2:]] == sorted(directory.glob("*.segment"))
    assert 200 - (third - second) == spool.records
    spool.acknowledge(range(1, 201))
    spool.close()
    assert list(directory.glob("*.segment*")) == []
    assert list(directory.glob("*.drained*")) == []


def test_sequences_go_on_after_everything_was_delivered_and_the_spool_reopened(opened: Opener) -> None:
    spool = opened()
    fill(spool, 3)
    spool.acknowledge(sequences(spool))
    spool.close()
    assert opened().append("t") == 4


def test_acknowledging_in_any_order_and_twice_counts_each_record_once(opened: Opener) -> None:
    spool = opened()
    fill(spool, 10, b"12345")
    sequences(spool)
    assert [spool.acknowledge([9, 2, 4]), spool.acknowledge([4, 1, 3]), spool.acknowledge([])] == [3, 2, 0]
    assert (spool.records, spool.payload_bytes) == (5, 25)
    spool.close()
    assert sequences(opened()) == [5, 6, 7, 8, 10]


def test_what_was_not_read_cannot_be_acknowledged(opened: Opener) -> None:
    spool = opened(group_records=2)
    fill(spool, 4)
    sequences(spool, 2)
    with pytest.raises(
        ValueError, match=r"^record 4 was not read yet: only what was read can be acknowledged$"
    ):
        spool.acknowledge([1, 4])
    assert spool.records == 4


def test_rewinding_hands_out_again_what_is_not_acknowledged(opened: Opener) -> None:
    spool = opened()
    fill(spool, 6)
    first = spool.read(5)
    spool.acknowledge([2, 4])
    spool.rewind()
    again = spool.read(10)
    assert [record.sequence for record in again] == [1, 3, 5, 6]
    assert [first[i].record_id for i in (0, 2, 4)] == [record.record_id for record in again[:3]]


def test_record_ids_stay_over_replays_and_differ_between_records(opened: Opener) -> None:
    spool = opened(segment_bytes=20_000, group_records=2)
    fill(spool, 20, b"x" * 3000)
    before = [record.record_id for record in spool.read(20)]
    spool.close()
    assert before == [record.record_id for record in opened().read(20)]
    assert len(set(before)) == 20
    assert {len(each) for each in before} == {16}


def test_a_full_spool_refuses_and_takes_again_when_there_is_room(opened: Opener) -> None:
    spool = opened(max_bytes=600_000)
    with pytest.raises(SpoolFull, match=r"of 600000 bytes on disk; a record of 1000 bytes does not fit$"):
        fill(spool, 1000, b"x" * 1000)
    accepted = spool.records
    assert accepted > 200
    assert spool.disk_bytes <= 600_000
    assert list(range(1, accepted + 1)) == sequences(spool)
    spool.acknowledge(range(1, accepted + 1))
    assert accepted + 1 == spool.append("t", None, b"x" * 1000)


def test_a_full_spool_refuses_in_record_mode(opened: Opener, directory: Path) -> None:
    spool = opened(max_bytes=300_000, commit="record")
    with pytest.raises(SpoolFull):
        fill(spool, 1000, b"x" * 1000)
    assert sum(path.stat().st_size for path in directory.glob("*.segment*")) <= 300_000
    assert spool.records == len(sequences(spool)) > 50


def test_expired_records_are_handed_to_expire_and_stay_until_they_are_acknowledged(opened: Opener) -> None:
    now = [100.0]
    spool = opened(max_age=10.0, clock=lambda: now[0])
    fill(spool, 3)
    now[0] = 105.0
    fill(spool, 2)
    assert spool.expire(10) == []
    now[0] = 112.0
    assert sequences(spool) == [4, 5]
    expired = spool.expire(10)
    assert [record.sequence for record in expired] == [1, 2, 3]
    assert spool.expire(10) == []
    assert spool.records == 5
    spool.acknowledge([record.sequence for record in expired])
    assert spool.records == 2


def test_a_record_that_grows_too_old_while_it_waits_to_be_read_is_expired(opened: Opener) -> None:
    now = [100.0]
    spool = opened(max_age=10.0, clock=lambda: now[0])
    fill(spool, 3)
    assert sequences(spool, 1) == [1]
    now[0] = 111.0
    assert sequences(spool) == []
    assert [record.sequence for record in spool.expire(10)] == [2, 3]


def test_a_clock_that_goes_back_makes_nothing_old_and_no_age_negative(opened: Opener) -> None:
    now = [1000.0]
    spool = opened(max_age=10.0, clock=lambda: now[0])
    fill(spool, 1)
    now[0] = 10.0
    fill(spool, 1)
    assert spool.oldest_age() == 0.0
    assert sequences(spool) == [1, 2]


def test_a_clock_that_is_set_back_between_records_and_restarts_changes_no_order_and_loses_nothing(
    opened: Opener,
) -> None:
    now = [1_000_000.0]
    options = {"max_age": 10.0, "clock": lambda: now[0], "segment_bytes": 20_000, "group_records": 5}
    for start in (0, 40, 80):
        spool = opened(**options)
        for number in range(start, start + 40):
            spool.append("t", None, b"%d-" % number + b"x" * 1000)
            now[0] -= 3600.0
        spool.close()
    spool = opened(**options)
    records = []
    while found := spool.read(1000):
        records += found
    assert [int((record.value or b"").split(b"-")[0]) for record in records] == list(range(120))
    assert spool.expire(1000) == []
    assert spool.oldest_age() == 0.0
    spool.acknowledge([record.sequence for record in records])
    assert (spool.records, spool.lost_records, spool.quarantined) == (0, 0, 0)
    spool.append("t")
    now[0] += 11.0
    assert spool.read(10) == []
    assert [record.sequence for record in spool.expire(10)] == [121]


def test_the_oldest_age_is_that_of_the_first_record_that_is_left(opened: Opener) -> None:
    now = [100.0]
    spool = opened(clock=lambda: now[0])
    assert spool.oldest_age() == 0.0
    spool.append("t")
    now[0] = 103.0
    assert spool.oldest_age() == 3.0
    spool.commit()
    fill(spool, 1)
    assert spool.oldest_age() == 3.0
    spool.acknowledge(sequences(spool)[:1])
    now[0] = 104.0
    assert spool.oldest_age() == 1.0


@pytest.mark.parametrize(
    ("record", "error", "message"),
    [
        ({"topic": 7}, TypeError, "topic is int; it can be str"),
        ({"topic": "t", "value": "text"}, TypeError, "value is str; it can be bytes or None"),
        ({"topic": "t", "key": bytearray()}, TypeError, "key is bytearray; it can be bytes or None"),
        ({"topic": "t", "headers": [(b"n", b"")]}, TypeError, "a header's name is bytes; it can be str"),
        (
            {"topic": "t", "headers": [("n", 1)]},
            TypeError,
            "the value of header 'n' is int; it can be bytes or None",
        ),
        ({"topic": "t", "partition": -2}, ValueError, "partition is -2; it can be -1 to 2147483647"),
        (
            {"topic": "t", "timestamp": 1 << 63},
            ValueError,
            "timestamp is 9223372036854775808; it can be milliseconds since the epoch, 0 for none",
        ),
    ],
)
def test_a_record_that_is_none_is_refused_and_spoils_nothing(
    opened: Opener, record: dict, error: type[Exception], message: str
) -> None:
    spool = opened()
    spool.append("t", None, b"before")
    with pytest.raises(error) as caught:
        spool.append(**record)
    assert message == str(caught.value)
    spool.append("t", None, b"after")
    assert [each.value for each in spool.read(10)] == [b"before", b"after"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_records": 0}, "group_records is 0; it can be 1 to 65535"),
        ({"max_bytes": 1}, "max_bytes is 1; it can be 262144 or more, or None"),
    ],
)
def test_options_that_cannot_be_are_refused(directory: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Spool(directory, **options)
    assert not directory.exists()


@pytest.mark.parametrize("commit", ["group", "record"])
def test_a_closed_spool_says_so(opened: Opener, directory: Path, commit: str) -> None:
    spool = opened(commit=commit)
    spool.append("t")
    spool.close()
    spool.close()
    for call in (lambda: spool.append("t"), spool.commit, lambda: spool.read(1), lambda: spool.expire(1)):
        with pytest.raises(SpoolError) as caught:
            call()
        assert f"the spool in {str(directory)!r} is closed" == str(caught.value)


def test_files_can_be_read_by_their_owner_alone(opened: Opener, directory: Path) -> None:
    old = os.umask(0)
    try:
        spool = opened(segment_bytes=20_000)
        fill(spool, 100, b"x" * 1000)
        assert directory.stat().st_mode & 0o777 == 0o700
        assert {0o600} == {path.stat().st_mode & 0o777 for path in directory.iterdir() if path.is_file()}
    finally:
        os.umask(old)


def test_an_open_directory_is_made_private(opened: Opener, directory: Path) -> None:
    directory.mkdir(mode=0o755)
    opened()
    assert directory.stat().st_mode & 0o777 == 0o700


def test_threads_that_append_and_read_at_once_lose_and_repeat_nothing(directory: Path) -> None:
    done = threading.Event()

    def work(name: str) -> None:
        for number in range(2000):
            spool.append(name, None, b"%d" % number)

    with Spool(directory, fsync="off", segment_bytes=30_000, group_records=50, group_seconds=0.001) as spool:
        threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b", "c")]
        for thread in threads:
            thread.start()
        got = []
        while len(got) < 6000:
            records = spool.read(500)
            spool.acknowledge([record.sequence for record in records])
            got += records
        done.set()
        for thread in threads:
            thread.join()
    assert list(range(1, 6001)) == [record.sequence for record in got]
    for name in ("a", "b", "c"):
        assert [b"%d" % n for n in range(2000)] == [record.value for record in got if record.topic == name]


def test_repr_shows_state(opened: Opener, directory: Path) -> None:
    spool = opened()
    fill(spool, 2)
    assert f"<Spool {str(directory)!r}, 2 records, {spool.disk_bytes} bytes on disk>" == repr(spool)


def test_a_catalogue_goes_on_after_ctrl_c_at_the_beginning_of_a_change(directory: Path) -> None:
    class Interrupted:
        def __init__(self, connection: Any) -> None:
            self.connection = connection

        def execute(self, statement: str) -> None:
            self.connection.execute(statement)
            raise KeyboardInterrupt

        def __getattr__(self, name: str) -> Any:
            return getattr(self.connection, name)

    directory.mkdir()
    catalogue = Catalogue(directory, Files(), "off")
    connection = catalogue._connection
    catalogue._connection = Interrupted(connection)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        catalogue.save((), State(next_sequence=7))
    catalogue._connection = connection

    catalogue.save((), State(next_sequence=8))

    assert catalogue.load().state == State(next_sequence=8)
    catalogue.close()
