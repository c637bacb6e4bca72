"""The probe tells the longest stall; a stream tells what became of its records."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING

from benchmarks.asyncio_clients.acts import ACTS
from benchmarks.asyncio_clients.acts.stalls import LoopProbe, SchedulerWait

if TYPE_CHECKING:
    from benchmarks.asyncio_clients.clients import Client


def test_the_longest_stall_is_told_apart_from_the_usual_ones() -> None:
    probe = LoopProbe()
    probe.overslept, probe.own = [0.001] * 1999 + [0.5], [0.001] * 1999 + [0.1]
    probe.uncollected = [0.001] * 1999 + [0.05]
    assert probe.findings() == {"longest": 0.5, "p999": 0.001, "own": 0.1, "uncollected": 0.05}


def test_a_loop_that_stands_still_is_noticed() -> None:
    async def stall() -> float:
        async with LoopProbe() as probe:
            await asyncio.sleep(0)  # the probe has begun
            time.sleep(0.05)  # this is the stall, not a wait for a result
            await asyncio.sleep(0.002)
        return probe.findings()["longest"]

    assert asyncio.run(stall()) >= 0.045


def test_a_wait_for_a_core_never_runs_backwards() -> None:
    with closing(SchedulerWait()) as waited:
        readings = [waited.read() for _ in range(100)]
    assert readings == sorted(readings)


def test_a_stream_counts_what_became_of_its_records(client: Client) -> None:
    client.producer.outcome = lambda number: ValueError(number) if number == 1 else number
    found = asyncio.run(ACTS["stream"](client, rate=1000, seconds=0.05))
    assert found["submitted"] == client.producer.submitted
    assert found["outcomes"]["failed"] == 1
    assert sum(found["outcomes"].values()) == found["submitted"]


def test_a_replay_ends_when_the_facade_holds_nothing(client: Client) -> None:
    spooled = [2, 1, 0]
    client.producer = SimpleNamespace(
        statistics=lambda: SimpleNamespace(held=0, spooled=spooled.pop(0), in_flight=0)
    )
    asyncio.run(ACTS["replay"](client))
    assert spooled == []
