"""What can neither be read nor be set aside: an error that says so, nothing lost, and on it goes when the cause is gone."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from kafka_throttle._spool import Spool
from kafka_throttle.exceptions import SpoolCorrupt

if TYPE_CHECKING:
    from pathlib import Path

Opener = Callable[..., Spool]
COUNT = 60
OPTIONS = {"segment_bytes": 20_000, "group_records": 5, "save_every": 1}


def fill(spool: Spool) -> None:
    for _ in range(COUNT):
        spool.append("t", None, b"v" * 1000)
    spool.commit()


def block_quarantine(directory: Path) -> Path:
    """Put a file in the quarantine's place: that stops root, too."""
    blocker = directory / "quarantine"
    blocker.write_bytes(b"")
    return blocker


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"vvvv")] ^= 1
    path.write_bytes(data)


def drain(spool: Spool) -> list[int]:
    sequences: list[int] = []
    while found := spool.read(1000):
        sequences += [record.sequence for record in found]
    return sequences


def test_a_damaged_segment_that_cannot_be_set_aside_stops_the_replay_until_it_can(
    opened: Opener, directory: Path
) -> None:
    spool = opened(**OPTIONS)
    fill(spool)
    spool.rewind()
    spool._recent.clear()
    victim = min(directory.glob("*.segment"))
    damage(victim)
    blocker = block_quarantine(directory)
    for _ in range(2):
        with pytest.raises(SpoolCorrupt) as caught:
            drain(spool)
        assert str(caught.value) == (
            f"{victim.name} in {str(directory)!r} cannot be used (damaged: the batch at sequence 1: the CRC is wrong) "
            "and cannot be set aside: File exists"
        )
        assert (caught.value.errno, caught.value.directory) == (errno.EEXIST, str(directory))
    assert (spool.records, spool.lost_records, spool.quarantined) == (COUNT, 0, 0)
    assert spool.append("t") == COUNT + 1
    blocker.unlink()
    assert list(range(6, COUNT + 2)) == drain(spool)
    assert (spool.lost_records, spool.quarantined) == (5, 1)


def test_a_damaged_catalogue_that_cannot_be_set_aside_keeps_the_spool_from_opening(
    opened: Opener, directory: Path
) -> None:
    with opened(**OPTIONS) as spool:
        fill(spool)
    (directory / "catalogue.db").write_bytes(b"x" * 5000)
    blocker = block_quarantine(directory)
    with pytest.raises(SpoolCorrupt) as caught:
        opened(**OPTIONS)
    assert str(caught.value) == (
        f"catalogue.db in {str(directory)!r} cannot be used (the catalogue is damaged: file is not a database) "
        "and cannot be set aside: File exists"
    )
    blocker.unlink()
    assert list(range(1, COUNT + 1)) == drain(opened(**OPTIONS))


def test_a_catalogue_that_is_damaged_while_it_is_open_is_renewed_as_soon_as_it_can_be_set_aside(
    opened: Opener, directory: Path
) -> None:
    spool = opened(**{**OPTIONS, "save_every": 10_000})
    fill(spool)
    sequences = drain(spool)
    spool.acknowledge(sequences[::2])
    catalogue = directory / "catalogue.db"
    catalogue.write_bytes(b"x" * 5000)
    (directory / "catalogue.db-wal").write_bytes(b"x" * 5000)
    spool._store.catalogue._connection.execute("PRAGMA shrink_memory")
    blocker = block_quarantine(directory)
    for _ in range(2):
        with pytest.raises(SpoolCorrupt, match=r"^catalogue\.db in .* cannot be set aside: File exists$"):
            spool._store.save(*spool._store.segments)
    blocker.unlink()
    spool.close()
    assert sequences[1::2] == drain(opened(**OPTIONS))
