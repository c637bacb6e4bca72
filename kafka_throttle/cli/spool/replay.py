"""``kafka-throttle spool replay``: sends what an application left, without the application."""

from __future__ import annotations

import logging
import signal
import sys
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - click's commands are read at run time
from typing import TYPE_CHECKING, Any

import click

from kafka_throttle._spool import Spool
from kafka_throttle._spool.lock import owner_of
from kafka_throttle._spool.maintenance import peek
from kafka_throttle._units import format_bytes
from kafka_throttle.cli._client import client_options, client_settings
from kafka_throttle.cli._progress import progress
from kafka_throttle.cli.spool._common import console, count, directory_argument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kafka_throttle.cli.spool.sender import Sender

__all__ = ["replay"]


@click.command()
@directory_argument
@client_options
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Send at most so many records a second.",
)
@click.option("--skip-failed", is_flag=True, help="Go on when Kafka refuses a record; it stays in the spool.")
@click.option(
    "--give-up",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Stop when nothing got through for so long.",
)
@click.option(
    "--record-id-header",
    metavar="NAME",
    help="Add a header with 16 bytes that are the same each time a record is sent, for consumers that deduplicate.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
def replay(
    *,
    directory: Path,
    bootstrap: str | None,
    config: Path | None,
    settings: dict[str, str],
    rate: float | None,
    skip_failed: bool,
    give_up: float,
    record_id_header: str | None,
    dry_run: bool,
) -> None:
    """Send every record of a spool, in order, and remove it when Kafka has confirmed it.

    Stops at the first record that Kafka refuses, and names it. What was not confirmed stays in the spool, also after
    Ctrl-C; a record that was on its way then may be sent again the next time. Ends with status 1 when something is
    left.

    \b
    Examples:
      kafka-throttle spool replay DIRECTORY --dry-run
      kafka-throttle spool replay DIRECTORY --bootstrap broker:9092 --rate 5000
      kafka-throttle spool replay DIRECTORY --config client.toml -X client.id=replay
    """  # noqa: D301
    if dry_run:
        _tell_what_would_be_sent(directory)
        return
    if record_id_header is not None and not record_id_header:
        raise click.UsageError("--record-id-header: a header needs a name")
    given = client_settings(bootstrap, config, settings)
    client, complaints = _client(given, skip_failed=skip_failed)
    with (
        Spool(directory, group_seconds=None) as spool,
        progress("Sending", "records") as show,
        _heard() as signals,
    ):
        from kafka_throttle.cli.spool.sender import Sender  # noqa: PLC0415 - the client's library is heavy

        lost_before = spool.lost_records
        sender = Sender(
            spool,
            client,
            stopping=lambda: bool(signals),
            rate=rate,
            header=record_id_header,
            skip_failed=skip_failed,
            patience=give_up,
            progress=show,
        )
        sender.run()
        left = spool.records
        lost = spool.lost_records - lost_before
    _tell(sender, left, lost, complaints[-1] if complaints else None, give_up)
    if signals:
        sys.exit(128 + signals[0])
    if left or lost:
        sys.exit(1)


def _client(given: dict[str, str], *, skip_failed: bool) -> tuple[Any, list[str]]:
    """Return a client, and a list in which its last complaint will be found."""
    from confluent_kafka import KafkaException, Producer  # noqa: PLC0415 - heavy

    from kafka_throttle.cli.spool.sender import own_settings  # noqa: PLC0415 - imports the client's library

    used, unused = own_settings(given, skip_failed=skip_failed)
    if unused:
        click.echo(
            f"Not used, because order and completeness depend on replay's own: {', '.join(unused)}", err=True
        )
    complaints: list[str] = []

    def hear(error: Any) -> None:
        complaints[:] = [error.str()]

    options: dict[str, Any] = {**used, "error_cb": hear}
    if "debug" not in used:  # what the client logs while it retries is noise, unless somebody asked for it
        options["logger"] = _silent()
    try:
        return Producer(options), complaints
    except (KafkaException, ValueError, TypeError) as error:
        reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        raise click.UsageError(f"the client does not accept its settings: {reason}") from error


def _silent() -> logging.Logger:
    logger = logging.getLogger(__name__)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


@contextmanager
def _heard() -> Iterator[list[int]]:
    """Yield a list of the signals that ask to end: the first is taken note of, the second ends the process as ever."""
    signals: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def hear(number: int, _frame: object) -> None:
        signals.append(number)
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, hear)
    try:
        yield signals
    finally:
        restore()


def _tell(sender: Sender, left: int, lost: int, complaint: str | None, give_up: float) -> None:
    for failure in sender.failures:
        click.echo(f"Record {failure.sequence} to {failure.topic} was refused: {failure.reason}", err=True)
    if sender.failed > len(sender.failures):
        click.echo(f"{sender.failed - len(sender.failures)} more were refused.", err=True)
    if sender.fatal and not sender.failures:
        click.echo(f"The client cannot go on: {sender.fatal}", err=True)
    if sender.gave_up:
        said = f"; the client said: {complaint}" if complaint else ""
        click.echo(f"Nothing got through for {give_up:g} s{said}", err=True)
    if lost:
        click.echo(f"{count(lost, 'record')} could not be read: the files are in quarantine.", err=True)
    click.echo(f"{count(sender.sent, 'record')} sent, {count(left, 'record')} left in the spool.")


def _tell_what_would_be_sent(directory: Path) -> None:
    screen = console()
    from rich.table import Table  # noqa: PLC0415 - an extra

    records: dict[str, int] = {}
    payload: dict[str, int] = {}
    for record in peek(directory):
        records[record.topic] = records.get(record.topic, 0) + 1
        payload[record.topic] = payload.get(record.topic, 0) + record.payload_bytes
    shown = Table("Topic", "Records", "Payload", box=None)
    shown.columns[1].justify = shown.columns[2].justify = "right"
    for topic, number in records.items():
        shown.add_row(topic, str(number), format_bytes(payload[topic]))
    screen.print(shown if records else "No records.")
    owner = owner_of(directory)
    if owner is not None:
        click.echo(f"Process {owner} has the spool now: replay would be refused until it ends.", err=True)
