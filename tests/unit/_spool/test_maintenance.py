"""What an operator does with a spool's directory, also while its owner runs."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from kafka_throttle._spool import Spool
from kafka_throttle._spool.maintenance import Finding, Verdict, export, peek, purge, repair, status, verify
from kafka_throttle.exceptions import SpoolError, SpoolLocked

if TYPE_CHECKING:
    from pathlib import Path

Opener = Callable[..., Spool]
OPTIONS = {"segment_bytes": 25_000, "group_records": 5, "save_every": 1}
COUNT = 100
VALUE = b"v" * 1000


@pytest.fixture
def spool(opened: Opener) -> Spool:
    """A spool of several segments, of which the records 3 to 40 are acknowledged, and three wait to be committed."""
    spool = opened(clock=lambda: 50.0, **OPTIONS)
    for _ in range(COUNT):
        spool.append("t", None, VALUE)
    spool.read(50)
    spool.acknowledge(range(3, 41))
    for _ in range(3):
        spool.append("t", None, VALUE)
    return spool


LEFT = [1, 2, *range(41, COUNT + 1)]


def damage(path: Path) -> None:
    """Make a batch unreadable."""
    data = bytearray(path.read_bytes())
    at = data.index(b"vvvv")
    data[at] ^= 1
    path.write_bytes(data)


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.segment"))


def test_status_says_what_is_there_while_the_owner_runs(spool: Spool, directory: Path) -> None:
    found = status(directory)
    assert (str(directory), os.getpid()) == (found.directory, found.owner)
    assert (len(LEFT), len(LEFT) * 1000) == (found.records, found.payload_bytes)
    assert len(segments(directory)) == found.segments
    assert sum(path.stat().st_size for path in directory.glob("*.segment*")) == found.disk_bytes
    assert (found.oldest, found.lost_records, found.quarantined, found.quarantined_bytes) == (50.0, 0, 0, 0)
    assert len(LEFT) + 3 == spool.records


def test_status_of_an_empty_spool_without_an_owner(opened: Opener, directory: Path) -> None:
    opened().close()
    found = status(directory)
    assert (found.owner, found.records, found.oldest, found.segments) == (None, 0, None, 0)


def test_peek_shows_what_is_committed_and_not_acknowledged_and_takes_nothing(
    spool: Spool, directory: Path
) -> None:
    assert [record.sequence for record in peek(directory)] == LEFT
    assert LEFT[:3] == [record.sequence for record in peek(directory, 3)]
    spool.rewind()
    assert peek(directory, 1).__next__() == spool.read(1)[0]


def test_export_writes_lines_of_json(opened: Opener, directory: Path) -> None:
    spool = opened(clock=lambda: 50.0)
    spool.append("prüfung", b"\x00", None, [("n", b"\xff"), ("n", None)], 7, 2)
    spool.append("t", None, b"v")
    spool.close()
    out = io.StringIO()
    assert export(directory, out) == 2
    first, second = map(json.loads, out.getvalue().splitlines())
    assert {
        "sequence": 1,
        "record_id": first["record_id"],
        "topic": "prüfung",
        "partition": 2,
        "timestamp": 7,
        "spooled_at": 50.0,
        "key": "AA==",
        "value": None,
        "headers": [["n", "/w=="], ["n", None]],
    } == first
    assert (second["value"], second["key"], second["headers"]) == ("dg==", None, None)
    assert len(bytes.fromhex(first["record_id"])) == 16


def test_verify_finds_nothing_wrong_with_a_sound_spool(spool: Spool, directory: Path) -> None:
    progress: list[tuple[int, int]] = []
    assert Verdict(len(LEFT), ()) == verify(directory, lambda done, of: progress.append((done, of)))
    count = len(segments(directory))
    assert [(n + 1, count) for n in range(count)] == progress


def test_verify_names_what_is_damaged_and_missing_and_changes_nothing(spool: Spool, directory: Path) -> None:
    spool.close()
    files = segments(directory)
    damage(files[1])
    inside = int(files[3].name[:20]) - int(files[2].name[:20])
    files[2].unlink()
    before = {path.name: path.read_bytes() for path in directory.glob("*.segment")}
    verdict = verify(directory)
    assert (
        Finding(files[2].name, "the file is missing", inside),
        Finding(files[1].name, "damaged: some batches cannot be read", 5),
    ) == verdict.findings
    assert len(LEFT) + 3 - inside - 5 == verdict.records
    assert before == {path.name: path.read_bytes() for path in directory.glob("*.segment")}


def test_repair_replaces_what_is_damaged_and_keeps_the_original(spool: Spool, directory: Path) -> None:
    spool.close()
    files = segments(directory)
    damage(files[1])
    damaged = files[1].read_bytes()
    verdict = repair(directory)
    assert (Finding(files[1].name, "damaged: some batches cannot be read", 5),) == verdict.findings
    assert len(LEFT) + 3 - 5 == verdict.records
    assert damaged == (directory / "quarantine" / f"{files[1].name}.0").read_bytes()
    assert Verdict(len(LEFT) + 3 - 5, ()) == verify(directory)
    found = status(directory)
    assert (5, 1, len(damaged)) == (found.lost_records, found.quarantined, found.quarantined_bytes)


@pytest.mark.parametrize("change", [repair, purge])
def test_what_changes_something_needs_the_directory_for_itself(
    spool: Spool, directory: Path, change: Callable[[Path], object]
) -> None:
    with pytest.raises(SpoolLocked):
        change(directory)
    assert len(LEFT) + 3 == spool.records


def test_purge_deletes_the_records_and_with_a_word_the_quarantine(spool: Spool, directory: Path) -> None:
    spool.close()
    damage(segments(directory)[1])
    repair(directory)
    assert purge(directory) == len(LEFT) + 3 - 5
    assert segments(directory) == []
    assert status(directory).quarantined == 1
    assert purge(directory, quarantine=True) == 0
    assert status(directory).quarantined == 0
    with Spool(directory) as again:
        assert again.append("t") == COUNT + 4


@pytest.mark.parametrize("look", [status, verify, repair, purge, lambda path: list(peek(path))])
def test_a_directory_that_is_no_spool_is_refused(tmp_path: Path, look: Callable[[Path], object]) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(SpoolError) as caught:
            look(path)
        assert f"{str(path)!r} is not the directory of a spool" == str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_can_be_looked_at_before_it_is_opened(
    spool: Spool, directory: Path, tmp_path: Path
) -> None:
    shutil.copytree(directory, tmp_path / "copy")
    assert [record.sequence for record in peek(tmp_path / "copy")] == LEFT
    assert Verdict(len(LEFT), ()) == verify(tmp_path / "copy")
    assert Verdict(len(LEFT), ()) == repair(tmp_path / "copy")


def test_looking_disturbs_no_owner_and_finds_nothing_that_is_not_wrong(directory: Path) -> None:
    script = """
import sys
from kafka_throttle._spool import Spool
spool = Spool(sys.argv[1], segment_bytes=30_000, group_records=20, save_every=50, fsync="off", group_seconds=None)
spool.append("t", None, bytes(300))
spool.commit()
print("ready", flush=True)
while True:
    for _ in range(100):
        spool.append("t", None, bytes(300))
    spool.acknowledge([record.sequence for record in spool.read(100)])
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(directory)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        try:
            for _ in range(40):
                assert verify(directory).findings == ()
                assert status(directory).owner == owner.pid
                sequences = [record.sequence for record in peek(directory, 200)]
                assert sorted(set(sequences)) == sequences
            assert owner.poll() is None
        finally:
            owner.kill()
    with Spool(directory) as spool:
        assert (spool.lost_records, spool.quarantined) == (0, 0)


def test_a_segment_that_is_being_deleted_is_not_missing(spool: Spool, directory: Path) -> None:
    spool.close()
    files = segments(directory)
    files[0].rename(files[0].with_suffix(".drained"))
    assert verify(directory).findings == ()
    files[0].with_suffix(".drained").unlink()
    assert [files[0].name] == [finding.file for finding in verify(directory).findings]


def test_progress_is_told_of_each_part_of_long_work(spool: Spool, directory: Path) -> None:
    told: list[tuple[int, int]] = []

    def progress(done: int, of: int) -> None:
        told.append((done, of))

    assert export(directory, io.StringIO(), progress) == len(LEFT)
    assert [(n, len(LEFT)) for n in range(1, len(LEFT) + 1)] == told
    spool.close()
    for work in (repair, purge):
        told.clear()
        count = len(segments(directory))
        work(directory, progress)
        assert [(n, count) for n in range(1, count + 1)] == told
