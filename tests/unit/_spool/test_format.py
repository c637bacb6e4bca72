"""Version 1 on disk, as it was first written: every later release reads it."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from kafka_throttle._spool import Spool, SpooledRecord
from kafka_throttle._spool.batch import pack

VERSION_1 = Path(__file__).with_name("version-1")
ORIGIN = bytes.fromhex("c698fc52e771474f")
EARLY, LATE = 1700000000.25, 1700000001.5


def test_a_spool_of_version_1_is_read_as_it_was_written(tmp_path: Path) -> None:
    shutil.copytree(VERSION_1, tmp_path / "spool")
    headers = (("a", b"1"), ("a", None), ("ü", b""))
    expected = [
        SpooledRecord(2, "orders", b"", b"", None, 0, -1, EARLY, ORIGIN),
        SpooledRecord(3, "prüfung", b"\x00k", b"\xff\xfe", headers, 1700000000000, 3, EARLY, ORIGIN),
        SpooledRecord(4, "orders", b"k", b"four", None, 0, -1, LATE, ORIGIN),
        SpooledRecord(5, "clicks", None, b"five", (), 7, -1, LATE, ORIGIN),
        SpooledRecord(6, "orders", b"k", b"six", None, 0, -1, LATE, ORIGIN),
    ]
    with Spool(tmp_path / "spool", group_seconds=None) as spool:
        assert spool.records == 5
        assert expected == spool.read(10)
        assert ORIGIN + bytes.fromhex("0000000000000002") == expected[0].record_id
        assert spool.append("t") == 7


def test_batches_of_version_1_are_written_byte_for_byte() -> None:
    rows = [
        ("orders", b"k", b"four", None, 0, -1),
        ("clicks", None, b"five", (), 7, -1),
        ("orders", b"k", b"six", None, 0, -1),
    ]
    alone = [("orders", None, None, None, 0, -1)]
    connection = sqlite3.connect(
        f"{(VERSION_1 / '00000000000000000001-000.segment').as_uri()}?mode=ro&immutable=1", uri=True
    )
    stored = [row[0] for row in connection.execute("SELECT data FROM batches ORDER BY first")]
    connection.close()
    assert [stored[0], stored[3]] == [pack(1, EARLY, alone), pack(4, LATE, rows)]
    assert len(stored) == 4
