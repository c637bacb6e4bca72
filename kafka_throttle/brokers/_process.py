"""One child process that dies with its parent, through the watchdog beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from kafka_throttle.brokers._errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ChildProcess"]

_WATCHDOG = Path(__file__).with_name("_watchdog.py")


class ChildProcess:
    """A running command in a session of its own, so that Ctrl-C in the terminal does not reach it.

    Args:
        command: The command with its arguments.
        output: The file that takes its output, appended to.
        directory: Its working directory, in which nothing of value is kept.
        remove: What to remove should this process die without stopping the command.
    """

    def __init__(self, command: Sequence[str], *, output: Path, directory: Path, remove: Path) -> None:
        with output.open("ab") as log:
            self._watchdog = subprocess.Popen(  # noqa: S603 - the caller's command
                [sys.executable, "-I", "-S", str(_WATCHDOG), str(os.getpid()), str(remove), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=directory,
                start_new_session=True,
            )
        pid = self._read_line()
        if not pid:
            self.wait(timeout=None)
            raise BrokerUnavailable(
                f"{command[0]} could not be run; {output.read_text('utf-8', 'replace')[-2000:]}"
            )
        self.pid = int(pid)
        self.paused = False
        self._order = threading.Lock()

    @property
    def running(self) -> bool:
        """Whether the command has not ended; a paused one is running."""
        return self._watchdog.poll() is None

    @property
    def exit_code(self) -> int | None:
        """What the command exited with (128 + N for signal N), or None while it runs."""
        return self._watchdog.poll()

    def pause(self) -> None:
        """Stops the command where it stands; its sockets stay open."""
        self._send(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """Lets a paused command go on."""
        self._send(signal.SIGCONT)
        self.paused = False

    def terminate(self) -> None:
        """Asks the command to end; a paused one, which would not hear it, is killed."""
        self._send(signal.SIGKILL if self.paused else signal.SIGTERM)

    def kill(self) -> None:
        """Ends the command at once and waits until it is gone."""
        self._send(signal.SIGKILL)
        self.wait(timeout=None)

    def wait(self, timeout: float | None) -> bool:
        """Waits until the command has ended.

        Args:
            timeout: How long at most, in seconds; None waits for ever.

        Returns:
            Whether it has ended.
        """
        try:
            self._watchdog.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        for pipe in (self._watchdog.stdin, self._watchdog.stdout):
            if pipe is not None:
                pipe.close()
        return True

    def _send(self, number: signal.Signals) -> None:
        """Sends through the watchdog, the only one who knows that the process id is still the command's."""
        stdin = self._watchdog.stdin
        assert stdin is not None  # noqa: S101 - for the type checkers: it was asked for
        with self._order:
            if not self.running:
                return
            try:
                stdin.write(f"{int(number)}\n".encode())
                stdin.flush()
            except BrokenPipeError:  # it ended just now
                return
            self._read_line()

    def _read_line(self) -> bytes:
        stdout = self._watchdog.stdout
        assert stdout is not None  # noqa: S101 - for the type checkers: it was asked for
        return stdout.readline()
