"""The options of ``kafka-throttle demo``, and its way from beginning to end."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kafka_throttle.cli._client import key_values
from kafka_throttle.cli._extras import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

__all__ = ["demo"]


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=1, max=3600),
    default=60.0,
    show_default=True,
    help="How long to offer records.",
)
@click.option(
    "--asyncio",
    "with_asyncio",
    is_flag=True,
    help="Show aiokafka and its facade: a task for each request.",
)
@click.option(
    "--tasks",
    type=click.IntRange(min=0, max=1_000_000),
    default=10_000,
    show_default=True,
    help="With --asyncio: how many tasks send at once before that; 0 for none.",
)
@click.option(
    "--bootstrap",
    metavar="HOST:PORT",
    help="Use an existing cluster, also from KAFKA_THROTTLE_BOOTSTRAP. Two topics are created there and deleted at the "
    "end; nothing limits the demo's 4 MB/s unless --set-quota is given.",
)
@click.option(
    "--set-quota",
    is_flag=True,
    help="Limit the demo's own two clients on the existing cluster by a client quota, lifted at the end.",
)
@click.option(
    "-X",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    callback=key_values,
    help="A client setting for the existing cluster; may be repeated.",
)
@click.option("--mock", is_flag=True, help="Use librdkafka's mock cluster: offline, and no Java.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default=Path("kafka-throttle-demo.png"),
    show_default=True,
    help="Where to write the picture of the two curves.",
)
@click.option("--no-plot", is_flag=True, help="Write no picture.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the final figures as JSON; all else goes to stderr."
)
def demo(
    *,
    seconds: float,
    with_asyncio: bool,
    tasks: int,
    bootstrap: str | None,
    set_quota: bool,
    settings: dict[str, str],
    mock: bool,
    output: Path,
    no_plot: bool,
    as_json: bool,
) -> None:
    """Show what happens when Kafka takes half of what is offered.

    The bare client and kafka_throttle get the same records at the same time, twice what Kafka takes from each. You see
    the delay of the records and the queue in the client while it runs, and at the end what became of the records.

    With --asyncio it is aiokafka: first thousands of tasks send at once, then requests come, each a task of its own, with
    twice what Kafka takes.

    Without options a real Apache Kafka is started on this machine (downloaded when it runs for the first time), limited
    by a client quota, and removed at the end.

    \b
    Examples:
      kafka-throttle demo
      kafka-throttle demo --asyncio
      kafka-throttle demo --seconds 30 --output delays.png
      kafka-throttle demo --mock
      kafka-throttle demo --bootstrap broker:9092 --set-quota
      kafka-throttle demo --json --no-plot > figures.json
    """  # noqa: D301
    _refuse_contradictions(bootstrap, mock=mock, set_quota=set_quota, settings=settings)
    plotting = () if no_plot else ("matplotlib",)
    require("demo", "rich", *plotting, *(("aiokafka",) if with_asyncio else ()))
    _require_directory(None if no_plot else output)
    from kafka_throttle.cli.demo.figures import Plan  # noqa: PLC0415 - heavy: only this command pays for it
    from kafka_throttle.cli.demo.performance import Performance  # noqa: PLC0415
    from kafka_throttle.cli.demo.stage import Choice  # noqa: PLC0415
    from kafka_throttle.cli.demo.story import ASYNCIO, BLOCKING  # noqa: PLC0415

    performance = Performance(
        story=ASYNCIO if with_asyncio else BLOCKING,
        plan=Plan(seconds=seconds, crowd=tasks if with_asyncio else 0),
        choice=Choice(bootstrap, settings, set_quota, mock),
        picture=None if no_plot else output,
        as_json=as_json,
        console=_console(as_json),
    )
    before = signal.signal(signal.SIGTERM, _end)
    try:
        performance.give()
    finally:
        signal.signal(signal.SIGTERM, before)


def _refuse_contradictions(
    bootstrap: str | None, *, mock: bool, set_quota: bool, settings: Mapping[str, str]
) -> None:
    existing = bootstrap or os.environ.get("KAFKA_THROTTLE_BOOTSTRAP", "").strip()
    if bootstrap and mock:
        raise click.UsageError("--bootstrap and --mock: choose one")
    for option, given in (("--set-quota", set_quota), ("-X", settings)):
        if given and (mock or not existing):
            raise click.UsageError(f"{option} is for an existing cluster: give --bootstrap as well")
    from kafka_throttle.config import from_environ  # noqa: PLC0415 - after the options, which are cheaper to judge
    from kafka_throttle.exceptions import ConfigurationError  # noqa: PLC0415

    try:
        throttle = from_environ()
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error
    if throttle is not None and not throttle.enabled:
        raise click.ClickException(
            "KAFKA_THROTTLE_ENABLED switches kafka_throttle off: there is nothing to show"
        )


def _require_directory(output: Path | None) -> None:
    if output is not None and not os.access(output.absolute().parent, os.W_OK):
        raise click.ClickException(f"--output {output}: its directory does not exist or cannot be written to")


def _console(as_json: bool) -> Console:
    from rich.console import Console  # noqa: PLC0415 - an extra

    return Console(stderr=as_json, highlight=False, soft_wrap=False)


def _end(_number: int, _frame: object) -> None:
    raise SystemExit(143)  # as the shell counts SIGTERM; the broker and the sides end on the way out
