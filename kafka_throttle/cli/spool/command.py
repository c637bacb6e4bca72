"""The group ``kafka-throttle spool``: what its commands share."""

from __future__ import annotations

from typing import Any

import click

from kafka_throttle.cli.spool.change import purge, repair
from kafka_throttle.cli.spool.look import export, peek, status, verify
from kafka_throttle.cli.spool.replay import replay
from kafka_throttle.exceptions import SpoolError

__all__ = ["spool"]


class _SpoolGroup(click.Group):
    """Says errors of the disk queue in one line, and ends after Ctrl-C as a shell expects."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SpoolError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo("Interrupted. The spool is sound.", err=True)
            raise SystemExit(130) from None


@click.group(cls=_SpoolGroup)
def spool() -> None:
    """Look after a spool: the directory where records wait on disk.

    status, peek, export and verify only read, and work while the application runs. repair, replay and purge need the
    directory for themselves: stop the application first.

    \b
    Exit status:
      0    all is well
      1    a problem was found, or something could not be done
      2    the command was not understood
      130  interrupted by Ctrl-C; the spool is sound after that, too
    """  # noqa: D301


for _command in (status, peek, export, verify, repair, replay, purge):
    spool.add_command(_command)
