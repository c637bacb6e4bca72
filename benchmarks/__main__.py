"""`python -m benchmarks list`, `run` and `report`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from benchmarks.catalogue import SCENARIOS
from benchmarks.report import figure_lines, markdown
from benchmarks.results import load_results, result_of, save_result
from benchmarks.runner import WARM_UP, run_rounds

RESULTS = Path(__file__).with_name("results")


@click.group()
def main() -> None:
    """Measure kafka_throttle against the bare client on real Kafka."""


@main.command("list")
def list_() -> None:
    """Show the scenarios."""
    for scenario in SCENARIOS.values():
        click.echo(f"{scenario.name:22} {scenario.title}")


@main.command()
@click.argument("names", nargs=-1, required=True, type=click.Choice([*SCENARIOS, "all"]))
@click.option("--rounds", type=click.IntRange(1), help="How often; by default as the scenario says.")
@click.option("--quick", is_flag=True, help="A smoke run of a few seconds: its figures mean nothing.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the JSON files go; by default benchmarks/results, for smoke runs a temporary directory.",
)
def run(names: tuple[str, ...], rounds: int | None, quick: bool, out: Path | None) -> None:
    """Run scenarios by NAME, or all of them."""
    with tempfile.TemporaryDirectory() as nowhere:
        directory = out or (Path(nowhere) if quick else RESULTS)
        for name in SCENARIOS if "all" in names else dict.fromkeys(names):
            scenario = SCENARIOS[name].shortened() if quick else SCENARIOS[name]
            times = rounds or scenario.rounds
            click.echo(f"{name}: {scenario.title}, {times} round(s)")
            command = f"python -m benchmarks run {name} --rounds {times}{' --quick' if quick else ''}"
            trials = list(run_rounds(scenario, times, click.echo, warm_up=0.0 if quick else WARM_UP))
            result = result_of(scenario, trials, command, quick=quick)
            save_result(result, directory)
            for line in figure_lines(result):
                click.echo(line)


@main.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=RESULTS,
    help="Where the JSON files are, and where the pictures go.",
)
def report(out: Path) -> None:
    """Print a table in Markdown and draw the pictures, from the JSON files."""
    results = load_results(out, list(SCENARIOS))
    if not results:
        raise click.ClickException(f"no results in {out}: run `python -m benchmarks run all` first")
    click.echo(markdown(results))
    from benchmarks.pictures import draw_all  # noqa: PLC0415 - matplotlib takes a second

    for file in draw_all(results, out):
        click.echo(f"drawn: {file.name}")


if __name__ == "__main__":
    main()
