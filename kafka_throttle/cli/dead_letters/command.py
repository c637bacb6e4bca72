"""The commands ``kafka-throttle dead-letters show`` and ``requeue``."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from kafka_throttle.cli._client import key_values
from kafka_throttle.cli._extras import require
from kafka_throttle.cli.dead_letters.source import open_source, topic_of
from kafka_throttle.exceptions import DeadLetterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kafka_throttle._dead_letter import Letter
    from kafka_throttle.cli.dead_letters.resend import Outcome
    from kafka_throttle.cli.dead_letters.source import Source

__all__ = ["dead_letters"]

# More rows than this nobody reads, and a table is complete before it is shown.
_ROWS = 100
# Of places and reasons; the rest is a number.
_MOST_LINES = 10

_settings = click.option(
    "-X",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    callback=key_values,
    help="A client setting for Kafka, such as security.protocol=SSL; may be repeated.",
)


@click.group("dead-letters")
def dead_letters() -> None:
    """Show what was put aside, and send it back.

    SOURCE is the path of a file of dead letters (the full ones beside it, such as dead.jsonl.1, belong to it), or a
    topic of the native dialect as kafka://HOST:PORT/TOPIC.
    """


@dead_letters.command()
@click.argument("source")
@click.option("--json", "as_json", is_flag=True, help="Print lines as they stand in a file of dead letters.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help=f"Show so many letters at most, oldest first; without it {_ROWS} in a table, and all with --json.",
)
@click.option(
    "--group", help="Show of a topic only what `requeue` with this consumer group has not sent back yet."
)
@_settings
def show(
    *, source: str, as_json: bool, limit: int | None, group: str | None, settings: dict[str, str]
) -> None:
    """Show dead letters, oldest first.

    What is no dead letter is listed on stderr, and makes the exit code 1.

    \b
    Examples:
      kafka-throttle dead-letters show /var/lib/app/dead.jsonl
      kafka-throttle dead-letters show kafka://broker:9092/orders-dlt --limit 20
      kafka-throttle dead-letters show kafka://broker:9092/orders-dlt --json > dead.jsonl
    """  # noqa: D301
    _refuse_group_of_file(source, group)
    if not as_json:
        require("demo", "rich")
    unreadable: list[str] = []
    with _told(), _opened(source, settings, group) as found:
        letters = _letters(found, unreadable)
        most = limit if limit or as_json else _ROWS
        if as_json:
            _print_lines(itertools.islice(letters, most))
        else:
            _print_table(letters, most)
    _tell_unreadable(unreadable)
    if unreadable:
        raise SystemExit(1)


@dead_letters.command()
@click.argument("source")
@click.option(
    "--bootstrap",
    metavar="HOST:PORT",
    help="Where to send them: required for a file (also from KAFKA_THROTTLE_BOOTSTRAP); for a topic its own cluster "
    "is meant when nothing is given.",
)
@click.option(
    "--group",
    default="kafka-throttle-requeue",
    show_default=True,
    help="For a topic: the consumer group whose offsets say what was sent back already.",
)
@click.option(
    "--keep-partition", is_flag=True, help="Send a letter that was meant for a partition to the same one."
)
@click.option("--dry-run", is_flag=True, help="Only say how many would go where.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_settings
@click.option(
    "--source-setting",
    "source_settings",
    multiple=True,
    metavar="KEY=VALUE",
    callback=key_values,
    help="As -X, but only for the cluster that the letters are read from; may be repeated.",
)
def requeue(
    *,
    source: str,
    bootstrap: str | None,
    group: str,
    keep_partition: bool,
    dry_run: bool,
    yes: bool,
    settings: dict[str, str],
    source_settings: dict[str, str],
) -> None:
    """Send dead letters back to their own topics, with their own keys, values, headers and timestamps.

    Letters are taken out of a file when they were delivered. A topic is left as it is: that they were delivered is
    committed as the offsets of a consumer group, so that the next run goes on behind them. A run that is interrupted
    may leave letters that were delivered; these are sent again by the next one.

    What cannot be delivered, and what is no dead letter, is listed on stderr, and makes the exit code 1.

    \b
    Examples:
      kafka-throttle dead-letters requeue /var/lib/app/dead.jsonl --bootstrap broker:9092
      kafka-throttle dead-letters requeue kafka://broker:9092/orders-dlt --dry-run
      kafka-throttle dead-letters requeue kafka://spare:9092/orders-dlt --bootstrap broker:9092 --yes
    """  # noqa: D301
    target = _target(source, bootstrap)
    with _told(), _opened(source, {**settings, **source_settings}, group) as found:
        if dry_run:
            _tell_where(found)
            return
        found.claim()
        if not yes:
            click.confirm(f"Send {found.count():,} letters of {found.name} back to their topics?", abort=True)
        outcome = _resend(found, {**settings, "bootstrap.servers": target}, keep_partition)
        again = found.close()
    _tell(outcome, found.name, again)


def _refuse_group_of_file(source: str, group: str | None) -> None:
    if group is not None and topic_of(source) is None:
        raise click.UsageError("--group is for a topic: a file has only letters that were not sent back yet")


def _target(source: str, bootstrap: str | None) -> str:
    address = topic_of(source)
    if bootstrap or address:
        return bootstrap or address[0]  # type: ignore[index]  # one of the two is there
    from kafka_throttle.brokers import bootstrap_from_environment  # noqa: PLC0415 (for a file only)

    named = bootstrap_from_environment()
    if named is None:
        raise click.UsageError(
            "a file does not say which cluster its letters belong to: give --bootstrap HOST:PORT"
        )
    return named


@contextmanager
def _told() -> Iterator[None]:
    """Tell what went wrong in a line."""
    try:
        yield
    except DeadLetterError as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _opened(source: str, settings: Mapping[str, str], group: str | None) -> Iterator[Source]:
    found = open_source(source, settings, group)
    try:
        yield found
    finally:
        found.close()


def _letters(source: Source, unreadable: list[str]) -> Iterator[Letter]:
    """Yield the letters, and note the places where there is none."""
    for found in source.read():
        if found.letter is None:
            unreadable.append(f"{found.place}: {found.problem}")
        else:
            yield found.letter


def _print_lines(letters: Iterator[Letter]) -> None:
    from kafka_throttle._dead_letter.lines import line_of  # noqa: PLC0415 (only this command pays for it)

    for letter in letters:
        click.echo(line_of(letter), nl=False)


def _print_table(letters: Iterator[Letter], most: int | None) -> None:
    from kafka_throttle.cli.dead_letters.table import print_table  # noqa: PLC0415 (an extra)

    print_table(itertools.islice(letters, most))
    if next(letters, None) is not None:
        click.echo(f"The first {most}; there are more: --limit NUMBER or --json.")


def _tell_where(source: Source) -> None:
    unreadable: list[str] = []
    topics = Counter(letter.topic for letter in _letters(source, unreadable))
    click.echo(f"{sum(topics.values()):,} letters of {source.name}:")
    for topic, letters in topics.most_common():
        click.echo(f"  {letters:,} to topic {topic!r}")
    _tell_unreadable(unreadable)


def _resend(source: Source, settings: dict[str, Any], keep_partition: bool) -> Outcome:
    from confluent_kafka import KafkaException  # noqa: PLC0415 (loads the client)

    from kafka_throttle.cli.dead_letters.resend import client_of, resend  # noqa: PLC0415 (the same)

    try:
        client = client_of(settings)
    except KafkaException as error:
        raise click.ClickException(f"no client can be made: {error.args[0].str()}") from error
    with _progress(source.size) as advance:
        return resend(source, client, keep_partition=keep_partition, advance=advance)


@contextmanager
def _progress(size: int) -> Iterator[Callable[[int], object]]:
    with click.progressbar(length=size, label="Sending", file=sys.stderr) as bar:
        yield bar.update


def _tell(outcome: Outcome, name: str, again: int) -> None:
    click.echo(f"{outcome.delivered:,} letters of {name} were delivered to their topics.")
    _tell_unreadable(outcome.unreadable)
    if outcome.kept:
        click.echo(f"{outcome.kept:,} were not delivered, and stay:", err=True)
        _tell_lines([f"{count:,} x {reason}" for reason, count in outcome.errors.items()])
    if again:
        click.echo(f"{again:,} were delivered behind one that was not, and will be sent again.", err=True)
    if outcome.stopped:
        click.echo("Stopped, because the others would fare no better now.", err=True)
    if outcome.interrupted:
        raise SystemExit(130)
    if outcome.kept or outcome.unreadable:
        raise SystemExit(1)


def _tell_unreadable(places: list[str]) -> None:
    if places:
        click.echo(f"{len(places):,} are no dead letters that can be read, and stay:", err=True)
        _tell_lines(places)


def _tell_lines(lines: list[str]) -> None:
    for line in lines[:_MOST_LINES]:
        click.echo(f"  {line}", err=True)
    if len(lines) > _MOST_LINES:
        click.echo(f"  and {len(lines) - _MOST_LINES:,} more", err=True)
