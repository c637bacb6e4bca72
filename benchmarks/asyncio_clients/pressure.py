"""Parts in which a broker gives less than is offered: a quota, and no answer at all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from benchmarks.asyncio_clients.clients import KINDS, WARM_UP_RECORDS
from benchmarks.load import OpenLoop, load_to_dict
from benchmarks.outcome import Outcome

if TYPE_CHECKING:
    from benchmarks.asyncio_clients.stage import Stage
    from benchmarks.collected import Collected

__all__ = ["QUOTA", "measure_quota", "measure_stalls"]

QUOTA = 1_000_000
"""What the broker lets each client produce, in bytes per second."""

_TWICE_QUOTA = OpenLoop(2_000, 1_000, duration=60)
_SPILL_RATE = 50_000
_SPILL_SECONDS = 10.0
_IDLE_SECONDS = 5.0


def measure_quota(findings: Collected, stage: Stage) -> None:
    """Offer twice what a broker quota allows."""
    load = load_to_dict(_TWICE_QUOTA.shortened(stage.scale))
    for client in KINDS:
        for side in stage.sides:
            with stage.worker(client, side) as worker:
                outcome = Outcome(**worker.ask("offer", load=load)["outcome"])
                written = stage.broker.written(worker.topic) - WARM_UP_RECORDS
            given_up = outcome.failed + outcome.abandoned
            goodput = outcome.delivered * outcome.record_bytes / outcome.seconds
            p99 = outcome.delays["second half"].get("p99", math.nan)
            name = _name(client, side)
            findings.add(f"{name}: delivered / quota", goodput / QUOTA)
            findings.add(f"{name}: p99 delay, second half", p99, "s")
            findings.add(f"{name}: records failed", outcome.failed)
            findings.add(f"{name}: records lost", max(0, outcome.accepted - given_up - written))


def measure_stalls(findings: Collected, stage: Stage) -> None:
    """Watch the event loop while records spill and are replayed, beside one that is idle and the bare clients'."""
    seconds = _SPILL_SECONDS * stage.scale
    with stage.loop() as idle:
        _add_stalls(findings, "idle loop", idle.ask("watch", seconds=_IDLE_SECONDS * stage.scale))
    for client in KINDS:
        with stage.worker(client, "bare") as worker:
            streamed = worker.ask("stream", rate=_SPILL_RATE, seconds=seconds)
        name = _name(client, "bare")
        _add_stalls(findings, f"{name}, broker running", streamed)
        findings.add(f"{name}, broker running: records/s", streamed["rate"], "records/s")
        _measure_spilling(findings, stage, client, seconds)


def _measure_spilling(findings: Collected, stage: Stage, client: str, seconds: float) -> None:
    directory = stage.scratch / f"{client}-{stage.round_number}"
    # Nothing absorbed, so that records spill from the start.
    throttle = {
        "burst": 0,
        "rules": [{"topics": "*", "policy": {"type": "spill", "directory": str(directory)}}],
    }
    with stage.worker(client, "facade", throttle=throttle) as worker:
        with stage.paused_broker():
            spilled = worker.ask("stream", rate=_SPILL_RATE, seconds=seconds)
        replayed = worker.ask("replay")
        written = stage.broker.written(worker.topic) - WARM_UP_RECORDS
    name = _name(client, "facade")
    _add_stalls(findings, f"{name}, spilling", spilled)
    _add_stalls(findings, f"{name}, replaying", replayed)
    findings.add(f"{name}: records/s while spilling", spilled["rate"], "records/s")
    findings.add(f"{name}: share spilled", spilled["outcomes"].get("Spilled", 0) / spilled["submitted"])
    findings.add(f"{name}: replay", replayed["seconds"], "s")
    lost = spilled["submitted"] - spilled["outcomes"].get("failed", 0) - written
    findings.add(f"{name}: records lost", max(0, lost))


def _add_stalls(findings: Collected, name: str, stalls: dict[str, float]) -> None:
    findings.add(f"{name}: longest stall", stalls["longest"], "s")
    findings.add(f"{name}: longest stall, the scheduler's waits apart", stalls["own"], "s")
    findings.add(f"{name}: the same, garbage collection apart", stalls["uncollected"], "s")
    findings.add(f"{name}: p99.9 stall", stalls["p999"], "s")


def _name(client: str, side: str) -> str:
    return client if side == "facade" else f"{client}, bare"
