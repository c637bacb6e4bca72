"""Spools for the commands to work on, and a runner for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from kafka_throttle._spool import Spool
from kafka_throttle.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COUNT = 100
OPTIONS = {"group_seconds": None, "fsync": "off", "segment_bytes": 25_000, "group_records": 5}
OWNER = """
import sys
from kafka_throttle._spool import Spool
spool = Spool(sys.argv[1], group_seconds=None, fsync="off", segment_bytes=25_000, group_records=5, save_every=1)
for number in range(100):
    spool.append("orders", b"k%d" % (number % 3), b"%d-" % number + b"v" * 1000)
spool.commit()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A closed spool of several segments, of which the records 3 to 40 are acknowledged."""
    path = tmp_path / "spool"
    with Spool(path, clock=lambda: 1_795_515_792.0, save_every=1, **OPTIONS) as spool:
        for number in range(COUNT):
            headers = [("n", b"\xff"), ("n", None)] if number % 2 else None
            spool.append("orders", b"k%d" % (number % 3), b"%d-" % number + b"v" * 1000, headers)
        spool.read(50)
        spool.acknowledge(range(3, 41))
    return path


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run `kafka-throttle spool` with arguments."""

    def invoke(*arguments: object, input: str | None = None) -> Result:  # noqa: A002 - as click calls it
        return CliRunner().invoke(main, ["spool", *map(str, arguments)], input=input)

    return invoke


@contextmanager
def owner_of_a_spool(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has 100 records in a spool, and keeps it until it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == b"ready\n"
            yield owner
        finally:
            owner.kill()


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """The directory of a spool that another process has, and the pid of that."""
    path = tmp_path / "owned"
    with owner_of_a_spool(path) as owner:
        yield path, owner.pid


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A spool whose owner was killed: 100 records, some of them only in SQLite's log."""
    path = tmp_path / "killed"
    with owner_of_a_spool(path) as owner:
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
    assert any(file.name.endswith("-wal") and file.stat().st_size for file in path.iterdir())
    return path


def damage(path: Path) -> None:
    """Make a batch unreadable."""
    data = bytearray(path.read_bytes())
    data[data.index(b"vvvv")] ^= 1
    path.write_bytes(data)


@pytest.fixture
def damaged(directory: Path) -> Path:
    """The spool with one batch of five records unreadable."""
    damage(sorted(directory.glob("*.segment"))[-2])
    return directory
