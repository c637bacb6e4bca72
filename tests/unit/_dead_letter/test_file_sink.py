"""The file sink: whole lines or none, for its owner only, whoever else writes and whatever the disk does."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import attrs
import pytest

from kafka_throttle._dead_letter import Letter, open_sink
from kafka_throttle._dead_letter.file_sink import FileSink
from kafka_throttle._dead_letter.lines import letter_in, line_of
from kafka_throttle.exceptions import DeadLetterError
from kafka_throttle.policies.dead_letter import DeadLetter

if TYPE_CHECKING:
    from pathlib import Path

# Runs with the path as its argument; `letter(n)` has n as its attempts.
PRELUDE = """
import os, resource, signal, sys
from kafka_throttle._dead_letter import Letter
from kafka_throttle._dead_letter.file_sink import FileSink
from kafka_throttle.exceptions import DeadLetterError

path = sys.argv[1]

def letter(number, value=b"x" * 100):
    return Letter(topic="t", value=value, policy="p", reason="r", first_seen=1.0, attempts=number)

def ignore(error):
    pass

"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "letters" / "dead.jsonl"


def run(script: str, path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


def numbered(letter: Letter, *numbers: int) -> list[Letter]:
    return [attrs.evolve(letter, attempts=number) for number in numbers]


def write(sink: FileSink, letters: list[Letter]) -> None:
    reports: list[BaseException | None] = []
    for letter in letters:
        sink.write(letter, reports.append)
    assert reports == [None] * len(letters)


def letters_in(path: Path) -> list[Letter]:
    return [letter_in(line) for line in path.read_bytes().splitlines(keepends=True)]


def refusal(sink: FileSink, letter: Letter) -> str:
    reports: list[BaseException | None] = []
    with pytest.raises(DeadLetterError) as caught:
        sink.write(letter, reports.append)
    assert reports == []
    return str(caught.value)


def test_letters_are_in_the_file_when_write_returns(path: Path, letter: Letter) -> None:
    sink = FileSink(path)
    write(sink, numbered(letter, 1, 2))

    assert letters_in(path) == numbered(letter, 1, 2)
    assert (sink.pending, sink.flush(), sink.close()) == (0, 0, 0)


def test_file_and_directory_are_for_their_owner_only_whatever_the_umask_allows(
    path: Path, letter: Letter
) -> None:
    before = os.umask(0)
    try:
        sink = FileSink(path, max_bytes=1, files=2)
        write(sink, numbered(letter, 1, 2))
        sink.close()
    finally:
        os.umask(before)

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (path.parent, *path.parent.iterdir())}
    assert modes == {
        "letters": 0o700,
        "dead.jsonl": 0o600,
        "dead.jsonl.1": 0o600,
        "dead.jsonl.lock": 0o600,
    }


def test_the_sink_that_a_policy_with_a_file_means_has_its_settings(path: Path, letter: Letter) -> None:
    sink = open_sink(DeadLetter(file=path, max_bytes="1 KiB", files=1), {})
    assert isinstance(sink, FileSink)
    write(sink, [letter, letter])

    assert refusal(sink, letter).startswith(f"the file of dead letters {str(path)!r} is full: 1 of 1 files")
    sink.close()


def test_a_full_file_gets_the_next_number_and_none_is_deleted(path: Path, letter: Letter) -> None:
    size = len(line_of(letter))
    sink = FileSink(path, max_bytes=2 * size, files=None)
    write(sink, numbered(letter, *range(7)))
    sink.close()

    files = [path.with_name(f"dead.jsonl.{number}") for number in (1, 2, 3)]
    assert [letters_in(file) for file in files] == [
        numbered(letter, 0, 1),
        numbered(letter, 2, 3),
        numbered(letter, 4, 5),
    ]
    assert letters_in(path) == numbered(letter, 6)


def test_when_the_last_file_is_full_letters_are_refused_until_there_is_room(
    path: Path, letter: Letter
) -> None:
    sink = FileSink(path, max_bytes=len(line_of(letter)), files=2)
    write(sink, numbered(letter, 1, 2))

    assert refusal(sink, letter) == (
        f"the file of dead letters {str(path)!r} is full: 2 of 2 files of {len(line_of(letter))} B each; "
        "requeue the letters, move full files away, or allow more"
    )
    assert letters_in(path) == numbered(letter, 2)

    path.with_name("dead.jsonl.1").unlink()
    write(sink, numbered(letter, 3))
    assert letters_in(path) == numbered(letter, 3)
    sink.close()


def test_the_next_sink_goes_on_where_the_last_one_stopped(path: Path, letter: Letter) -> None:
    for number in range(4):
        sink = FileSink(path, max_bytes=2 * len(line_of(letter)), files=None)
        write(sink, numbered(letter, number))
        sink.close()

    assert letters_in(path.with_name("dead.jsonl.1")) == numbered(letter, 0, 1)
    assert letters_in(path) == numbered(letter, 2, 3)


def test_a_letter_larger_than_a_file_has_one_to_itself(path: Path, letter: Letter) -> None:
    sink = FileSink(path, max_bytes=1024)
    big = attrs.evolve(letter, value=b"x" * 5000)
    write(sink, [letter, big, letter])
    sink.close()

    assert letters_in(path.with_name("dead.jsonl.2")) == [big]


def test_what_a_crash_tore_off_is_set_aside_and_the_letters_before_it_stay(
    path: Path, letter: Letter
) -> None:
    path.parent.mkdir()
    path.write_bytes(line_of(letter) + line_of(letter)[:-20])

    sink = FileSink(path)
    write(sink, numbered(letter, 7))
    sink.close()

    assert letters_in(path) == [letter, *numbered(letter, 7)]
    assert path.with_name("dead.jsonl.torn").read_bytes() == line_of(letter)[:-20] + b"\n"


def test_a_line_that_lacks_only_its_newline_is_completed(path: Path, letter: Letter) -> None:
    path.parent.mkdir()
    path.write_bytes(line_of(letter)[:-1])

    FileSink(path).close()

    assert path.read_bytes() == line_of(letter)
    assert not path.with_name("dead.jsonl.torn").exists()


def test_a_line_torn_by_another_process_in_the_meantime_is_set_aside(path: Path, letter: Letter) -> None:
    sink = FileSink(path)
    write(sink, [letter])
    with path.open("ab") as file:
        file.write(b"{" + b"x" * 200_000)
    write(sink, [letter])
    sink.close()

    assert letters_in(path) == [letter, letter]
    assert path.with_name("dead.jsonl.torn").stat().st_size == 200_002


def test_a_file_that_never_had_letters_is_left_alone(
    path: Path, letter: Letter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kafka_throttle._dead_letter.files.LONGEST_LINE", 100_000)
    path.parent.mkdir()
    path.write_bytes(b"\0" * 400_000)

    with pytest.raises(DeadLetterError) as caught:
        FileSink(path)

    assert str(caught.value) == (
        f"{str(path)!r} ends with more than 100,000 bytes without a newline: it is no file of dead letters"
    )
    assert path.stat().st_size == 400_000


def test_a_file_that_was_moved_away_is_begun_anew(path: Path, letter: Letter) -> None:
    sink = FileSink(path)
    write(sink, numbered(letter, 1))
    path.rename(path.with_name("taken"))
    write(sink, numbered(letter, 2))
    sink.close()

    assert letters_in(path) == numbered(letter, 2)


def test_threads_take_turns(path: Path, letter: Letter) -> None:
    sink = FileSink(path, max_bytes=5000, files=None)

    def write_some(start: int) -> None:
        write(sink, numbered(letter, *range(start, start + 50)))

    threads = [threading.Thread(target=write_some, args=(50 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.close()

    files = [*path.parent.glob("dead.jsonl.[0-9]*"), path]
    assert sorted(each.attempts for file in files for each in letters_in(file)) == list(range(200))


def test_processes_take_turns(path: Path) -> None:
    script = PRELUDE + (
        "sink = FileSink(path, max_bytes=5000, files=None)\n"
        "for number in range(300): sink.write(letter(number, b'x' * (number % 50 * 20)), ignore)\n"
        "sink.close()"
    )
    children = [subprocess.Popen([sys.executable, "-c", script, str(path)]) for _ in range(3)]
    assert [child.wait(60) for child in children] == [0, 0, 0]

    files = [*path.parent.glob("dead.jsonl.[0-9]*"), path]
    assert sorted(each.attempts for file in files for each in letters_in(file)) == sorted([*range(300)] * 3)
    assert max(file.stat().st_size for file in files) <= 5000


def test_a_full_disk_keeps_whole_lines_and_the_sink_goes_on_when_there_is_room(path: Path) -> None:
    output = run(
        """
sink = FileSink(path)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
written = 0
try:
    while True:
        sink.write(letter(written), ignore)
        written += 1
except DeadLetterError as error:
    print(error)
size = os.path.getsize(path)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
sink.write(letter(written), ignore)
sink.close()
print(written, size < 1000)
""",
        path,
    )

    assert output == f"cannot write a dead letter to {str(path)!r}: File too large\n3 True\n"
    assert [each.attempts for each in letters_in(path)] == [0, 1, 2, 3]


def test_a_lost_permission_is_an_error_and_the_sink_goes_on_when_it_is_back(path: Path) -> None:
    output = run(
        """
if os.getuid() == 0:
    os.makedirs(os.path.dirname(path))
    os.chown(os.path.dirname(path), 65534, 65534)
    os.chdir(os.path.dirname(path))  # the way there is closed to nobody
    path = os.path.basename(path)
    os.setuid(65534)
sink = FileSink(path, max_bytes=1, files=None)
sink.write(letter(1), ignore)
os.chmod(os.path.dirname(path) or ".", 0o500)
try:
    sink.write(letter(2), ignore)
except DeadLetterError as error:
    print(error)
os.chmod(os.path.dirname(path) or ".", 0o700)
sink.write(letter(3), ignore)
sink.close()
""",
        path,
    )

    assert output.startswith("cannot write a dead letter to ")
    assert output.endswith("dead.jsonl': Permission denied\n")
    assert [each.attempts for each in letters_in(path)] == [3]
    assert [each.attempts for each in letters_in(path.with_name("dead.jsonl.1"))] == [1]


def test_a_directory_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "dead.jsonl"

    with pytest.raises(DeadLetterError) as caught:
        FileSink(path)

    assert str(caught.value) == (
        f"cannot open the file of dead letters {str(path)!r}: File exists ({str(path.parent)!r})"
    )


def test_a_pipe_is_refused_and_not_waited_for(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path)

    with pytest.raises(DeadLetterError) as caught:
        FileSink(path)

    assert str(caught.value) == f"{str(path)!r} is not a regular file"


def test_a_closed_sink_takes_nothing(path: Path, letter: Letter) -> None:
    sink = FileSink(path)
    assert repr(sink) == f"<FileSink {str(path)!r}>"
    sink.close()
    assert sink.close() == 0

    assert refusal(sink, letter) == f"the file of dead letters {str(path)!r} is closed"
    assert repr(sink) == f"<FileSink {str(path)!r}, closed>"


def test_a_forked_child_writes_beside_its_parent_even_when_it_was_forked_in_a_write(path: Path) -> None:
    output = run(
        """
sink = FileSink(path, max_bytes=2000, files=None)
with sink._turn, sink._files.locked():
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        for number in range(50): sink.write(letter(number), ignore)
        os._exit(0)
for number in range(50, 100): sink.write(letter(number), ignore)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""",
        path,
    )

    assert output == "0\n"
    files = [*path.parent.glob("dead.jsonl.[0-9]*"), path]
    assert sorted(each.attempts for file in files for each in letters_in(file)) == list(range(100))


def test_a_killed_process_leaves_every_letter_that_write_returned_for(path: Path) -> None:
    script = PRELUDE + (
        "sink = FileSink(path, max_bytes=100_000, files=None)\n"
        "for number in range(10**6):\n"
        "    sink.write(letter(number, b'x' * 3000), ignore)\n"
        "    os.write(1, b'.')"
    )
    written = 0
    for round_number in range(5):
        child = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        written += len(child.stdout.read(20 + 13 * round_number))
        child.send_signal(signal.SIGKILL)
        written += len(child.stdout.read())
        child.wait()
        child.stdout.close()
    FileSink(path).close()

    files = [*path.parent.glob("dead.jsonl.[0-9]*"), path]
    # Each of the five may have been killed between the line and the word that it was written.
    assert written <= sum(len(letters_in(file)) for file in files) <= written + 5
