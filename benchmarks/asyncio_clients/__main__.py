"""`python -m benchmarks.asyncio_clients PART...`: run parts and keep what they show."""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.asyncio_clients.parts import PARTS
from benchmarks.asyncio_clients.stage import Stage
from benchmarks.broker import running_broker
from benchmarks.collected import Collected
from benchmarks.report import figure_lines
from benchmarks.results import save_result
from benchmarks.runner import WARM_UP, warm_up_brokers

if TYPE_CHECKING:
    from benchmarks.asyncio_clients.parts import Part

RESULTS = Path(__file__).parents[1] / "results"
SMOKE_SCALE = 0.02


def _measured(part: Part, rounds: int, scratch: Path, *, quick: bool) -> Collected:
    findings = Collected(part.bars)
    with running_broker(part.cluster) as broker:
        if not quick:
            warm_up_brokers(broker, WARM_UP)
        for number in range(rounds):
            click.echo(f"  round {number + 1} of {rounds}")
            part.measure(findings, Stage(broker, scratch, number, SMOKE_SCALE if quick else 1.0))
    return findings


def _result(name: str, rounds: int, scratch: Path, *, quick: bool) -> dict[str, Any]:
    part = PARTS[name]
    return _measured(part, rounds, scratch, quick=quick).result(
        name,
        part.title,
        f"python -m benchmarks.asyncio_clients {name} --rounds {rounds}",
        {"rounds": rounds},
        quick=quick,
        versions={"aiokafka": version("aiokafka")},
    )


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice([*PARTS]))
@click.option("--rounds", type=click.IntRange(1), help="How often; by default as the part says.")
@click.option("--quick", is_flag=True, help="A smoke run of a few seconds: its figures mean nothing.")
@click.option(
    "--scratch",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="A directory on the disk that is to be measured.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the results go; by default benchmarks/results, those of smoke runs nowhere.",
)
def main(
    parts: tuple[str, ...], rounds: int | None, quick: bool, scratch: Path | None, out: Path | None
) -> None:
    """Measure the asyncio facades against the bare clients on real Kafka: some PARTS, or all of them."""
    for name in parts or PARTS:
        times = rounds or (1 if quick else PARTS[name].rounds)
        click.echo(f"{name}: {PARTS[name].title}")
        with tempfile.TemporaryDirectory(dir=scratch) as temporary:
            result = _result(name, times, Path(temporary), quick=quick)
        for line in figure_lines(result):
            click.echo(line)
        if out or not quick:
            save_result(result, out or RESULTS)


if __name__ == "__main__":
    main()
