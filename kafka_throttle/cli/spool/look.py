"""The commands that only read: status, peek, export, verify."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click
from attrs import asdict

from kafka_throttle._spool import maintenance
from kafka_throttle._units import format_bytes
from kafka_throttle.cli._progress import progress
from kafka_throttle.cli.spool._common import age, console, count, directory_argument, finding_line, moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kafka_throttle._spool import SpooledRecord
    from kafka_throttle._spool.maintenance import SpoolStatus

__all__ = ["export", "peek", "status", "verify"]

_PREVIEW = 40


@click.command()
@directory_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(*, directory: Path, as_json: bool) -> None:
    """Show who has a spool, how much is in it, and how old it is.

    The keys of --json: directory; owner (pid; null when nobody has the spool, 0 when it did not say); records and
    payload_bytes (not delivered yet); segments and disk_bytes; oldest (seconds since the epoch, or null);
    lost_records (made unreadable by damage, since the directory was created); quarantined and quarantined_bytes.
    """
    if as_json:
        click.echo(json.dumps(asdict(maintenance.status(directory)), indent=2))
        return
    for name, value in _status_rows(maintenance.status(directory)):
        click.echo(f"{click.style(f'{name:<11}', bold=True)} {value}")


def _status_rows(found: SpoolStatus) -> Iterator[tuple[str, str]]:
    yield "Spool", found.directory
    if found.owner is None:
        yield "Owner", "nobody"
    else:
        yield "Owner", f"process {found.owner}" if found.owner else "a process that did not say its pid"
    yield "Records", f"{count(found.records, 'record')}, {format_bytes(found.payload_bytes)} of payload"
    if found.oldest is not None:
        yield "Oldest", f"{age(max(time.time() - found.oldest, 0.0))} ({moment(found.oldest)})"
    yield "Disk", f"{count(found.segments, 'segment')}, {format_bytes(found.disk_bytes)}"
    yield "Lost", f"{count(found.lost_records, 'record')}{' to damage' if found.lost_records else ''}"
    quarantined = f"{count(found.quarantined, 'file')}, {format_bytes(found.quarantined_bytes)}"
    yield "Quarantine", quarantined if found.quarantined else "empty"


@click.command()
@directory_argument
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="The most records to show.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each record, as export does.")
def peek(*, directory: Path, limit: int, as_json: bool) -> None:
    """Show the records that will be sent next, without taking them."""
    records = maintenance.peek(directory, limit)
    if as_json:
        with _standard_output() as out:
            for record in records:
                out.write(maintenance.to_json(record) + "\n")
        return
    screen = console()
    from rich.table import Table  # noqa: PLC0415 - an extra
    from rich.text import Text  # noqa: PLC0415

    shown = Table("Sequence", "Topic", "Part.", "Spooled (UTC)", "Key", "Value", "Bytes", "Headers", box=None)
    for index in (0, 2, 6, 7):
        shown.columns[index].justify = "right"
    for column in shown.columns:
        column.no_wrap = column.header != "Value"  # a narrow terminal takes its room from the value first
    for record in records:
        shown.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in _cells(record)))
    screen.print(shown if shown.row_count else "No records.")


def _cells(record: SpooledRecord) -> tuple[str, ...]:
    return (
        str(record.sequence),
        record.topic,
        "-" if record.partition < 0 else str(record.partition),
        moment(record.spooled_at).removesuffix(" UTC"),
        _preview(record.key),
        _preview(record.value),
        str(record.payload_bytes),
        "-" if record.headers is None else str(len(record.headers)),
    )


def _preview(data: bytes | None) -> str:
    """Return bytes as text when they are printable text, else as Python writes bytes; shortened."""
    if data is None:
        return "-"
    try:
        text = data[: 4 * _PREVIEW].decode()
    except UnicodeDecodeError:
        text = repr(data[:_PREVIEW])
    else:
        text = text if text.isprintable() else repr(data[:_PREVIEW])
    return text if len(text) <= _PREVIEW and len(data) <= 4 * _PREVIEW else f"{text[: _PREVIEW - 3]}..."


@click.command()
@directory_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default=Path("-"),
    show_default="standard output",
    help="A file that does not exist yet; only you will be able to read it.",
)
def export(*, directory: Path, output: Path) -> None:
    """Write every record as a line of JSON; nothing is taken, nothing is left out.

    The keys: sequence, record_id (hexadecimal), topic, partition (-1 when the client chooses), timestamp
    (milliseconds, 0 when the client chooses), spooled_at (seconds since the epoch), key and value (Base64, or null), headers
    (a list of [name, Base64 or null], or null).
    """
    to_standard_output = output == Path("-")
    hidden = to_standard_output and sys.stdout.isatty()
    target = _standard_output() if to_standard_output else _new_file(output)
    with target as out, progress("Exporting", "records", hidden=hidden) as show:
        exported = maintenance.export(directory, out, show)
    click.echo(f"{count(exported, 'record')} exported.", err=True)


@contextmanager
def _standard_output() -> Iterator[TextIO]:
    """Yield standard output in UTF-8, whatever the locale says: so is JSON."""
    out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="\n")
    try:
        yield out
        out.flush()
    finally:
        out.detach()


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """Yield a new file; it is deleted again when the work is not completed."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise click.UsageError(f"--output {path}: exists already; give another name, or move it") from None
    except OSError as error:
        raise click.UsageError(f"--output {path}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as out:
            yield out
    except BaseException as error:  # raised again: half an export must not look like a whole one
        path.unlink()
        if type(error) is OSError:
            raise click.ClickException(f"--output {path}: {error.strerror}") from error
        raise


@click.command()
@directory_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(*, directory: Path, as_json: bool) -> None:
    """Read everything and say what is damaged or missing; change nothing.

    Ends with status 1 when something is. The keys of --json: records (readable, not delivered yet); findings, a list of
    objects with file, problem and lost (records that cannot be read).
    """
    with progress("Verifying", "segments") as show:
        verdict = maintenance.verify(directory, show)
    if as_json:
        click.echo(json.dumps(asdict(verdict), indent=2))
    else:
        for finding in verdict.findings:
            click.echo(finding_line(finding))
        click.echo(f"{count(verdict.records, 'record')} can be read.")
        if verdict.findings:
            click.echo(f"To set aside what is damaged: kafka-throttle spool repair {directory}", err=True)
    if verdict.findings:
        sys.exit(1)
