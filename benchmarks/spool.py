"""`python -m benchmarks.spool`: the disk queue, and in the same run what a user might pick instead.

Every round gives each queue the same records in a fresh directory on the disk under ``--scratch``, one after the other. The
peers are measured when they are installed: persist-queue, diskcache, litequeue.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import psutil
from attrs import frozen

from benchmarks.collected import Collected
from benchmarks.report import markdown
from benchmarks.results import save_result
from benchmarks.scenario import Bar
from kafka_throttle._spool import Spool
from kafka_throttle._units import parse_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).with_name("results")
VALUE = b"v" * 100
BIG = b"v" * (1 << 20)

Measured = dict[str, float]
"""Records per second, by "append" and "read"."""


@frozen
class Contender:
    """A queue that is measured.

    Attributes:
        name: Its name in the table.
        needs: The module that must be installed.
        run: Takes a directory and a count, returns what was measured.
        share: Part of the records that it gets; slow ones get fewer.
    """

    name: str
    needs: str
    run: Callable[[Path, int], Measured]
    share: float = 1.0


def timed(count: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def run_spool(directory: Path, count: int, commit: Any) -> Measured:
    spool = Spool(directory, commit=commit)

    def append() -> None:
        add = spool.append
        for _ in range(count):
            add("orders", None, VALUE)
        spool.commit()

    def read() -> None:
        left = count
        while left:
            left -= len(spool.read(1000))

    appended = timed(count, append)
    spool.close()
    spool = Spool(directory, commit=commit)  # so that it is read from the disk, not from memory
    measured = {"append": appended, "read": timed(count, read)}
    measured["acknowledge"] = timed(count, lambda: spool.acknowledge(list(range(1, count + 1))))
    spool.close()
    return measured


def run_persist_queue(directory: Path, count: int, *, each: bool) -> Measured:
    from persistqueue import SQLiteQueue  # noqa: PLC0415 - a peer, installed or not

    queue = SQLiteQueue(str(directory), auto_commit=each)

    def append() -> None:
        for number in range(count):
            queue.put(VALUE)
            if not each and number % 1000 == 999:
                queue.task_done()
        queue.task_done()

    def read() -> None:
        for _ in range(count):
            queue.get()
        queue.task_done()

    measured = {"append": timed(count, append), "read": timed(count, read)}
    queue.close()
    return measured


def run_diskcache(directory: Path, count: int) -> Measured:
    from diskcache import Deque  # noqa: PLC0415 - a peer, installed or not

    queue = Deque(directory=str(directory))

    def append() -> None:
        for _ in range(count):
            queue.append(VALUE)

    def read() -> None:
        for _ in range(count):
            queue.popleft()

    measured = {"append": timed(count, append), "read": timed(count, read)}
    queue._cache.close()  # noqa: SLF001 - Deque has no close()
    return measured


def run_litequeue(directory: Path, count: int, *, each: bool) -> Measured:
    from litequeue import LiteQueue  # noqa: PLC0415 - a peer, installed or not

    directory.mkdir()
    queue = LiteQueue(str(directory / "queue.db"))
    text = VALUE.decode()

    def put(number: int) -> None:
        for _ in range(number):
            queue.put(text)

    def append() -> None:
        if each:
            put(count)
            return
        for _ in range(count // 1000):
            with queue.transaction():
                put(1000)

    def read() -> None:
        for _ in range(count):
            queue.done(queue.pop().message_id)

    measured = {"append": timed(count, append), "read": timed(count, read)}
    queue.close()
    return measured


CONTENDERS = (
    Contender("kafka_throttle, group", "kafka_throttle", lambda d, n: run_spool(d, n, "group")),
    Contender("kafka_throttle, record", "kafka_throttle", lambda d, n: run_spool(d, n, "record"), 0.1),
    Contender(
        "persist-queue, 1000 a commit", "persistqueue", lambda d, n: run_persist_queue(d, n, each=False), 0.05
    ),
    Contender("persist-queue, each", "persistqueue", lambda d, n: run_persist_queue(d, n, each=True), 0.01),
    Contender("diskcache.Deque, each", "diskcache", run_diskcache, 0.02),
    Contender("litequeue, 1000 a commit", "litequeue", lambda d, n: run_litequeue(d, n, each=False), 0.05),
    Contender("litequeue, each", "litequeue", lambda d, n: run_litequeue(d, n, each=True), 0.02),
)
BARS = {
    "kafka_throttle, group: append": Bar(300_000, 600_000, "higher"),
    "kafka_throttle, group: read": Bar(200_000, 400_000, "higher"),
    "kafka_throttle, record: append": Bar(40_000, 50_000, "higher"),
    "start with the backlog": Bar(1.0, 0.2, "lower"),
    "start with the backlog after kill -9": Bar(1.0, 0.2, "lower"),
}

# Also what the owner of a backlog would do: a child, so that nothing is warm in its memory.
START = """
import sys, time
from kafka_throttle._spool import Spool
start = time.perf_counter()
spool = Spool(sys.argv[1])
first = spool.read(1)
print(time.perf_counter() - start, spool.records)
if sys.argv[2] == "kill":
    spool.append("orders", None, b"v")
    spool.commit()
    import os, signal
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
spool.close()
"""


def peer_versions() -> dict[str, str]:
    peers = {"persist-queue", "diskcache", "litequeue"}
    return {each.name: each.version for each in distributions() if each.name in peers}


def measure_round(collected: Collected, scratch: Path, records: int) -> None:
    for contender in CONTENDERS:
        if importlib.util.find_spec(contender.needs) is None:
            click.echo(f"  {contender.name}: not installed")
            continue
        directory = scratch / "queue"
        count = max(int(records * contender.share) // 1000, 1) * 1000
        for name, rate in contender.run(directory, count).items():
            collected.add(f"{contender.name}: {name}", rate, "records/s")
        shutil.rmtree(directory)


def measure_backlog(collected: Collected, scratch: Path, size: int) -> None:
    """Spool `size` bytes of big values, watch the memory, and time how long a new process takes to start with it."""
    directory = scratch / "backlog"
    process = psutil.Process()
    spool = Spool(directory)
    count = max(size // len(BIG), 8)
    resident = []
    for number in range(count):
        spool.append("orders", None, BIG)
        if number % max(count // 50, 1) == 0:
            resident.append(process.memory_info().rss)
    spool.close()
    # The first quarter fills what is held in memory on purpose: the youngest batches.
    settled = resident[len(resident) // 4 :]
    collected.add("backlog", count * len(BIG) / 2**30, "GiB")
    collected.add("memory while spooling, least", min(settled) / 2**20, "MiB")
    collected.add("memory while spooling, most", max(settled) / 2**20, "MiB")
    for name, how in (("start with the backlog", "kill"), ("start with the backlog after kill -9", "close")):
        output = subprocess.run(
            [sys.executable, "-c", START, str(directory), how], stdout=subprocess.PIPE, check=False, text=True
        ).stdout.split()
        collected.add(name, float(output[0]), "s")
    drained = Spool(directory)
    resident = []
    left = count
    while left > 0:
        records = drained.read(8)
        left -= len(records)
        drained.acknowledge([record.sequence for record in records])
        resident.append(process.memory_info().rss)
    drained.close()
    collected.add("memory while draining, most", max(resident) / 2**20, "MiB")
    shutil.rmtree(directory)


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--records", type=click.IntRange(1000), default=1_000_000, show_default=True)
@click.option("--backlog", default="10 GiB", show_default=True, help="Size of the backlog to start with.")
@click.option("--quick", is_flag=True, help="A smoke run of a few seconds: its figures mean nothing.")
@click.option(
    "--scratch", type=click.Path(file_okay=False, path_type=Path), help="A directory on the disk to measure."
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Where spool.json and spool.md go."
)
def main(
    rounds: int, records: int, backlog: str, quick: bool, scratch: Path | None, out: Path | None
) -> None:
    """Measure the disk queue beside what a user might pick instead."""
    if quick:
        rounds, records, backlog = 1, 20_000, "64 MiB"
    collected = Collected(BARS)
    with tempfile.TemporaryDirectory(dir=scratch) as temporary:
        for number in range(rounds):
            click.echo(f"round {number + 1} of {rounds}")
            measure_round(collected, Path(temporary), records)
        measure_backlog(collected, Path(temporary), parse_bytes(backlog))
        command = f"python -m benchmarks.spool --rounds {rounds} --records {records} --backlog '{backlog}'"
        parameters = {"rounds": rounds, "records": records, "value_bytes": len(VALUE), "backlog": backlog}
        result = collected.result(
            "spool",
            "The disk queue, 100 B values",
            command,
            parameters,
            quick=quick,
            versions=peer_versions(),
        )
        table = markdown([result])
        click.echo(table)
        if out or not quick:
            save_result(result, out or RESULTS)
            ((out or RESULTS) / "spool.md").write_text(table + "\n", "utf-8")


if __name__ == "__main__":
    main()
