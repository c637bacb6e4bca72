"""One owner per directory, and its end however it ends."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from kafka_throttle._spool import Spool
from kafka_throttle._spool.lock import owner_of
from kafka_throttle.exceptions import SpoolError, SpoolLocked

if TYPE_CHECKING:
    from pathlib import Path

Opener = Callable[..., Spool]

OWNER = """
import sys
from kafka_throttle._spool import Spool
spool = Spool(sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
"""


def start_owner(directory: Path) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child


def test_a_second_process_is_told_who_has_the_directory(directory: Path) -> None:
    with start_owner(directory) as child:
        with pytest.raises(SpoolLocked) as caught:
            Spool(directory)
        assert child.pid == caught.value.pid == owner_of(directory)
        assert (
            f"the spool in {str(directory)!r} belongs to process {child.pid}; one producer per directory"
            == str(caught.value)
        )
        child.kill()


def test_the_lock_dies_with_its_process(directory: Path) -> None:
    with start_owner(directory) as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert owner_of(directory) is None
        Spool(directory).close()


def test_a_second_spool_in_the_same_process_is_refused(opened: Opener) -> None:
    opened()
    with pytest.raises(SpoolLocked) as caught:
        opened()
    assert os.getpid() == caught.value.pid


def test_closing_gives_the_directory_free(opened: Opener, directory: Path) -> None:
    spool = opened()
    assert os.getpid() == owner_of(directory)
    spool.close()
    assert owner_of(directory) is None
    opened()


def test_a_directory_without_a_lock_has_no_owner(tmp_path: Path) -> None:
    assert owner_of(tmp_path) is None


def test_a_forked_child_can_neither_use_the_spool_nor_keep_its_lock(directory: Path) -> None:
    """Run in a process of its own: forking one that has threads is what is tested, not what pytest should do."""
    script = """
import os, sys
from kafka_throttle._spool import Spool
from kafka_throttle.exceptions import SpoolError
spool = Spool(sys.argv[1], group_seconds=None)
spool.append("t", None, b"before")
read, write = os.pipe()
if os.fork() == 0:
    try:
        spool.append("t", None, b"child")
    except SpoolError as error:
        print(error, flush=True)
    spool.close()
    os.close(write)
    os.read(read, 1)
    os._exit(0)
os.wait() if False else None
spool.close()
Spool(sys.argv[1]).close()
os.close(write)
os.wait()
"""
    output = subprocess.run(
        [sys.executable, "-c", script, str(directory)], capture_output=True, check=True, timeout=60, text=True
    )
    assert f"the spool in {str(directory)!r} belongs to the parent process\n" == output.stdout
    with Spool(directory) as spool:
        assert [record.value for record in spool.read(10)] == [b"before"]


def test_a_directory_that_cannot_be_made_is_a_spool_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SpoolError) as caught:
        Spool(tmp_path / "file" / "spool")
    assert caught.value.errno is not None
    assert str(caught.value).startswith(f"cannot open the spool in {str(tmp_path / 'file' / 'spool')!r}: ")


def test_a_glance_at_who_has_the_directory_keeps_nobody_from_opening_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Spool(directory).close()
    glance = os.open(directory / "lock", os.O_RDONLY)
    fcntl.flock(glance, fcntl.LOCK_SH)
    pauses: list[float] = []

    def end_the_glance(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            os.close(glance)

    monkeypatch.setattr("kafka_throttle._spool.lock.time.sleep", end_the_glance)
    Spool(directory, group_seconds=None).close()
    assert len(pauses) == 3


def test_an_owner_that_did_not_say_its_pid_is_another_process(directory: Path) -> None:
    with start_owner(directory) as child:
        (directory / "lock").write_bytes(b"")
        with pytest.raises(SpoolLocked) as caught:
            Spool(directory)
        child.kill()
    assert caught.value.pid is None
    assert f"the spool in {str(directory)!r} belongs to another process; one producer per directory" == str(
        caught.value
    )
