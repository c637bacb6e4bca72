"""`python -m benchmarks.spool_kills`: kill -9 at random moments, and at every named point, and count what is lost.

The victim is the one of the tests. For the other long run, 2 000 flipped bits:
``KAFKA_THROTTLE_FLIPS=1000 python -m pytest tests/unit/_spool/test_damage.py``.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
from attrs import define

from benchmarks.machine import describe_machine
from benchmarks.report import markdown
from benchmarks.results import save_result
from benchmarks.scenario import Bar
from kafka_throttle._spool import POINTS, Spool

RESULTS = Path(__file__).with_name("results")
VICTIM = Path(__file__).parents[1] / "tests" / "unit" / "_spool" / "crashing.py"
SAVE_EVERY = 20
LARGEST_ACKNOWLEDGE = 10
NONE_LOST = Bar(0, 0, "lower")


@define
class Toll:
    """What the kills have cost.

    Attributes:
        kills: Processes that were killed.
        lost: Records that were committed, not acknowledged, and not there any more.
        disordered: Records that came out before an earlier one.
        replayed: Acknowledged records that came out again, the most after one kill.
    """

    kills: int = 0
    lost: int = 0
    disordered: int = 0
    replayed: int = 0

    def add(self, directory: Path, said: bytes) -> None:
        words = [line.split() for line in said.decode().splitlines() if line.count(" ") == 1]
        committed = max((int(number) for word, number in words if word == "c"), default=0)
        acknowledged = {int(number) for word, number in words if word == "a"}
        with Spool(directory, group_seconds=None, fsync="off") as spool:
            sequences: list[int] = []
            while found := spool.read(1000):
                sequences += [record.sequence for record in found]
            self.lost += (
                len(set(range(1, committed + 1)) - acknowledged - set(sequences)) + spool.lost_records
            )
        self.kills += 1
        self.disordered += sum(1 for a, b in pairwise(sequences) if a >= b)
        self.replayed = max(self.replayed, len(acknowledged & set(sequences)))


def victim(directory: Path, commit: str, point: str, number: int, rounds: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(VICTIM), str(directory), commit, point, str(number), str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def kill_at_random(directory: Path, commit: str, chance: random.Random) -> bytes:
    with tempfile.TemporaryFile() as said:
        command = [sys.executable, str(VICTIM), str(directory), commit, "-", "1", "1000000"]
        with subprocess.Popen(command, stdout=said) as child:
            while said.seek(0, 2) == 0:
                time.sleep(0.001)
            time.sleep(chance.uniform(0.0, 0.3))
            child.kill()
        said.seek(0)
        return said.read()


def kill_at(directory: Path, commit: str, point: str, number: int) -> bytes:
    with victim(directory, commit, point, number, 60) as child:
        assert child.stdout is not None
        return child.stdout.read()


def result_of(tolls: dict[str, Toll], command: str, seed: int) -> dict[str, Any]:
    figures = []
    for name, toll in tolls.items():
        figures.append({"name": f"{name}: kills", "unit": "", "measured": toll.kills, "rounds": []})
        for what, value in (("committed records lost", toll.lost), ("order violations", toll.disordered)):
            figures.append(
                {
                    "name": f"{name}: {what}",
                    "unit": "",
                    "measured": value,
                    "rounds": [],
                    "must": NONE_LOST.must,
                    "aim": NONE_LOST.aim,
                    "sign": NONE_LOST.sign,
                    "verdict": NONE_LOST.verdict(value),
                }
            )
        most = SAVE_EVERY + LARGEST_ACKNOWLEDGE - 1
        bar = Bar(most, most, "lower")
        figures.append(
            {
                "name": f"{name}: acknowledged records replayed, most after one kill",
                "unit": "",
                "measured": toll.replayed,
                "rounds": [],
                "must": most,
                "aim": most,
                "sign": bar.sign,
                "verdict": bar.verdict(toll.replayed),
            }
        )
    return {
        "scenario": "spool_kills",
        "title": "kill -9",
        "command": command,
        "quick": False,
        "machine": describe_machine(),
        "parameters": {"seed": seed},
        "figures": figures,
        "rounds": [],
    }


@click.command()
@click.option(
    "--times", type=click.IntRange(1), default=200, show_default=True, help="Kills at random moments."
)
@click.option("--seed", type=int, default=5, show_default=True)
@click.option("--scratch", type=click.Path(file_okay=False, path_type=Path), help="Where the spools go.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Where spool_kills.json and .md go."
)
def main(times: int, seed: int, scratch: Path | None, out: Path | None) -> None:
    """Kill processes that use a spool, and count what is lost."""
    chance = random.Random(seed)
    tolls: dict[str, Toll] = {}
    for commit in ("group", "record"):
        at_random = tolls.setdefault(f"random moments, commit={commit}", Toll())
        at_points = tolls.setdefault(f"named points, commit={commit}", Toll())
        with tempfile.TemporaryDirectory(dir=scratch) as temporary:
            root = Path(temporary)
            for number in range(times):
                at_random.add(root / f"r{number}", kill_at_random(root / f"r{number}", commit, chance))
            for point in POINTS:
                for number in (1, 2, 5):
                    where = root / f"{point}{number}"
                    at_points.add(where, kill_at(where, commit, point, number))
    result = result_of(tolls, f"python -m benchmarks.spool_kills --times {times} --seed {seed}", seed)
    table = markdown([result])
    click.echo(table)
    save_result(result, out or RESULTS)
    ((out or RESULTS) / "spool_kills.md").write_text(table + "\n", "utf-8")


if __name__ == "__main__":
    main()
