"""One run of the demo, from the stage to the last word."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen
from rich.table import Table

from kafka_throttle.brokers import BrokerUnavailable
from kafka_throttle.cli.demo.conductor import Recording, SideFailed, conduct
from kafka_throttle.cli.demo.lines import Lines
from kafka_throttle.cli.demo.screen import Screen
from kafka_throttle.cli.demo.stage import set_stage
from kafka_throttle.exceptions import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from kafka_throttle.cli.demo.figures import Plan
    from kafka_throttle.cli.demo.stage import Choice, Stage
    from kafka_throttle.cli.demo.story import Story

__all__ = ["Performance"]


@frozen(kw_only=True)
class Performance:
    """One run of the demo.

    Attributes:
        story: With which clients, and in which words.
        plan: What is offered.
        choice: Which Kafka was asked for.
        picture: Where to write the delay curves; None: nowhere.
        as_json: Whether the figures go to stdout as JSON.
        console: Takes everything else.
    """

    story: Story
    plan: Plan
    choice: Choice
    picture: Path | None
    as_json: bool
    console: Console

    def give(self) -> None:
        """Play from beginning to end, and tell the figures.

        Raises:
            ClickException: There is no Kafka, or a side has failed.
            SystemExit: Somebody interrupted.
        """
        recording = Recording()
        try:
            with set_stage(self.choice, self.story.client, self.plan, self._say) as stage:
                self._play(stage, recording)
        except (BrokerUnavailable, ConfigurationError, SideFailed) as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:  # before there was anything to tell, or once more while the clients drain
            self._say("Interrupted: no figures.")
            raise SystemExit(130) from None
        self._tell(recording, stage)

    def _play(self, stage: Stage, recording: Recording) -> None:
        if self._draws():
            show: Screen | Lines = Screen(
                self.console, self.story, recording, self.plan, stage.name, stage.constraint
            )
        else:
            self._say(f"On {stage.name}. {stage.constraint} {self.story.offered(self.plan)}")
            show = Lines(self.story, recording, self.plan, self._say)
        with show:
            conduct(stage, self.story, self.plan, recording, show.show, self._say)

    def _draws(self) -> bool:
        console = self.console
        return console.is_terminal and not console.is_dumb_terminal and console.encoding.startswith("utf")

    def _tell(self, recording: Recording, stage: Stage) -> None:
        bare, throttled = recording.results["bare"], recording.results["kafka_throttle"]
        self._say("")
        self.console.print(_table(self.story, recording))
        self._say(self.story.closing(bare, throttled))
        if self.picture is not None:
            from kafka_throttle.cli.demo.picture import draw  # noqa: PLC0415 - an extra

            draw(self.story, recording, self.plan, stage.constraint, self.picture)
            self._say(f"The two curves: {self.picture}")
        if self.as_json:
            click.echo(json.dumps(_figures(self.story, recording, stage, self.plan, self.picture), indent=2))
        if recording.interrupted:
            sys.exit(130)

    def _say(self, line: str) -> None:
        # In a pipe or a file a line is a line; a terminal gets words that are not torn.
        self.console.print(line, markup=False, soft_wrap=not self.console.is_terminal)


def _table(story: Story, recording: Recording) -> Table:
    results = recording.results
    early = ", ended early" if recording.interrupted else ""
    shown = Table(
        "",
        *story.names.values(),
        title=f"After {results['bare'].seconds:.0f} s{early}",
        title_justify="left",
        title_style="bold",
    )
    for column in shown.columns[1:]:
        column.justify = "right"
    for row in story.table(results["bare"], results["kafka_throttle"]):
        shown.add_row(*row)
    return shown


def _figures(
    story: Story, recording: Recording, stage: Stage, plan: Plan, picture: Path | None
) -> dict[str, Any]:
    return {
        "kafka": {"kind": stage.kind, "name": stage.name, "constraint": stage.constraint},
        "versions": {name: version(name) for name in ("kafka-throttle", story.distribution)},
        "offered_bytes_per_second": plan.overload * plan.capacity,
        "record_bytes": plan.record_bytes,
        "seconds": plan.seconds,
        "crowd": plan.crowd,
        "interrupted": recording.interrupted,
        "picture": str(picture) if picture else None,
        **{side: result.figures() for side, result in recording.results.items()},
    }
