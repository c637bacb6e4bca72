"""A child process obeys, and never outlives the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from kafka_throttle.brokers import BrokerUnavailable
from kafka_throttle.brokers._process import ChildProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE = 20.0


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[ChildProcess]:
    """A child that does nothing for a long time."""
    child = ChildProcess(["sleep", "600"], output=tmp_path / "log", directory=tmp_path, remove=tmp_path)
    yield child
    child.kill()


def test_a_child_runs_until_it_is_terminated(sleeper: ChildProcess) -> None:
    assert sleeper.running
    sleeper.terminate()
    assert sleeper.wait(DEADLINE)
    assert sleeper.exit_code == 128 + signal.SIGTERM


def test_killing_twice_does_no_harm(sleeper: ChildProcess) -> None:
    sleeper.kill()
    sleeper.kill()
    assert sleeper.exit_code == 128 + signal.SIGKILL


def test_a_paused_child_stands_still_until_it_is_resumed(sleeper: ChildProcess) -> None:
    process = psutil.Process(sleeper.pid)
    sleeper.pause()
    # The kernel delivers the signal when the child is scheduled, which a busy machine puts off.
    assert _within_deadline(lambda: process.status() == psutil.STATUS_STOPPED)
    sleeper.resume()
    assert _within_deadline(lambda: process.status() != psutil.STATUS_STOPPED)


def _within_deadline(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def test_a_paused_child_can_be_terminated(sleeper: ChildProcess) -> None:
    sleeper.pause()
    sleeper.terminate()
    assert sleeper.wait(DEADLINE)


def test_waiting_for_a_running_child_gives_up_in_time(sleeper: ChildProcess) -> None:
    assert not sleeper.wait(0.0)


def test_ctrl_c_in_the_terminal_does_not_reach_the_child(sleeper: ChildProcess) -> None:
    assert os.getpgid(sleeper.pid) != os.getpgid(0)
    assert os.getsid(sleeper.pid) != os.getsid(0)


def test_the_childs_output_and_exit_code_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = ["sh", "-c", "echo out; echo err >&2; exit 3"]
    child = ChildProcess(command, output=log, directory=tmp_path, remove=tmp_path)
    assert child.wait(DEADLINE)
    assert child.exit_code == 3
    assert sorted(log.read_text().split()) == ["err", "out"]


def test_a_command_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BrokerUnavailable, match="no-such-command could not be run"):
        ChildProcess(["no-such-command"], output=tmp_path / "log", directory=tmp_path, remove=tmp_path)


PARENT = """
import os, sys, threading
from pathlib import Path
from kafka_throttle.brokers._process import ChildProcess

directory = Path(sys.argv[1])
children = []

def start():
    children.append(ChildProcess(["sleep", "600"], output=directory / "log", directory=directory, remove=directory))

thread = threading.Thread(target=start)
thread.start()
thread.join()
{extra}
print(children[0].pid, flush=True)
sys.stdin.read()
"""

FORK = """
if os.fork() == 0:
    os.setsid()
    sys.stdout.close()
    sys.stdin.read()  # to the end of the test
    os._exit(0)
"""


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param("", id="started in a thread that has ended"),
        pytest.param("children[0].pause()", id="paused"),
        pytest.param(FORK, id="while a fork of the parent lives on"),
    ],
)
def test_no_child_and_no_directory_outlive_a_parent_that_is_killed(tmp_path: Path, extra: str) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", PARENT.format(extra=extra), str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        watchdog = child.parent()
        assert watchdog is not None
        parent.kill()
        gone, alive = psutil.wait_procs([child, watchdog], timeout=DEADLINE)
    assert (len(gone), alive) == (2, [])
    assert not directory.exists()
