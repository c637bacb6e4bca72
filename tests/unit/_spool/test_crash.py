"""kill -9 at every named point: nothing that was committed is lost, and order holds."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kafka_throttle._spool import POINTS, Spool

CRASHING = Path(__file__).with_name("crashing.py")
SAVE_EVERY = 20
LARGEST_ACKNOWLEDGE = 10
# In a transaction of one statement there is nothing between writing and committing.
GROUP_ONLY = {"after-write", "before-commit"}


def run(directory: Path, commit: str, point: str, number: int) -> tuple[int, set[int], set[int]]:
    """Return the exit status, what was surely committed, and what may have been acknowledged."""
    done = subprocess.run(
        [sys.executable, str(CRASHING), str(directory), commit, point, str(number)],
        stdout=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    said = [line.split() for line in done.stdout.decode().splitlines()]
    committed = max((int(each[1]) for each in said if each[0] == "c"), default=0)
    return done.returncode, set(range(1, committed + 1)), {int(each[1]) for each in said if each[0] == "a"}


def check(directory: Path, committed: set[int], acknowledged: set[int]) -> None:
    with Spool(directory, group_seconds=None, fsync="off") as spool:
        assert spool.lost_records == 0
        assert spool.quarantined == 0
        records = []
        while found := spool.read(1000):
            records += found
        assert spool.records == len(records)
        sequences = [record.sequence for record in records]
        assert sorted(sequences) == sequences
        assert committed - acknowledged <= set(sequences)
        assert len(acknowledged & set(sequences)) < SAVE_EVERY + LARGEST_ACKNOWLEDGE
        numbers = [int((record.value or b"").split(b"-")[0]) for record in records]
        assert sorted(numbers) == numbers
        assert spool.acknowledge(sequences) == len(sequences)
    assert [path.name for path in directory.iterdir() if path.suffix not in {".db", ""}] == []


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(
    ("commit", "point"),
    [
        (commit, point)
        for commit in ("group", "record")
        for point in POINTS
        if commit == "group" or point not in GROUP_ONLY
    ],
)
def test_a_kill_at_a_named_point_loses_nothing_committed(
    directory: Path, commit: str, point: str, number: int
) -> None:
    status, committed, acknowledged = run(directory, commit, point, number)
    assert status == -signal.SIGKILL
    check(directory, committed, acknowledged)


@pytest.mark.parametrize("commit", ["group", "record"])
def test_without_a_kill_the_points_are_passed_and_nothing_is_left_behind(
    directory: Path, commit: str
) -> None:
    status, committed, acknowledged = run(directory, commit, "-", 1)
    assert status == 0
    check(directory, committed, acknowledged)


def test_kills_one_after_the_other_lose_nothing(directory: Path) -> None:
    committed: set[int] = set()
    acknowledged: set[int] = set()
    for point, number in (
        ("after-commit", 9),
        ("before-delete", 2),
        ("after-acknowledge", 3),
        ("before-write", 5),
    ):
        status, now_committed, now_acknowledged = run(directory, "group", point, number)
        assert status == -signal.SIGKILL
        committed |= now_committed
        acknowledged |= now_acknowledged
    with Spool(directory, group_seconds=None, fsync="off") as spool:
        assert committed - acknowledged <= {record.sequence for record in spool.read(100_000)}
        assert (spool.lost_records, spool.quarantined) == (0, 0)
