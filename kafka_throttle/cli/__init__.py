"""The command ``kafka-throttle``."""

from __future__ import annotations

import click

from kafka_throttle import __version__
from kafka_throttle.cli.dead_letters.command import dead_letters
from kafka_throttle.cli.demo.command import demo
from kafka_throttle.cli.spool import spool

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kafka-throttle")
def main() -> None:
    """Keep a Kafka producer fast and honest while Kafka cannot keep up.

    To see what that means, run:

      kafka-throttle demo

    In an application, one import changes:

    \b
      from kafka_throttle import Producer    # was: from confluent_kafka import Producer
    """  # noqa: D301


main.add_command(dead_letters)
main.add_command(demo)
main.add_command(spool)
