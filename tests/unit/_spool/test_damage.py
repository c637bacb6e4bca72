"""Damage: what is readable is replayed, what is not is set aside and counted, and the process lives on."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from kafka_throttle._spool import Spool, SpooledRecord, maintenance

Opener = Callable[..., Spool]
OPTIONS = {
    "group_seconds": None,
    "fsync": "off",
    "segment_bytes": 25_000,
    "group_records": 5,
    "save_every": 1,
}
COUNT = 203
FLIPS = int(os.environ.get("KAFKA_THROTTLE_FLIPS", "1100"))
"""Bits that are flipped in each of two states of the spool, one in each copy of it."""
SEED = int(os.environ.get("KAFKA_THROTTLE_SEED", "6"))
PAGE = 4096
LOG_HEADER, FRAME_HEADER = 32, 24


def value_of(sequence: int) -> bytes:
    return (b"%d-" % sequence) * 40


def make(directory: Path) -> Spool:
    """Return an open spool with several segments, whose last records are still in SQLite's log."""
    spool = Spool(directory, **OPTIONS)
    for sequence in range(1, COUNT + 1):
        spool.append(f"t{sequence % 3}", b"k", value_of(sequence), (("n", b"h"),) if sequence % 2 else None)
    spool.commit()
    return spool


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process that was killed left: nothing acknowledged, a log with committed frames."""
    root = tmp_path_factory.mktemp("crashed")
    with make(root / "living"):
        shutil.copytree(root / "living", root / "spool")
    assert any(path.suffix == ".segment-wal" and path.stat().st_size for path in (root / "spool").iterdir())
    return root / "spool"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process that closed its spool left, with some records acknowledged."""
    directory = tmp_path_factory.mktemp("closed") / "spool"
    with make(directory) as spool:
        spool.read(150)
        spool.acknowledge(range(90, 140))
    return directory


def drain(spool: Spool) -> list[SpooledRecord]:
    records: list[SpooledRecord] = []
    while found := spool.read(1000):
        records += found
    return records


def check_what_is_left(directory: Path, expected: set[int], optional: set[int], most_lost: int) -> set[int]:
    """Open, read, check everything that must hold after any damage, and return what is missing."""
    with Spool(directory, **OPTIONS) as spool:
        records = drain(spool)
        sequences = [record.sequence for record in records]
        assert sorted(set(sequences)) == sequences
        for record in records:
            assert value_of(record.sequence) == record.value
            assert f"t{record.sequence % 3}" == record.topic
        assert set(sequences) <= expected | optional
        missing = expected - set(sequences)
        assert len(missing) <= most_lost
        # The end of a log that is cut off is the one loss that nobody can know of.
        tail = {sequence for sequence in missing if sequence > max(sequences, default=0)}
        if missing - tail:
            assert spool.quarantined >= 1
        assert spool.records == len(records)
        assert spool.acknowledge(sequences) == len(records)
        assert (spool.records, spool.payload_bytes) == (0, 0)
        later = spool.append("t", None, b"later")
        assert [later] == [record.sequence for record in spool.read(10)]
        counted = spool.lost_records
    assert len(missing - tail) <= counted <= len(missing)
    return missing


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.mark.parametrize("state", ["crashed", "closed"])
def test_a_flipped_bit_costs_at_most_what_lies_on_its_page(
    request: pytest.FixtureRequest, tmp_path: Path, state: str
) -> None:
    source: Path = request.getfixturevalue(state)
    acknowledged = set(range(90, 140)) if state == "closed" else set()
    expected = set(range(1, COUNT + 1)) - acknowledged
    files = [path for path in sorted(source.iterdir()) if path.is_file() and path.stat().st_size > 10]
    chance = random.Random(SEED)
    lost = 0
    for trial in range(FLIPS):
        victim = chance.choice(files)
        bit = chance.randrange(victim.stat().st_size * 8)
        directory = tmp_path / str(trial)
        shutil.copytree(source, directory)
        flip(directory / victim.name, bit)
        try:
            # A leaf of a table holds at most eight batches, an SQLite log's frame one page.
            lost += bool(check_what_is_left(directory, expected, acknowledged, 8 * 5))
        except Exception as error:
            raise AssertionError(f"after bit {bit} of {victim.name} was flipped") from error
        shutil.rmtree(directory)
    assert lost < FLIPS / 2


@pytest.mark.parametrize("state", ["crashed", "closed"])
def test_after_a_flipped_bit_what_looks_sees_the_rest_and_repair_makes_it_sound(
    request: pytest.FixtureRequest, tmp_path: Path, state: str
) -> None:
    source: Path = request.getfixturevalue(state)
    files = [path for path in sorted(source.iterdir()) if path.is_file() and path.stat().st_size > 10]
    chance = random.Random(SEED)
    found = 0
    for trial in range(max(FLIPS // 20, 1)):
        victim = chance.choice(files)
        bit = chance.randrange(victim.stat().st_size * 8)
        directory = tmp_path / str(trial)
        shutil.copytree(source, directory)
        flip(directory / victim.name, bit)
        try:
            before = maintenance.verify(directory)
            found += bool(before.findings)
            assert before.records == len(list(maintenance.peek(directory)))
            assert before.records == maintenance.repair(directory).records
            assert maintenance.Verdict(before.records, ()) == maintenance.verify(directory)
            assert before.records == maintenance.status(directory).records
        except Exception as error:
            raise AssertionError(f"after bit {bit} of {victim.name} was flipped") from error
        shutil.rmtree(directory)
    assert found or FLIPS < 1000


def make_illegible(path: Path, text: bytes) -> None:
    """Turn the ninth letter of `text` in a schema into a byte that is no UTF-8."""
    flip(path, (path.read_bytes().rindex(text) + 8) * 8 + 7)


# The one is found by reading the schema, the other is quoted by SQLite when it refuses the file.
@pytest.mark.parametrize("text", [b"data BLOB)", b"tablebatches"])
def test_a_schema_that_is_no_text_any_more_is_damage_as_any_other(
    closed: Path, tmp_path: Path, text: bytes
) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(closed, directory)
    make_illegible(min(directory.glob("*.segment")), text)
    with Spool(directory, **OPTIONS) as spool:
        assert len(drain(spool)) == COUNT - 50
        assert (spool.lost_records, spool.quarantined) == (0, 1)


def test_a_catalogue_whose_schema_is_no_text_any_more_is_set_aside(closed: Path, tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(closed, directory)
    make_illegible(directory / "catalogue.db", b"tableentries")
    with Spool(directory, **OPTIONS) as spool:
        assert len(drain(spool)) > COUNT - 50
        assert (spool.lost_records, spool.quarantined) == (0, 1)


@pytest.mark.parametrize("state", ["crashed", "closed"])
@pytest.mark.parametrize("name", ["catalogue.db", "last segment"])
def test_a_file_that_says_it_may_not_be_written_is_damaged_and_no_read_only_disk(
    request: pytest.FixtureRequest, tmp_path: Path, state: str, name: str
) -> None:
    source: Path = request.getfixturevalue(state)
    directory = tmp_path / "spool"
    shutil.copytree(source, directory)
    path = max(directory.glob("*.segment")) if name == "last segment" else directory / name
    flip(path, 18 * 8)
    acknowledged = set(range(90, 140)) if state == "closed" else set()
    assert check_what_is_left(directory, set(range(1, COUNT + 1)) - acknowledged, acknowledged, 0) == set()


def test_a_row_that_lost_its_batch_to_a_flipped_bit_is_no_gap_that_was_counted(
    closed: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(closed, directory)
    first = min(directory.glob("*.segment"))
    # Between the type of the batch in its row and the batch are one byte of that type and three of two numbers. 0x8b
    # begins the type of a blob of some 700 bytes, 0x0b is a type that SQLite reads as NULL.
    kind = first.read_bytes().rindex(b"ktb") - 5
    assert first.read_bytes()[kind] == 0x8B
    flip(first, kind * 8 + 7)
    with Spool(directory, **OPTIONS) as spool:
        assert len(drain(spool)) == COUNT - 50
        assert (spool.lost_records, spool.quarantined) == (0, 1)
    (note,) = (directory / "quarantine").glob("*.reason")
    assert note.read_text().endswith("has gone\n")


def test_the_log_of_a_young_segment_can_lose_its_header_and_nothing_else_is_lost(tmp_path: Path) -> None:
    with Spool(tmp_path / "living", **{**OPTIONS, "segment_bytes": 1 << 20}) as spool:
        for sequence in range(1, 31):
            spool.append(f"t{sequence % 3}", None, value_of(sequence))
        spool.commit()
        shutil.copytree(tmp_path / "living", tmp_path / "spool")
    log = next((tmp_path / "spool").glob("*-wal"))
    for bit in (3, 20 * 8, 9 * 8 + 3, 30 * 8):
        directory = tmp_path / str(bit)
        shutil.copytree(tmp_path / "spool", directory)
        flip(directory / log.name, bit)
        found = check_what_is_left(directory, set(range(1, 31)), set(), 0 if bit != 20 * 8 else 30)
        assert found == set() or bit == 20 * 8


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("state", ["crashed", "closed"])
def test_a_truncated_segment_costs_what_was_cut_off(
    request: pytest.FixtureRequest, tmp_path: Path, state: str, part: float
) -> None:
    source: Path = request.getfixturevalue(state)
    acknowledged = set(range(90, 140)) if state == "closed" else set()
    segments = sorted(path.name for path in source.glob("*.segment"))
    for number, name in enumerate(segments[:-1]):
        directory = tmp_path / str(number)
        shutil.copytree(source, directory)
        os.truncate(directory / name, int((directory / name).stat().st_size * part))
        inside = set(range(int(name[:20]), int(segments[number + 1][:20])))
        missing = check_what_is_left(
            directory, set(range(1, COUNT + 1)) - acknowledged, acknowledged, len(inside)
        )
        assert missing <= inside
        if part == 0.0:
            assert missing == inside - acknowledged


def kinds_of_offsets(path: Path) -> list[int]:
    """Return where a file can end: at, before and behind the borders of what is in it, and in its middle."""
    size = path.stat().st_size
    if path.suffix.endswith("-wal"):
        frame = FRAME_HEADER + PAGE
        starts = range(LOG_HEADER, size, frame)
        borders = {0, *starts, *(start + FRAME_HEADER for start in starts)}
    else:
        borders = {0, 16, 100, *range(PAGE, size, PAGE), *range(PAGE // 2, size, PAGE)}
    near = {border + step for border in borders for step in (-1, 0, 1)}
    return sorted(offset for offset in {*near, size - 1} if 0 <= offset < size)


def sequences_in(source: Path, name: str) -> set[int]:
    """Return the sequences that a file of a segment may have, by the names of it and of the next one."""
    firsts = [*sorted(int(path.name[:20]) for path in source.glob("*.segment")), COUNT + 1]
    first = int(name[:20])
    return set(range(first, firsts[firsts.index(first) + 1]))


@pytest.mark.parametrize("state", ["crashed", "closed"])
def test_a_file_that_ends_at_any_kind_of_offset_costs_what_was_in_it_at_most(
    request: pytest.FixtureRequest, tmp_path: Path, state: str
) -> None:
    source: Path = request.getfixturevalue(state)
    acknowledged = set(range(90, 140)) if state == "closed" else set()
    segments = sorted(path.name for path in source.glob("*.segment"))
    names = [
        segments[0],
        segments[len(segments) // 2],
        *sorted(path.name for path in source.glob("*.segment-wal")),
    ]
    for name in (*names, "catalogue.db", "catalogue.db-wal"):
        if not (source / name).exists():
            continue
        inside = set() if name.startswith("catalogue") else sequences_in(source, name)
        for offset in kinds_of_offsets(source / name):
            directory = tmp_path / f"{name}-{offset}"
            shutil.copytree(source, directory)
            os.truncate(directory / name, offset)
            try:
                # The end of a log that is cut off looks like one that was never written.
                missing = check_what_is_left(
                    directory, set(range(1, COUNT + 1)) - acknowledged, acknowledged, len(inside)
                )
                assert missing <= inside
            except Exception as error:
                raise AssertionError(f"after {name} was cut off at {offset}") from error
            shutil.rmtree(directory)


@pytest.mark.parametrize("state", ["crashed", "closed"])
def test_any_file_may_be_missing_and_costs_what_was_in_it_at_most(
    request: pytest.FixtureRequest, tmp_path: Path, state: str
) -> None:
    source: Path = request.getfixturevalue(state)
    acknowledged = set(range(90, 140)) if state == "closed" else set()
    for path in sorted(source.iterdir()):
        directory = tmp_path / path.name
        shutil.copytree(source, directory)
        (directory / path.name).unlink()
        inside = sequences_in(source, path.name) if path.name[:20].isdigit() else set()
        try:
            missing = check_what_is_left(
                directory, set(range(1, COUNT + 1)) - acknowledged, acknowledged, len(inside)
            )
            assert missing <= inside
            in_a_log = (source / f"{path.name}-wal").exists()
            assert missing or in_a_log or path.suffix != ".segment"
        except Exception as error:
            raise AssertionError(f"without {path.name}") from error


def test_a_damaged_frame_of_the_log_costs_nothing_that_is_in_the_segment_already(tmp_path: Path) -> None:
    """SQLite would end the log before the frame, and write the older page that it has over the newer one."""
    with Spool(tmp_path / "living", **{**OPTIONS, "segment_bytes": 1 << 20}) as spool:
        for sequence in range(1, 31):
            spool.append(f"t{sequence % 3}", None, value_of(sequence))
            if sequence % 5 == 0:
                spool.commit()
        spool._writer._file.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        shutil.copytree(tmp_path / "living", tmp_path / "spool")
    log = next((tmp_path / "spool").glob("*.segment-wal"))
    frames = range(LOG_HEADER, log.stat().st_size, FRAME_HEADER + PAGE)
    for number, frame in enumerate(frames):
        directory = tmp_path / str(number)
        shutil.copytree(tmp_path / "spool", directory)
        flip(directory / log.name, (frame + FRAME_HEADER + PAGE - 20) * 8)
        damaged = (directory / log.name).read_bytes()
        assert check_what_is_left(directory, set(range(1, 31)), set(), 0) == set()
        name = log.name.removesuffix("-wal")
        assert damaged == (directory / "quarantine" / f"{name}.0-wal").read_bytes()


def test_what_only_the_log_holds_survives_its_segment(tmp_path: Path) -> None:
    with Spool(tmp_path / "living", **{**OPTIONS, "segment_bytes": 1 << 20}) as spool:
        for sequence in range(1, 31):
            spool.append(f"t{sequence % 3}", None, value_of(sequence))
        spool.commit()
        shutil.copytree(tmp_path / "living", tmp_path / "spool")
        ids = [record.record_id for record in spool.read(30)]
    directory = tmp_path / "spool"
    (segment,) = directory.glob("*.segment")
    log = segment.with_name(f"{segment.name}-wal").read_bytes()
    segment.unlink()
    with Spool(directory, **OPTIONS) as spool:
        assert ids == [record.record_id for record in spool.read(100)]
        assert (spool.lost_records, spool.quarantined) == (0, 1)
    kept = directory / "quarantine" / f"{segment.name}.0-wal"
    assert log == kept.read_bytes()
    note = kept.with_name(f"{segment.name}.0.reason")
    assert note.read_text() == "the file is missing; its log was left\n"


def test_the_log_of_a_segment_that_was_rebuilt_follows_it_to_the_quarantine(
    closed: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(closed, directory)
    first = min(path.name for path in directory.glob("*.segment"))
    (directory / first).rename(directory / first.replace("-000.", "-001."))
    (directory / f"{first}-wal").write_bytes(b"what a repair that was killed left")
    with Spool(directory, **OPTIONS) as spool:
        assert len(drain(spool)) == COUNT - 50
        assert (spool.lost_records, spool.quarantined) == (0, 1)
    assert (directory / "quarantine" / f"{first}.0-wal").exists()
    assert not (directory / f"{first}-wal").exists()


def test_a_truncated_log_costs_what_was_cut_off(crashed: Path, tmp_path: Path) -> None:
    log = next(path for path in crashed.glob("*.segment-wal") if path.stat().st_size)
    first = int(log.name[:20])
    for size in (0, 20, 5000, log.stat().st_size - 1):
        directory = tmp_path / str(size)
        shutil.copytree(crashed, directory)
        os.truncate(directory / log.name, size)
        with Spool(directory, **OPTIONS) as spool:
            sequences = [record.sequence for record in drain(spool)]
        assert list(range(1, max(sequences) + 1)) == sequences
        assert max(sequences) >= first - 1


def test_a_missing_segment_is_counted(closed: Path, tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(closed, directory)
    names = sorted(path.name for path in directory.glob("*.segment"))
    (directory / names[0]).unlink()
    gone = int(names[1][:20]) - 1
    with Spool(directory, **OPTIONS) as spool:
        assert (gone, 1) == (spool.lost_records, spool.quarantined)
        expected = [n for n in range(gone + 1, COUNT + 1) if not 90 <= n < 140]
        assert expected == [record.sequence for record in drain(spool)]
    note = next((directory / "quarantine").glob("*.reason"))
    assert f"the file is missing; {gone} records were in it\n" == note.read_text()


def test_a_segment_that_goes_missing_while_the_spool_is_open_is_counted(tmp_path: Path) -> None:
    spool = make(tmp_path / "spool")
    names = sorted(path.name for path in (tmp_path / "spool").glob("*.segment"))
    (tmp_path / "spool" / names[1]).unlink()
    inside = set(range(int(names[1][:20]), int(names[2][:20])))
    spool.rewind()  # forgets what it still has in memory
    sequences = {record.sequence for record in drain(spool)}
    assert set(range(1, COUNT + 1)) - inside == sequences
    assert len(inside) == spool.lost_records
    spool.close()


def other_database(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE batches (first INTEGER PRIMARY KEY, data TEXT)")
    connection.close()


def other_version(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.write_bytes(b"not a database at all" * 300), "damaged: file is not a database"),
        (other_database, "damaged: it is not a segment of a spool"),
    ],
)
def test_a_foreign_file_in_a_segment_s_place_is_set_aside(
    closed: Path, tmp_path: Path, change: Callable[[Path], None], reason: str
) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(closed, directory)
    names = sorted(path.name for path in directory.glob("*.segment"))
    change(directory / names[1])
    inside = range(int(names[1][:20]), int(names[2][:20]))
    with Spool(directory, **OPTIONS) as spool:
        sequences = {record.sequence for record in drain(spool)}
        lost = set(inside) - set(range(90, 140))
        assert set(range(1, COUNT + 1)) - set(range(90, 140)) - lost == sequences
        assert (len(lost), 1) == (spool.lost_records, spool.quarantined)
    assert f"{reason}\n" == (directory / "quarantine" / f"{names[1]}.0.reason").read_text()


def test_a_segment_of_a_later_version_is_kept_in_the_quarantine_and_what_is_readable_replayed(
    closed: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(closed, directory)
    names = sorted(path.name for path in directory.glob("*.segment"))
    other_version(directory / names[0])
    before = (directory / names[0]).read_bytes()
    with Spool(directory, **OPTIONS) as spool:
        assert len(drain(spool)) == COUNT - 50
    kept = directory / "quarantine" / f"{names[0]}.0"
    assert before == kept.read_bytes()
    assert Path(f"{kept}.reason").read_text() == "damaged: it has version 2; this release reads version 1\n"


def test_without_the_catalogue_everything_is_found_and_the_acknowledged_come_once_more(
    closed: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(closed, directory)
    (directory / "catalogue.db").unlink()
    with Spool(directory, **OPTIONS) as spool:
        sequences = {record.sequence for record in drain(spool)}
    unacknowledged = set(range(1, COUNT + 1)) - set(range(90, 140))
    assert unacknowledged < sequences < set(range(1, COUNT + 1))


def test_a_catalogue_that_is_none_is_set_aside(closed: Path, tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(closed, directory)
    (directory / "catalogue.db").write_bytes(b"x" * 5000)
    with Spool(directory, **OPTIONS) as spool:
        sequences = {record.sequence for record in drain(spool)}
        assert set(range(1, COUNT + 1)) - set(range(90, 140)) < sequences
        assert (spool.quarantined, spool.lost_records) == (1, 0)
    assert (directory / "quarantine" / "catalogue.db.0").read_bytes() == b"x" * 5000


def test_a_segment_that_is_put_back_is_replayed(closed: Path, tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(closed, directory)
    first = min(path.name for path in directory.glob("*.segment"))
    (directory / first).rename(tmp_path / first)
    with Spool(directory, **OPTIONS) as spool:
        lost = spool.lost_records
        drain(spool)
    (tmp_path / first).rename(directory / first)
    with Spool(directory, **OPTIONS) as spool:
        assert list(range(1, lost + 1)) == [record.sequence for record in spool.read(lost)]


def test_files_with_other_names_are_left_alone(closed: Path, tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    shutil.copytree(closed, directory)
    (directory / "notes.txt").write_text("mine")
    (directory / "1-0.segment").write_text("mine too")
    with Spool(directory, **OPTIONS) as spool:
        assert spool.quarantined == 0
    assert [(directory / name).read_text() for name in ("notes.txt", "1-0.segment")] == ["mine", "mine too"]
