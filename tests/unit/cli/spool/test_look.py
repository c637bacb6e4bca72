"""status, peek, export, verify: they read, and change nothing, whoever has the spool."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from kafka_throttle._spool import Spool
from kafka_throttle._spool.maintenance import peek as peek_records
from kafka_throttle.cli import _extras

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    Run = Callable[..., Result]

LEFT = [1, 2, *range(41, 101)]
KEYS = {
    "sequence",
    "record_id",
    "topic",
    "partition",
    "timestamp",
    "spooled_at",
    "key",
    "value",
    "headers",
}


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("*.segment*")}


def test_status_says_at_a_glance_what_is_there(
    run: Run, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_795_515_792.0 + 3 * 3600 + 125)
    segments = list(directory.glob("*.segment"))

    shown = run("status", directory)

    assert (shown.exit_code, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert lines[:2] == [f"Spool       {directory}", "Owner       nobody"]
    assert lines[2].startswith("Records     62 records, 6")
    assert lines[3] == "Oldest      3 h 2 min (2026-11-24 10:23:12 UTC)"
    assert lines[4].startswith(f"Disk        {len(segments)} segments, ")
    assert lines[5:] == ["Lost        0 records", "Quarantine  empty"]


def test_status_in_json_has_the_keys_that_are_documented(run: Run, directory: Path) -> None:
    found = json.loads(run("status", directory, "--json").stdout)

    assert found == {
        "directory": str(directory),
        "owner": None,
        "records": len(LEFT),
        "payload_bytes": sum(record.payload_bytes for record in peek_records(directory)),
        "disk_bytes": sum(path.stat().st_size for path in directory.glob("*.segment")),
        "segments": len(list(directory.glob("*.segment"))),
        "oldest": 1_795_515_792.0,
        "lost_records": 0,
        "quarantined": 0,
        "quarantined_bytes": 0,
    }
    documented = run("status", "--help").stdout
    assert [key for key in found if key not in documented] == []


def test_status_counts_what_is_lost_and_set_aside(run: Run, damaged: Path) -> None:
    run("repair", damaged)

    lines = run("status", damaged).stdout.splitlines()

    assert lines[5] == "Lost        5 records to damage"
    assert lines[6].startswith("Quarantine  1 file, ")


def test_status_of_a_spool_that_another_process_has(run: Run, owned: tuple[Path, int]) -> None:
    directory, pid = owned

    assert f"Owner       process {pid}" in run("status", directory).stdout
    (directory / "lock").write_bytes(b"")
    assert "Owner       a process that did not say its pid" in run("status", directory).stdout


def test_status_of_an_empty_spool_has_no_oldest(run: Run, tmp_path: Path) -> None:
    Spool(tmp_path / "empty").close()

    shown = run("status", tmp_path / "empty").stdout

    assert "Records     0 records, 0 B of payload" in shown
    assert "Oldest" not in shown


def test_peek_shows_the_next_records_and_takes_none(run: Run, directory: Path) -> None:
    shown = run("peek", directory, "--limit", "3")

    assert (shown.exit_code, shown.stderr) == (0, "")
    heading, *rows = shown.stdout.splitlines()
    assert heading.split() == [
        "Sequence",
        "Topic",
        "Part.",
        "Spooled",
        "(UTC)",
        "Key",
        "Value",
        "Bytes",
        "Headers",
    ]
    assert [row.split() for row in rows] == [
        ["1", "orders", "-", "2026-11-24", "10:23:12", "k0", f"0-{'v' * 35}...", "1004", "-"],
        ["2", "orders", "-", "2026-11-24", "10:23:12", "k1", f"1-{'v' * 35}...", "1007", "2"],
        ["41", "orders", "-", "2026-11-24", "10:23:12", "k1", f"40-{'v' * 34}...", "1005", "-"],
    ]
    assert len(run("peek", directory).stdout.splitlines()) == 11
    assert [record.sequence for record in peek_records(directory)] == LEFT


def test_peek_shows_what_is_no_text_as_python_would_and_markup_as_it_is(run: Run, tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        spool.append("a", b"\x00\x01", b"[red]no markup[/red]", None, 0, 7)
        spool.append("b", b"\xff", None)
        spool.append("c", None, "grün".encode())
        spool.append("d", None, b"two\nlines")

    rows = run("peek", tmp_path / "s").stdout.splitlines()[1:]

    assert "b'\\x00\\x01'" in rows[0]
    assert "[red]no markup[/red]" in rows[0]
    assert "b'\\xff'" in rows[1]
    assert "grün" in rows[2]
    assert "b'two\\nlines'" in rows[3]
    assert [row.split()[2] for row in rows] == ["7", "-", "-", "-"]


def test_peek_of_an_empty_spool_says_so(run: Run, tmp_path: Path) -> None:
    Spool(tmp_path / "empty").close()

    assert run("peek", tmp_path / "empty").stdout == "No records.\n"
    assert run("peek", tmp_path / "empty", "--json").stdout == ""


def test_peek_in_json_is_a_line_for_each_record(run: Run, directory: Path) -> None:
    lines = run("peek", directory, "--json", "-n", "2").stdout.splitlines()

    assert [json.loads(line)["sequence"] for line in lines] == [1, 2]
    assert set(json.loads(lines[0])) == KEYS


def from_json(line: str) -> tuple[Any, ...]:
    found = json.loads(line)

    def decoded(text: str | None) -> bytes | None:
        return None if text is None else base64.b64decode(text, validate=True)

    headers = found["headers"]
    return (
        found["sequence"],
        found["topic"],
        decoded(found["key"]),
        decoded(found["value"]),
        None if headers is None else tuple((name, decoded(value)) for name, value in headers),
        found["timestamp"],
        found["partition"],
        found["spooled_at"],
        bytes.fromhex(found["record_id"]),
    )


def test_export_leaves_nothing_out(run: Run, tmp_path: Path) -> None:
    directory = tmp_path / "s"
    with Spool(directory) as spool:
        spool.append("prüfung", b"\x00\xff", None, [("ü", b"\xff"), ("ü", None), ("", b"")], 7, 2)
        spool.append("t", b"", b"", [])
        spool.append("t", None, bytes(range(256)), None, -1)

    exported = run("export", directory)

    records = [(*record[:8], record.record_id) for record in peek_records(directory)]
    assert records == [from_json(line) for line in exported.stdout.splitlines()]
    assert exported.stderr == "3 records exported.\n"
    documented = run("export", "--help").stdout
    assert [key for key in KEYS if key not in documented] == []


def test_export_to_a_file_that_only_its_owner_reads(run: Run, directory: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"

    exported = run("export", directory, "--output", target)

    assert (exported.stdout, exported.stderr) == ("", "62 records exported.\n")
    assert [from_json(line)[0] for line in target.read_text("utf-8").splitlines()] == LEFT
    assert target.stat().st_mode & 0o777 == 0o600


def test_export_overwrites_nothing_and_says_where_it_cannot_write(
    run: Run, directory: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("mine")

    existing = run("export", directory, "-o", target)
    nowhere = run("export", directory, "-o", tmp_path / "nowhere" / "out.jsonl")

    assert (existing.exit_code, nowhere.exit_code) == (2, 2)
    assert f"--output {target}: exists already; give another name, or move it" in existing.stderr
    assert f"--output {tmp_path}/nowhere/out.jsonl: No such file or directory" in nowhere.stderr
    assert target.read_text() == "mine"


def test_half_an_export_does_not_stay(
    run: Run, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    target = tmp_path / "out.jsonl"
    monkeypatch.setattr("kafka_throttle._spool.maintenance.export", interrupted)
    ended = run("export", directory, "-o", target)
    monkeypatch.setattr("kafka_throttle._spool.maintenance.export", full)
    failed = run("export", directory, "-o", target)

    assert (ended.exit_code, ended.stderr) == (130, "Interrupted. The spool is sound.\n")
    assert (failed.exit_code, failed.stderr) == (1, f"Error: --output {target}: No space left on device\n")
    assert not target.exists()


def test_export_writes_utf_8_whatever_the_locale_says(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        spool.append("prüfung")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from kafka_throttle.cli import main; main()",
            "spool",
            "export",
            str(tmp_path / "s"),
        ],
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )

    assert json.loads(done.stdout.decode("utf-8"))["topic"] == "prüfung"


def test_verify_of_a_sound_spool(run: Run, directory: Path) -> None:
    verified = run("verify", directory)

    assert (verified.exit_code, verified.stdout, verified.stderr) == (0, "62 records can be read.\n", "")
    assert json.loads(run("verify", directory, "--json").stdout) == {"records": 62, "findings": []}


def test_verify_names_what_is_wrong_and_changes_nothing(run: Run, damaged: Path) -> None:
    segments = sorted(damaged.glob("*.segment"))
    victim = segments[-2].name
    lost_file = segments[-3].name
    inside = int(victim[:20]) - int(lost_file[:20])
    segments[-3].unlink()
    before = content(damaged)

    verified = run("verify", damaged)
    in_json = run("verify", damaged, "--json")

    assert verified.exit_code == in_json.exit_code == 1
    assert verified.stdout.splitlines() == [
        f"{lost_file}: the file is missing ({inside} records lost)",
        f"{victim}: damaged: some batches cannot be read (5 records lost)",
        f"{len(LEFT) - inside - 5} records can be read.",
    ]
    assert verified.stderr == f"To set aside what is damaged: kafka-throttle spool repair {damaged}\n"
    assert json.loads(in_json.stdout) == {
        "records": len(LEFT) - inside - 5,
        "findings": [
            {"file": lost_file, "problem": "the file is missing", "lost": inside},
            {"file": victim, "problem": "damaged: some batches cannot be read", "lost": 5},
        ],
    }
    assert before == content(damaged)


@pytest.mark.parametrize("command", ["status", "peek", "export", "verify"])
def test_what_reads_works_while_another_process_has_the_spool(
    run: Run, owned: tuple[Path, int], command: str
) -> None:
    directory, _ = owned

    shown = run(command, directory)

    assert shown.exit_code == 0, shown.stderr
    assert "100" in shown.stdout or command in {"peek", "export"}
    if command == "export":
        assert len(shown.stdout.splitlines()) == 100


@pytest.mark.parametrize("command", ["status", "peek", "export", "verify"])
def test_what_reads_works_on_what_a_killed_process_left(run: Run, killed: Path, command: str) -> None:
    before = content(killed)

    shown = run(command, killed)

    assert shown.exit_code == 0, shown.stderr
    assert before == content(killed)
    with Spool(killed) as spool:
        assert (spool.records, spool.lost_records, spool.quarantined) == (100, 0, 0)


@pytest.mark.parametrize("command", ["status", "peek", "export", "verify", "repair", "purge", "replay"])
def test_a_directory_that_is_no_spool_is_wrong_usage(run: Run, tmp_path: Path, command: str) -> None:
    foreign = run(command, tmp_path)
    nowhere = run(command, tmp_path / "nowhere")

    assert (foreign.exit_code, nowhere.exit_code) == (2, 2)
    assert (
        f"Invalid value for 'DIRECTORY': {str(tmp_path)!r} is not the directory of a spool" in foreign.stderr
    )
    assert f"Directory '{tmp_path}/nowhere' does not exist" in nowhere.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_rich_tables_say_what_to_install_and_the_rest_works(
    run: Run, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_extras, "find_spec", lambda name: None)

    refused = run("peek", directory)

    assert (refused.exit_code, refused.stderr) == (
        1,
        'Error: rich not installed: pip install "kafka-throttle[cli]"\n',
    )
    assert run("peek", directory, "--json").exit_code == 0
    assert run("status", directory).exit_code == 0


def test_every_option_has_help(run: Run) -> None:
    from kafka_throttle.cli.spool import spool

    assert len(spool.commands) == 7
    for command in spool.commands.values():
        assert [
            p.name for p in command.params if p.name != "directory" and not getattr(p, "help", None)
        ] == []
