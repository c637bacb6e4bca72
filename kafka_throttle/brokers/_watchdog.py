"""Runs a command that must not outlive the process that asked for it.

``python _watchdog.py PARENT_PID DIRECTORY COMMAND...`` starts the command and obeys its standard input: each
line is the number of a signal to send to the command, answered by a line once it is sent. When the input ends,
or the parent is gone, the command is killed and the directory removed. Both are watched because a forked
copy of the parent keeps the input open, and because only the end of the input is noticed at once.

A process of its own is what works on every POSIX system and in every case: Linux's parent-death signal is
sent already when the thread ends that started the child, and nothing inside the parent survives a SIGKILL.
A stopped (SIGSTOP) command is killed like any other.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import threading

PARENT_CHECK_INTERVAL = 1.0


def _exit_with(child: subprocess.Popen[bytes], orphaned: threading.Event) -> None:
    code = child.wait()
    if not orphaned.is_set():
        os._exit(code if code >= 0 else 128 - code)


def _obey(child: subprocess.Popen[bytes], parent: int) -> None:
    while os.getppid() == parent:
        if not select.select([0], [], [], PARENT_CHECK_INTERVAL)[0]:
            continue
        order = os.read(0, 16)
        if not order:
            return
        for number in order.split():
            child.send_signal(int(number))
            os.write(1, b"sent\n")


def main(parent: int, directory: str, command: list[str]) -> None:
    """Runs the command until it ends, or until the parent does.

    Args:
        parent: The process id of the parent.
        directory: What to remove when the parent is gone.
        command: The command with its arguments; its output goes to this process's standard error.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2)  # noqa: S603 - the parent's command
    signal.signal(signal.SIGTERM, lambda *_: child.kill())
    os.write(1, f"{child.pid}\n".encode())
    orphaned = threading.Event()
    threading.Thread(target=_exit_with, args=[child, orphaned], daemon=True).start()
    try:
        _obey(child, parent)
    finally:
        orphaned.set()
        child.kill()
        child.wait()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
