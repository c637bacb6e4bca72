"""The commands that change a spool and need it for themselves: repair and purge."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - click's commands are read at run time

import click

from kafka_throttle._spool import maintenance
from kafka_throttle._spool.lock import locked
from kafka_throttle._units import format_bytes
from kafka_throttle.cli._progress import progress
from kafka_throttle.cli.spool._common import count, directory_argument, finding_line

__all__ = ["purge", "repair"]


@click.command()
@directory_argument
def repair(*, directory: Path) -> None:
    """Replace damaged segments by what can be read of them.

    The damaged files go to quarantine/ in the directory, where nothing is deleted. An application does the same by
    itself when it comes upon damage; here it is done at once and for all. Ends with status 1 when something was
    damaged.
    """
    with progress("Repairing", "segments") as show:
        verdict = maintenance.repair(directory, show)
    for finding in verdict.findings:
        click.echo(finding_line(finding))
    if verdict.findings:
        click.echo(f"Set aside in {directory / 'quarantine'}.")
    click.echo(f"{count(verdict.records, 'record')} can be read.")
    if verdict.findings:
        sys.exit(1)


@click.command()
@directory_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--quarantine", is_flag=True, help="Delete what was set aside, too.")
def purge(*, directory: Path, yes: bool, quarantine: bool) -> None:
    """Delete every record of a spool, sent or not."""
    found = maintenance.status(directory)
    if found.owner is not None:
        raise locked(directory, found.owner)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask at: give --yes to delete without being asked")
        also = f" and {count(found.quarantined, 'file')} in quarantine" if quarantine else ""
        click.confirm(
            f"{count(found.records, 'record')} ({format_bytes(found.payload_bytes)}){also} in {directory} were not "
            "sent.\nDelete them for good?",
            abort=True,
            err=True,
        )
    with progress("Deleting", "segments") as show:
        deleted = maintenance.purge(directory, show, quarantine=quarantine)
    click.echo(f"{count(deleted, 'record')} deleted.")
