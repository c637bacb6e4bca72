"""A process that uses a spool until it is killed, and says on stdout what it was promised.

``python crashing.py DIRECTORY COMMIT POINT NUMBER`` kills itself when it passes POINT for the NUMBERth time, and never when
POINT is ``-``. It prints ``c N`` when sequence N is known to be committed, ``a N`` when it is about to acknowledge N,
and ``r N`` when N was handed out.
"""

from __future__ import annotations

import os
import signal
import sys

from kafka_throttle._spool import Files, Spool

directory, commit, point, number = sys.argv[1:5]


class Killing(Files):
    """Kills the process at a point."""

    left = int(number)

    def at(self, passed: str) -> None:
        if passed == point:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def main() -> None:
    spool = Spool(
        directory,
        commit=commit,  # type: ignore[arg-type]
        fsync="off",
        segment_bytes=20_000,
        group_records=7,
        group_seconds=None,
        save_every=20,
        files=Killing(),
    )
    for round_number in range(int(sys.argv[5]) if len(sys.argv) > 5 else 60):
        last = 0
        for index in range(11):
            last = spool.append("t", b"%d" % index, b"%d-" % round_number + b"x" * 500)
            if commit == "record":
                say("c", last)
        spool.commit()
        say("c", last)
        records = spool.read(10)
        for record in records:
            say("r", record.sequence)
        # Out of order, and not all of them.
        done = [record.sequence for record in reversed(records) if record.sequence % 10 or round_number % 6]
        for sequence in done:
            say("a", sequence)
        spool.acknowledge(done)
    spool.close()


main()
