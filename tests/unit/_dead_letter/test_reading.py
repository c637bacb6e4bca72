"""Taking letters out of a file while others write to it: what was not delivered is there, whatever happens."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_throttle._dead_letter import Letter
from kafka_throttle._dead_letter.file_sink import FileSink
from kafka_throttle._dead_letter.files import Files
from kafka_throttle._dead_letter.lines import letter_in, line_of
from kafka_throttle._dead_letter.reading import OpenFile
from kafka_throttle.exceptions import DeadLetterError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dead.jsonl"


@pytest.fixture
def files(path: Path) -> Iterator[Files]:
    files = Files(path)
    yield files
    files.release()


@pytest.fixture
def sink(path: Path, letter: Letter) -> Iterator[FileSink]:
    """A sink with the letters 0 to 4."""
    sink = FileSink(path, max_bytes=100 * len(line_of(letter)))
    write(sink, letter, *range(5))
    yield sink
    sink.close()


def write(sink: FileSink, letter: Letter, *numbers: int) -> None:
    for number in numbers:
        sink.write(attrs.evolve(letter, attempts=number), lambda error: None)


def attempts(path: Path) -> list[int]:
    return [letter_in(line).attempts for line in path.read_bytes().splitlines(keepends=True)]


def take(path: Path, files: Files, *numbers: int) -> None:
    file = OpenFile.open(path)
    try:
        assert file.claim(files)
        for number in numbers:
            file.delivered(number)
        file.take_out(files)
    finally:
        file.close()


def test_what_was_delivered_goes_and_the_rest_stays_in_order(
    sink: FileSink, path: Path, files: Files
) -> None:
    take(path, files, 0, 3)

    assert attempts(path) == [1, 2, 4]
    assert sorted(each.name for each in path.parent.iterdir()) == ["dead.jsonl", "dead.jsonl.lock"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_of_which_nothing_stays_goes_and_the_sink_begins_a_new_one(
    sink: FileSink, path: Path, files: Files, letter: Letter
) -> None:
    take(path, files, 0, 1, 2, 3, 4)
    assert not path.exists()

    write(sink, letter, 9)
    assert attempts(path) == [9]


def test_what_is_appended_meanwhile_stays_and_is_not_read(
    sink: FileSink, path: Path, files: Files, letter: Letter
) -> None:
    file = OpenFile.open(path)
    write(sink, letter, 5, 6)
    assert len(list(file.lines())) == 5
    for number in range(5):
        file.delivered(number)
    file.take_out(files)
    file.close()
    write(sink, letter, 7)

    assert attempts(path) == [5, 6, 7]


def test_a_file_that_was_rotated_meanwhile_is_found_by_its_new_name(
    path: Path, files: Files, letter: Letter
) -> None:
    sink = FileSink(path, max_bytes=3 * len(line_of(letter)))
    write(sink, letter, 0, 1, 2)
    file = OpenFile.open(path)
    write(sink, letter, 3)
    file.delivered(1)
    file.take_out(files)
    file.close()
    sink.close()

    assert attempts(path.with_name("dead.jsonl.1")) == [0, 2]
    assert attempts(path) == [3]


def test_a_line_that_is_still_being_written_is_left_out_and_left_alone(
    sink: FileSink, path: Path, files: Files
) -> None:
    with path.open("ab") as file:
        file.write(b'{"v": 1')

    take(path, files, 0, 1, 2, 3)

    assert path.read_bytes().splitlines()[1:] == [b'{"v": 1']


def test_only_one_at_a_time_takes_letters_out(sink: FileSink, path: Path, files: Files) -> None:
    first, second = OpenFile.open(path), OpenFile.open(path)
    assert first.claim(files)

    with pytest.raises(DeadLetterError) as caught:
        second.claim(files)
    assert str(caught.value) == f"another process takes letters out of {str(path)!r} at this moment"

    first.delivered(0)
    first.take_out(files)
    first.close()
    assert second.claim(files) is False
    second.close()


def test_a_file_that_was_taken_away_meanwhile_is_said(sink: FileSink, path: Path, files: Files) -> None:
    file = OpenFile.open(path)
    file.delivered(0)
    path.unlink()

    with pytest.raises(DeadLetterError) as caught:
        file.take_out(files)

    assert str(caught.value) == f"{str(path)!r} was taken away while its letters were delivered"
    file.close()


def test_a_full_disk_leaves_the_file_as_it_was(sink: FileSink, path: Path) -> None:
    before = path.read_bytes()
    script = """
import resource, sys
from kafka_throttle._dead_letter.files import Files
from kafka_throttle._dead_letter.reading import OpenFile
from kafka_throttle.exceptions import DeadLetterError
from pathlib import Path
path = Path(sys.argv[1])
file = OpenFile.open(path)
file.delivered(0)
resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    file.take_out(Files(path))
except DeadLetterError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == f"cannot take the delivered letters out of {str(path)!r}: File too large\n"
    assert path.read_bytes() == before
    assert sorted(each.name for each in path.parent.iterdir()) == ["dead.jsonl", "dead.jsonl.lock"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_users_file_is_refused_before_anything_is_sent(sink: FileSink, path: Path) -> None:
    path.chmod(0o644)
    script = """
import os, sys
from kafka_throttle._dead_letter.files import Files
from kafka_throttle._dead_letter.reading import OpenFile
from kafka_throttle.exceptions import DeadLetterError
from pathlib import Path
path = Path(sys.argv[1])
file = OpenFile.open(path)
os.seteuid(65534)
try:
    file.claim(Files(path))
except DeadLetterError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == (
        f"{str(path)!r} belongs to another user, who alone (or root) can take letters out of it\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_what_root_rewrites_still_belongs_to_its_owner(path: Path, files: Files, letter: Letter) -> None:
    path.write_bytes(line_of(letter) * 2)
    os.chown(path, 65534, 65534)

    take(path, files, 0)

    assert {each.name: each.stat().st_uid for each in path.parent.iterdir()} == {
        "dead.jsonl": 65534,
        "dead.jsonl.lock": 65534,
    }


def test_a_line_longer_than_any_of_a_letter_is_an_error(
    path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kafka_throttle._dead_letter.reading.LONGEST_LINE", 1000)
    path.write_bytes(b"x" * 5000)
    file = OpenFile.open(path)

    with pytest.raises(DeadLetterError) as caught:
        list(file.lines())

    assert str(caught.value) == (
        f"{str(path)!r} has a line of more than 1,000 bytes: it is no file of dead letters"
    )
    file.close()


def test_a_file_that_is_not_there_is_an_error(path: Path) -> None:
    with pytest.raises(DeadLetterError) as caught:
        OpenFile.open(path)

    assert str(caught.value) == f"cannot read {str(path)!r}: No such file or directory"


@given(st.data())
def test_flipped_bits_cost_only_the_lines_that_they_are_in(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    letter = Letter(topic="t", key=b"k", value=b"\xff" * 20, policy="p", reason="r", first_seen=1.0)
    lines = [line_of(attrs.evolve(letter, attempts=number)) for number in range(10)]
    content = bytearray(b"".join(lines))
    flips = data.draw(st.sets(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=8))
    for bit in flips:
        content[bit // 8] ^= 1 << bit % 8
    path = tmp_path_factory.mktemp("flipped") / "dead.jsonl"
    path.write_bytes(content)

    FileSink(path).close()  # it may set the end aside, and loses nothing by that
    found = set()
    file = OpenFile.open(path)
    for line in file.lines():
        with contextlib.suppress(DeadLetterError):
            found.add(letter_in(line))
    file.close()

    ends = list(itertools.accumulate(map(len, lines)))
    hit = {bisect.bisect_right(ends, bit // 8) for bit in flips}
    # A newline that is gone takes the next line with it.
    hit |= {number + 1 for number in hit if content[ends[number] - 1] != ord("\n")}
    whole = {attrs.evolve(letter, attempts=number) for number in range(10) if number not in hit}
    assert whole <= found
