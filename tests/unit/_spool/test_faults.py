"""Disks that are full, forbidden or failing: an error, nothing lost, and on it goes when the cause is gone."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from kafka_throttle._spool import Files, Spool
from kafka_throttle.exceptions import SpoolError

if TYPE_CHECKING:
    from pathlib import Path

Opener = Callable[..., Spool]
VALUE = b"x" * 1000


class Failing(Files):
    """Fails at a point, or when a file is opened, as long as it is told to."""

    point = ""
    connecting = False
    renaming = False

    def at(self, point: str) -> None:
        if point == self.point:
            raise OSError(errno.ENOSPC, "No space left on device")

    def connect(self, path: Path, **options: Any) -> sqlite3.Connection:
        if self.connecting:
            raise sqlite3.OperationalError("unable to open database file")
        return super().connect(path, **options)

    def rename(self, source: Path, target: Path) -> None:
        if self.renaming:
            raise PermissionError(errno.EACCES, "Permission denied")
        super().rename(source, target)


def fill(spool: Spool, count: int) -> None:
    for _ in range(count):
        spool.append("t", None, VALUE)


def drain(spool: Spool) -> list[int]:
    sequences: list[int] = []
    while found := spool.read(1000):
        sequences += [record.sequence for record in found]
    return sequences


@pytest.mark.parametrize("point", ["before-write", "after-write", "before-commit"])
def test_a_commit_that_fails_keeps_its_records_for_the_next_try(opened: Opener, point: str) -> None:
    files = Failing()
    spool = opened(files=files, group_records=5)
    spool.append("t", None, VALUE)
    spool.commit()
    files.point = point
    spool.append("t", None, VALUE)
    with pytest.raises(SpoolError) as caught:
        spool.commit()
    assert f"cannot write in {str(spool.directory)!r}: No space left on device" == str(caught.value)
    assert caught.value.errno == errno.ENOSPC
    assert (spool.records, spool.uncommitted) == (2, 1)
    files.point = ""
    spool.commit()
    assert drain(spool) == [1, 2]


def test_a_commit_whose_outcome_is_unknown_is_tried_again_and_stored_once(opened: Opener) -> None:
    files = Failing()
    spool = opened(files=files)
    files.point = "after-commit"
    spool.append("t", None, VALUE)
    with pytest.raises(SpoolError):
        spool.commit()
    files.point = ""
    spool.commit()
    spool.rewind()
    assert drain(spool) == [1]
    assert spool.records == 1


def test_after_a_failure_append_says_so_until_a_commit_succeeds(opened: Opener) -> None:
    files = Failing()
    spool = opened(files=files)
    spool.append("t", None, VALUE)
    files.point = "before-write"
    with pytest.raises(SpoolError):
        spool.commit()
    with pytest.raises(SpoolError, match="No space left on device"):
        spool.append("t", None, VALUE)
    files.point = ""
    spool.commit()
    assert spool.append("t", None, VALUE) == 2


def test_in_record_mode_a_record_whose_append_raised_is_not_kept(opened: Opener) -> None:
    files = Failing()
    spool = opened(files=files, commit="record")
    assert spool.append("t", None, b"1") == 1
    files.point = "before-write"
    with pytest.raises(SpoolError):
        spool.append("t", None, b"2")
    files.point = ""
    assert spool.append("t", None, b"3") == 2
    assert [record.value for record in spool.read(10)] == [b"1", b"3"]


def test_what_cannot_be_committed_can_be_withdrawn(opened: Opener) -> None:
    files = Failing()
    spool = opened(files=files)
    spool.append("t", None, b"1")
    spool.commit()
    spool.append("t", b"k", b"2", [("n", b"v")])
    files.point = "before-write"
    with pytest.raises(SpoolError):
        spool.commit()
    withdrawn = spool.withdraw()
    assert [tuple(record[:5]) for record in withdrawn] == [(2, "t", b"k", b"2", (("n", b"v"),))]
    files.point = ""
    assert spool.append("t", None, b"3") == 3
    assert drain(spool) == [1, 3]
    assert spool.records == 2


# ---- what the disk refuses is read from memory


def refused(spool: Spool, files: Failing, values: list[bytes]) -> None:
    """Append records, each to its chunk, that the disk refuses."""
    files.point = "before-write"
    for value in values:
        spool._trouble = None
        spool.append("t", None, value)
        with pytest.raises(SpoolError):
            spool.commit()


def values(spool: Spool) -> list[bytes | None]:
    return [record.value for record in spool.read(1000)]


def test_reading_goes_on_while_writing_fails(opened: Opener) -> None:
    files = Failing()
    spool = opened(files=files)
    spool.append("t", None, b"on disk")
    spool.commit()
    refused(spool, files, [b"in memory", b"as well"])
    assert str(spool.trouble) == f"cannot write in {str(spool.directory)!r}: No space left on device"
    assert (values(spool), values(spool), spool.waiting) == ([b"on disk", b"in memory", b"as well"], [], True)
    files.point = ""


def test_what_is_acknowledged_before_it_is_committed_never_goes_to_disk(
    opened: Opener, directory: Path
) -> None:
    files = Failing()
    spool = opened(files=files)
    refused(spool, files, [b"1", b"2"])
    assert spool.acknowledge([record.sequence for record in spool.read(10)]) == 2
    assert (spool.records, spool.payload_bytes, spool.uncommitted) == (0, 0, 0)
    files.point = ""
    spool.close()
    assert {path.name for path in directory.iterdir()} == {"lock", "catalogue.db"}
    again = opened()
    assert (again.append("t", None, b"3"), values(again)) == (3, [b"3"])


@pytest.mark.parametrize("done", [[1], [2], [1, 3]])
def test_a_chunk_that_is_partly_done_when_the_disk_takes_it_is_partly_done_there(
    opened: Opener, done: list[int]
) -> None:
    files = Failing()
    spool = opened(files=files)
    files.point = "before-write"
    for number in (1, 2, 3):
        spool.append("t", None, b"%d" % number)
    assert values(spool) == [b"1", b"2", b"3"]
    assert spool.acknowledge(done) == len(done)
    files.point = ""
    spool.commit()
    assert (spool.records, spool.acknowledge(done), spool.uncommitted) == (3 - len(done), 0, 0)
    spool.close()
    assert values(opened()) == [b"%d" % number for number in (1, 2, 3) if number not in done]


def test_what_is_acknowledged_after_it_was_committed_is_removed_as_usual(
    opened: Opener, directory: Path
) -> None:
    files = Failing()
    spool = opened(files=files)
    refused(spool, files, [b"1", b"2"])
    sequences = [record.sequence for record in spool.read(10)]
    files.point = ""
    spool.commit()
    assert spool.acknowledge(sequences) == 2
    spool.close()
    assert {path.name for path in directory.iterdir()} == {"lock", "catalogue.db"}


def test_a_commit_that_only_seemed_to_fail_brings_nothing_back_that_was_done(opened: Opener) -> None:
    files = Failing()
    spool = opened(files=files)
    spool.append("t", None, b"0")
    spool.commit()
    files.point = "after-commit"
    spool.append("t", None, b"1")
    assert values(spool) == [b"0", b"1"]
    spool.acknowledge([2])
    files.point = ""
    spool.close()
    again = opened()
    assert (values(again), again.lost_records, again.quarantined) == ([b"0"], 0, 0)


def test_a_process_that_dies_then_leaves_nothing_that_looks_like_damage(
    opened: Opener, directory: Path, tmp_path: Path
) -> None:
    files = Failing()
    spool = opened(files=files, save_every=1)
    spool.append("t", None, b"0")
    spool.commit()
    refused(spool, files, [b"1"])
    spool.acknowledge([record.sequence for record in spool.read(10)][1:])
    refused(spool, files, [b"2"])
    spool._store.save()
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    files.point = ""
    again = opened(copy)
    assert (values(again), again.quarantined, again.append("t", None, b"3")) == ([b"0"], 0, 3)
    assert values(again) == [b"3"]


def test_a_record_keeps_its_id_when_the_disk_takes_it_after_all(opened: Opener) -> None:
    files = Failing()
    spool = opened(files=files)
    spool.append("t", None, b"0")
    spool.commit()
    refused(spool, files, [b"1", b"2"])
    ids = [record.record_id for record in spool.read(10)]
    spool.acknowledge([2])
    files.point = ""
    spool.commit()
    spool.append("t", None, b"3")
    spool.close()
    again = opened()
    assert [record.record_id for record in again.read(10)][:2] == [ids[0], ids[2]]


def test_what_is_read_again_from_memory_is_what_is_not_done(opened: Opener) -> None:
    files = Failing()
    spool = opened(files=files)
    refused(spool, files, [b"1", b"2"])
    assert values(spool) == [b"1", b"2"]
    spool.acknowledge([1])
    spool.rewind()
    assert values(spool) == [b"2"]
    files.point = ""
    spool.commit()
    spool.rewind()
    assert values(spool) == [b"2"]


def test_a_disk_that_refuses_is_left_alone_for_a_moment(opened: Opener) -> None:
    files = Failing()
    spool = opened(files=files)
    refused(spool, files, [b"1"])
    files.point = ""
    spool.read(10)
    assert spool.trouble is not None
    spool._retry_at = 0.0
    spool.read(10)
    assert spool.trouble is None


def test_what_is_too_old_is_expired_from_memory_as_well(opened: Opener) -> None:
    files, now = Failing(), [1000.0]
    spool = opened(files=files, max_age=10, clock=lambda: now[0])
    refused(spool, files, [b"1"])
    now[0] += 11
    assert (values(spool), [record.value for record in spool.expire(10)]) == ([], [b"1"])
    assert (spool.acknowledge([1]), spool.records) == (1, 0)


def test_what_is_done_gives_its_room_back(opened: Opener) -> None:
    files = Failing()
    spool = opened(files=files, max_bytes=256 << 10)
    before = spool._room
    refused(spool, files, [b"x" * 100_000])
    spool.acknowledge([record.sequence for record in spool.read(10)])
    files.point = ""
    spool.commit()
    assert spool._room == before - spool.disk_bytes


def test_what_close_cannot_write_is_told_without_what_is_done(opened: Opener) -> None:
    files = Failing()
    spool = opened(files=files)
    refused(spool, files, [b"1", b"2", b"3"])
    spool.acknowledge([record.sequence for record in spool.read(2)][:1])
    with pytest.raises(SpoolError, match=r"^cannot write in .*: No space left on device$"):
        spool.close()
    assert [record.value for record in spool.unwritten] == [b"2", b"3"]


def append_somehow(spool: Spool, files: Failing) -> int:
    try:
        return spool.append("t", None, VALUE)
    except SpoolError:
        files.point = ""
        spool.commit()
        return spool.append("t", None, VALUE)


@pytest.mark.parametrize(
    "point", ["segment-switch", "before-acknowledge", "before-delete", "after-rename", "after-delete"]
)
def test_a_failure_between_segments_loses_nothing(opened: Opener, point: str) -> None:
    files = Failing()
    spool = opened(files=files, segment_bytes=20_000, group_records=5, save_every=1)
    total = 0
    for round_number in range(12):
        files.point = point if round_number % 3 == 1 else ""
        for _ in range(10):
            total = append_somehow(spool, files)
        records = spool.read(9)
        spool.acknowledge([record.sequence for record in records])
    files.point = ""
    rest = drain(spool)
    assert list(range(total - len(rest) + 1, total + 1)) == rest
    spool.acknowledge(rest)
    spool.close()
    left = {path.name for path in spool.directory.iterdir()}
    assert {"lock", "catalogue.db"} == left
    assert (spool.lost_records, spool.quarantined) == (0, 0)


def test_acknowledgements_that_cannot_be_saved_are_saved_later(opened: Opener) -> None:
    files = Failing()
    spool = opened(files=files, save_every=1)
    for _ in range(5):
        spool.append("t")
    drain(spool)
    files.point = "before-acknowledge"
    assert spool.acknowledge([1, 2]) == 2
    files.point = ""
    spool.close()
    assert drain(opened()) == [3, 4, 5]


def test_a_drained_segment_that_cannot_be_deleted_is_deleted_later(opened: Opener, directory: Path) -> None:
    files = Failing()
    spool = opened(files=files, segment_bytes=20_000, group_records=5)
    for _ in range(100):
        spool.append("t", None, VALUE)
    sequences = drain(spool)
    before = len(list(directory.glob("*.segment")))
    files.renaming = True
    spool.acknowledge(sequences[:60])
    assert before == len(list(directory.glob("*.segment")))
    files.renaming = False
    spool.acknowledge(sequences[60:])
    assert len(list(directory.glob("*.segment"))) <= 1


def test_a_segment_that_cannot_be_opened_raises_and_is_read_when_it_can(opened: Opener) -> None:
    files = Failing()
    spool = opened(files=files, segment_bytes=20_000, group_records=5)
    for _ in range(50):
        spool.append("t", None, VALUE)
    spool.commit()
    spool.rewind()
    files.connecting = True
    with pytest.raises(SpoolError, match=r"^cannot read in .*: unable to open database file$") as caught:
        spool.read(100)
    assert caught.value.errno == errno.EACCES
    files.connecting = False
    assert list(range(1, 51)) == drain(spool)
    assert spool.lost_records == 0


def test_what_was_read_before_a_failure_is_handed_out(opened: Opener) -> None:
    files = Failing()
    spool = opened(files=files, segment_bytes=20_000, group_records=5)
    fill(spool, 50)
    spool.commit()
    spool.rewind()
    assert [record.sequence for record in spool.read(1)] == [1]
    files.connecting = True
    before = [record.sequence for record in spool.read(100)]
    assert list(range(2, before[-1] + 1)) == before
    assert before[-1] < 50
    files.connecting = False
    assert list(range(before[-1] + 1, 51)) == drain(spool)


@pytest.mark.parametrize(("point", "left"), [("before-write", [1]), ("before-acknowledge", [1, 2])])
def test_a_close_that_fails_gives_the_directory_free_and_keeps_what_was_committed(
    opened: Opener, point: str, left: list[int]
) -> None:
    files = Failing()
    spool = opened(files=files)
    spool.append("t")
    spool.commit()
    spool.append("t")
    files.point = point
    with pytest.raises(SpoolError):
        spool.close()
    assert left == drain(opened())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB; skips where none can be mounted."""
    mount = tmp_path / "disk"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("mounting a small tmpfs needs privileges that this process does not have")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.mark.parametrize("commit", ["group", "record"])
def test_a_disk_that_is_full_refuses_and_goes_on_when_it_has_room(
    opened: Opener, small_disk: Path, commit: str
) -> None:
    spool = opened(small_disk / "spool", commit=commit, segment_bytes=200_000, group_records=20)
    with pytest.raises(SpoolError) as caught:
        fill(spool, 10_000)
    accepted = spool.records
    assert caught.value.errno == errno.ENOSPC
    assert accepted > 500
    committed = spool.records - spool.uncommitted
    sequences = [record.sequence for record in spool.read(committed)]
    assert list(range(1, committed + 1)) == sequences
    assert spool.acknowledge(sequences) == committed
    spool.commit()
    assert list(range(committed + 1, accepted + 1)) == drain(spool)
    assert spool.append("t", None, VALUE) == accepted + 1
    assert (spool.lost_records, spool.quarantined) == (0, 0)


def test_a_disk_that_becomes_read_only_refuses_and_goes_on_afterwards(
    opened: Opener, small_disk: Path
) -> None:
    spool = opened(small_disk / "spool", commit="record", segment_bytes=100_000)
    for _ in range(150):
        spool.append("t", None, VALUE)
    spool.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(SpoolError, match=r"^cannot open the spool in ") as caught:
        opened(small_disk / "spool")
    assert caught.value.errno == errno.EROFS
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    again = opened(small_disk / "spool", commit="record")
    assert list(range(1, 151)) == drain(again)
    assert again.append("t", None, VALUE) == 151


CHILD = """
import os, resource, sys
from kafka_throttle._spool import Spool
from kafka_throttle.exceptions import SpoolError
what, directory = sys.argv[1:]
if os.getuid() == 0:
    os.makedirs(directory, mode=0o700)
    os.chown(directory, 65534, 65534)
    os.seteuid(65534)
spool = Spool(directory, group_seconds=None, fsync="off", segment_bytes=200_000, group_records=20, commit="record")
for _ in range(300):
    spool.append("t", None, b"x" * 1000)
if what == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
else:
    os.chmod(directory, 0o500)
last = 300
try:
    for _ in range(1000):
        last = spool.append("t", None, b"x" * 1000)
except SpoolError as error:
    print(error.errno is not None, spool.records == last)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
os.chmod(directory, 0o700)
spool.append("t", None, b"after")
sequences = []
while found := spool.read(100):
    sequences += [record.sequence for record in found]
print(sequences == list(range(1, last + 2)), spool.lost_records, spool.quarantined)
spool.close()
"""


@pytest.mark.parametrize("what", ["limit", "permission"])
def test_a_process_that_may_not_write_any_more_loses_nothing_and_goes_on(tmp_path: Path, what: str) -> None:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        if parent.stat().st_uid == os.getuid() and str(parent).count("pytest"):
            parent.chmod(0o755)
    output = subprocess.run(
        [sys.executable, "-c", CHILD, what, str(tmp_path / "spool")],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert output.stdout == "True True\nTrue 0 0\n", output.stderr


UNREADABLE = """
import os, subprocess, sys
from kafka_throttle._spool import Spool
from kafka_throttle.exceptions import SpoolError
directory = sys.argv[1]
if os.getuid() == 0:
    os.makedirs(directory, mode=0o700)
    os.chown(directory, 65534, 65534)
    os.setresuid(65534, 65534, 0)
options = dict(group_seconds=None, fsync="off", segment_bytes=20_000, group_records=5)
with Spool(directory, **options) as spool:
    for _ in range(60):
        spool.append("t", None, b"x" * 1000)
segments = sorted(name for name in os.listdir(directory) if name.endswith(".segment"))

def read(what):
    try:
        with Spool(directory, **options) as spool:
            sequences = []
            while found := spool.read(100):
                sequences += [record.sequence for record in found]
            print(f"{what}:", sequences == list(range(1, 61)), spool.lost_records, spool.quarantined)
    except SpoolError as error:
        print(f"{what}:", type(error).__name__, str(error).replace(directory, "DIRECTORY"), error.errno)

for what, name in {
    "oldest segment": segments[0],
    "last segment": segments[-1],
    "catalogue": "catalogue.db",
    "directory": "",
}.items():
    path = os.path.join(directory, name).rstrip("/")
    before = os.stat(path).st_mode
    os.chmod(path, 0)
    read(what)
    os.chmod(path, before)
read("nothing")
"""


def test_files_that_may_not_be_read_are_an_error_and_nothing_is_set_aside(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        if parent.stat().st_uid == os.getuid() and str(parent).count("pytest"):
            parent.chmod(0o755)
    output = subprocess.run(
        [sys.executable, "-c", UNREADABLE, str(tmp_path / "spool")],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert output.stdout.splitlines() == [
        "oldest segment: SpoolError cannot read in 'DIRECTORY': unable to open database file 13",
        "last segment: SpoolError cannot open the spool in 'DIRECTORY': Permission denied 13",
        "catalogue: SpoolError cannot open the spool in 'DIRECTORY': Permission denied 13",
        "directory: SpoolError cannot open the spool in 'DIRECTORY': Permission denied 13",
        "nothing: True 0 0",
    ], output.stderr
