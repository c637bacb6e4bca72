"""The options of ``kafka-throttle demo``, and its way from beginning to end."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from kafka_throttle.cli._client import key_values
from kafka_throttle.cli._extras import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from kafka_throttle.cli.demo.conductor import Recording
    from kafka_throttle.cli.demo.figures import Plan
    from kafka_throttle.cli.demo.lines import Lines
    from kafka_throttle.cli.demo.screen import Screen
    from kafka_throttle.cli.demo.stage import Choice, Stage

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
    help="Where to write the picture of the two delay curves.",
)
@click.option("--no-plot", is_flag=True, help="Write no picture.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the final figures as JSON; all else goes to stderr."
)
def demo(
    *,
    seconds: float,
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

    Without options a real Apache Kafka is started on this machine (downloaded when it runs for the first time), limited
    by a client quota, and removed at the end.

    \b
    Examples:
      kafka-throttle demo
      kafka-throttle demo --seconds 30 --output delays.png
      kafka-throttle demo --mock
      kafka-throttle demo --bootstrap broker:9092 --set-quota
      kafka-throttle demo --json --no-plot > figures.json
    """  # noqa: D301
    _refuse_contradictions(bootstrap, mock=mock, set_quota=set_quota, settings=settings)
    require("demo", "rich", *(() if no_plot else ("matplotlib",)))
    _require_directory(None if no_plot else output)
    from kafka_throttle.cli.demo.figures import Plan  # noqa: PLC0415 - heavy: only this command pays for it
    from kafka_throttle.cli.demo.stage import Choice  # noqa: PLC0415

    performance = _Performance(
        plan=Plan(seconds=seconds),
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


@frozen(kw_only=True)
class _Performance:
    """One run of the demo."""

    plan: Plan
    choice: Choice
    picture: Path | None
    as_json: bool
    console: Console

    def give(self) -> None:
        from kafka_throttle.brokers import BrokerUnavailable  # noqa: PLC0415 - heavy, as in the command
        from kafka_throttle.cli.demo.conductor import Recording, SideFailed  # noqa: PLC0415
        from kafka_throttle.cli.demo.stage import set_stage  # noqa: PLC0415

        recording = Recording()
        try:
            with set_stage(self.choice, self.plan, self._say) as stage:
                self._play(stage, recording)
        except (BrokerUnavailable, SideFailed) as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:  # before there was anything to tell, or once more while the clients drain
            self._say("Interrupted: no figures.")
            raise SystemExit(130) from None
        self._tell(recording, stage)

    def _play(self, stage: Stage, recording: Recording) -> None:
        from kafka_throttle.cli.demo.conductor import conduct  # noqa: PLC0415 - heavy, as in the command

        if self._draws():
            from kafka_throttle.cli.demo.screen import Screen  # noqa: PLC0415 - an extra

            show: Screen | Lines = Screen(self.console, recording, self.plan, stage.name, stage.constraint)
        else:
            from kafka_throttle.cli.demo.lines import Lines  # noqa: PLC0415 - as above

            offered = self.plan.overload * self.plan.capacity / 1e6
            self._say(f"On {stage.name}. {stage.constraint} {offered:g} MB/s is offered to each.")
            show = Lines(recording, self.plan, self._say)
        with show:
            conduct(stage, self.plan, recording, show.show, self._say)

    def _draws(self) -> bool:
        console = self.console
        return console.is_terminal and not console.is_dumb_terminal and console.encoding.startswith("utf")

    def _tell(self, recording: Recording, stage: Stage) -> None:
        from kafka_throttle.cli.demo.verdict import closing  # noqa: PLC0415 - with the rest

        bare, throttled = recording.results["bare"], recording.results["kafka_throttle"]
        self._say("")
        self.console.print(_table(recording))
        self._say(closing(bare, throttled))
        if self.picture is not None:
            from kafka_throttle.cli.demo.picture import draw  # noqa: PLC0415 - an extra

            draw(recording, self.plan, stage.constraint, self.picture)
            self._say(f"The two delay curves: {self.picture}")
        if self.as_json:
            click.echo(json.dumps(_figures(recording, stage, self.plan, self.picture), indent=2))
        if recording.interrupted:
            sys.exit(130)

    def _say(self, line: str) -> None:
        # In a pipe or a file a line is a line; a terminal gets words that are not torn.
        self.console.print(line, markup=False, soft_wrap=not self.console.is_terminal)


def _table(recording: Recording) -> Any:
    from rich.table import Table  # noqa: PLC0415 - an extra

    from kafka_throttle.cli.demo.verdict import table  # noqa: PLC0415 - with the rest
    from kafka_throttle.cli.demo.words import NAMES  # noqa: PLC0415

    results = recording.results
    early = ", ended early" if recording.interrupted else ""
    shown = Table(
        "",
        *NAMES.values(),
        title=f"After {results['bare'].seconds:.0f} s{early}",
        title_justify="left",
        title_style="bold",
    )
    for column in shown.columns[1:]:
        column.justify = "right"
    for row in table(results["bare"], results["kafka_throttle"]):
        shown.add_row(*row)
    return shown


def _figures(recording: Recording, stage: Stage, plan: Plan, picture: Path | None) -> dict[str, Any]:
    from importlib.metadata import version  # noqa: PLC0415 - only for JSON

    return {
        "kafka": {"kind": stage.kind, "name": stage.name, "constraint": stage.constraint},
        "versions": {name: version(name) for name in ("kafka-throttle", "confluent-kafka")},
        "offered_bytes_per_second": plan.overload * plan.capacity,
        "record_bytes": plan.record_bytes,
        "seconds": plan.seconds,
        "interrupted": recording.interrupted,
        "picture": str(picture) if picture else None,
        **{side: result.figures() for side, result in recording.results.items()},
    }
