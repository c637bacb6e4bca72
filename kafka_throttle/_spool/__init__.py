"""The disk queue: records that find no room, or that must survive, wait here. It knows nothing of Kafka's client."""

from __future__ import annotations

from kafka_throttle._spool.files import POINTS, Files, Fsync, Point
from kafka_throttle._spool.record import Headers, SpooledRecord
from kafka_throttle._spool.spool import Commit, Spool

__all__ = ["POINTS", "Commit", "Files", "Fsync", "Headers", "Point", "Spool", "SpooledRecord"]
