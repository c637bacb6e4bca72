"""Times produce() itself, in bursts that fit every limit.

A loop of its own for each kind of call, and a process of its own for each client, so that the interpreter's inline
caches see one kind of producer only, as they do in an application.
"""

from __future__ import annotations

import threading
import time
from itertools import repeat
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.load import Bursts

__all__ = ["BurstTimer"]

_THREADS = 16
_WARM_UP_BURSTS = 10


class BurstTimer:
    """Times bursts on one client.

    Args:
        producer: The client under test.
        topic: Where the records go.
        load: What is offered.
    """

    def __init__(self, producer: Any, topic: str, load: Bursts) -> None:
        self._producer, self._topic, self._load = producer, topic, load
        self._value = bytes(load.record_bytes)
        kinds = {"plain": _plain, "reported": _reported, "threads": _threads}
        self._burst: Callable[[Any, str, bytes, int], int] = kinds[load.call]

    def warm_up(self, seen: list[str]) -> None:
        """Produce to the topics that count as seen, and then some bursts."""
        for topic in seen:
            self._producer.produce(topic, self._value)
            self._producer.poll(0)
        if self._producer.flush(120):
            raise RuntimeError(
                f"{len(self._producer)} of {len(seen)} first records are not delivered after 120 s"
            )
        for _ in range(_WARM_UP_BURSTS):
            self._timed_burst()

    def turn(self) -> list[float]:
        """Return the nanoseconds a record of each burst of a turn."""
        return [self._timed_burst() for _ in range(self._load.bursts)]

    def _timed_burst(self) -> float:
        records = self._load.records
        spent = self._burst(self._producer, self._topic, self._value, records)
        if self._producer.flush(30):
            raise RuntimeError("a burst is not delivered after 30 s")
        return round(spent / records, 1)


def _plain(producer: Any, topic: str, value: bytes, records: int) -> int:
    begin = perf_counter_ns()
    for _ in repeat(None, records):
        producer.produce(topic, value)
    return perf_counter_ns() - begin


def _report(error: Any, message: Any) -> None:
    """Do what is least."""


def _reported(producer: Any, topic: str, value: bytes, records: int) -> int:
    report = _report
    begin = perf_counter_ns()
    for _ in repeat(None, records):
        producer.produce(topic, value, on_delivery=report)
    spent = perf_counter_ns() - begin
    # Only poll() calls that found reports count: the wait for the broker is not the client's doing.
    while len(producer):
        begin = perf_counter_ns()
        served = producer.poll(0)
        if served:
            spent += perf_counter_ns() - begin
        else:
            time.sleep(0.001)
    return spent


def _threads(producer: Any, topic: str, value: bytes, records: int) -> int:
    together = threading.Barrier(_THREADS)
    spans: list[tuple[int, int]] = []

    def produce() -> None:
        together.wait()
        begin = perf_counter_ns()
        for _ in repeat(None, records // _THREADS):
            producer.produce(topic, value)
        spans.append((begin, perf_counter_ns()))

    threads = [threading.Thread(target=produce) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(end for _, end in spans) - min(begin for begin, _ in spans)
