"""repair and purge: they change a spool, nobody else may have it, and purge asks first."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from kafka_throttle._spool import Spool, maintenance

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    Run = Callable[..., Result]

COMMAND = [sys.executable, "-c", "from kafka_throttle.cli import main; main()", "spool"]


def on_a_terminal(*arguments: object, answer: bytes = b"") -> tuple[int, str, str]:
    """Run a command whose input and errors are a terminal; return its status, what that showed, and its output."""
    ours, theirs = pty.openpty()
    with (
        tempfile.TemporaryFile() as out,
        subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdin=theirs,
            stderr=theirs,
            stdout=out,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
        ) as process,
    ):
        os.close(theirs)
        shown = b""
        while True:
            assert select.select([ours], [], [], 60)[0], "neither an end nor a word"
            try:
                chunk = os.read(ours, 65_536)
            except OSError:  # the other side has closed it
                break
            if answer and b"[y/N]" in chunk:
                os.write(ours, answer)
            shown += chunk
        process.wait()
        out.seek(0)
        output = out.read().decode()
    os.close(ours)
    return process.returncode, shown.decode(), output


def test_repair_of_a_sound_spool_changes_nothing(run: Run, directory: Path) -> None:
    before = sorted(path.name for path in directory.iterdir())

    repaired = run("repair", directory)

    assert (repaired.exit_code, repaired.stdout, repaired.stderr) == (0, "62 records can be read.\n", "")
    assert before == sorted(path.name for path in directory.iterdir())


def test_repair_sets_aside_what_is_damaged_and_says_what_it_cost(run: Run, damaged: Path) -> None:
    victim = sorted(damaged.glob("*.segment"))[-2]
    bytes_before = victim.read_bytes()

    repaired = run("repair", damaged)

    assert repaired.exit_code == 1
    assert repaired.stdout.splitlines() == [
        f"{victim.name}: damaged: some batches cannot be read (5 records lost)",
        f"Set aside in {damaged}/quarantine.",
        "57 records can be read.",
    ]
    assert bytes_before == (damaged / "quarantine" / f"{victim.name}.0").read_bytes()
    assert run("verify", damaged).exit_code == 0
    assert run("repair", damaged).exit_code == 0


def test_repair_of_what_a_killed_process_left_keeps_everything(run: Run, killed: Path) -> None:
    assert run("repair", killed).stdout == "100 records can be read.\n"


def test_repair_that_cannot_set_aside_says_so_and_loses_nothing(run: Run, damaged: Path) -> None:
    (damaged / "quarantine").write_bytes(b"")
    victim = sorted(damaged.glob("*.segment"))[-2]

    repaired = run("repair", damaged)

    assert repaired.exit_code == 1
    assert repaired.stderr == (
        f"Error: {victim.name} in {str(damaged)!r} cannot be used (damaged: some batches cannot be read) "
        "and cannot be set aside: File exists\n"
    )
    (damaged / "quarantine").unlink()
    with Spool(damaged) as spool:
        assert len(spool.read(1000)) == 57


@pytest.mark.parametrize(
    "arguments", [["repair"], ["purge", "--yes"], ["replay", "--bootstrap", "localhost:1"]]
)
def test_what_changes_something_names_the_process_that_has_the_spool(
    run: Run, owned: tuple[Path, int], arguments: list[str]
) -> None:
    directory, pid = owned

    refused = run(*arguments, directory)

    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"Error: the spool in {str(directory)!r} belongs to process {pid}; one producer per directory\n"
    )
    assert maintenance.status(directory).records == 100


def test_purge_without_a_terminal_needs_the_word(run: Run, directory: Path) -> None:
    refused = run("purge", directory, input="y\n")

    assert refused.exit_code == 2
    assert "there is no terminal to ask at: give --yes to delete without being asked" in refused.stderr
    assert maintenance.status(directory).records == 62


def test_purge_deletes_the_records_and_keeps_the_quarantine(run: Run, damaged: Path) -> None:
    run("repair", damaged)

    purged = run("purge", damaged, "--yes")

    assert (purged.exit_code, purged.stdout, purged.stderr) == (0, "57 records deleted.\n", "")
    found = maintenance.status(damaged)
    assert (found.records, found.segments, found.quarantined) == (0, 0, 1)


def test_purge_deletes_the_quarantine_when_it_is_told_to(run: Run, damaged: Path) -> None:
    run("repair", damaged)

    assert run("purge", damaged, "--yes", "--quarantine").exit_code == 0
    assert maintenance.status(damaged).quarantined == 0


@pytest.mark.parametrize(("answer", "status", "left"), [(b"y\n", 0, 0), (b"n\n", 1, 62), (b"\n", 1, 62)])
def test_purge_asks_first(directory: Path, answer: bytes, status: int, left: int) -> None:
    returned, shown, output = on_a_terminal("purge", directory, answer=answer)

    assert returned == status
    assert "62 records (" in shown
    assert f"in {directory} were not sent." in shown.replace("\r\n", "\n")
    assert "Delete them for good? [y/N]:" in shown
    assert output == ("62 records deleted.\n" if status == 0 else "")
    assert maintenance.status(directory).records == left


def test_purge_says_that_the_quarantine_goes_too(damaged: Path, run: Run) -> None:
    run("repair", damaged)

    assert "and 1 file in quarantine in " in on_a_terminal("purge", damaged, "--quarantine", answer=b"n\n")[1]


@pytest.mark.parametrize(
    ("command", "label"), [("export", "Exporting"), ("verify", "Verifying"), ("repair", "Repairing")]
)
def test_on_a_terminal_a_bar_is_shown_and_wiped_away(directory: Path, command: str, label: str) -> None:
    returned, shown, output = on_a_terminal(command, directory)

    assert returned == 0
    assert label in shown
    assert label not in output
    assert "\x1b[2K" in shown[shown.rindex(label) :]


def test_ctrl_c_leaves_a_sound_spool(run: Run, damaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(maintenance, "rebuild", interrupt)

    ended = run("repair", damaged)

    assert (ended.exit_code, ended.stderr) == (130, "Interrupted. The spool is sound.\n")
    monkeypatch.undo()
    assert maintenance.status(damaged).owner is None
    assert run("repair", damaged).stdout.splitlines()[-1] == "57 records can be read."
