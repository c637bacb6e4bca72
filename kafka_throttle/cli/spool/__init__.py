"""``kafka-throttle spool``: what an operator does with the directory of a disk queue."""

from __future__ import annotations

from kafka_throttle.cli.spool.command import spool

__all__ = ["spool"]
