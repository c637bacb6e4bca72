"""Parts in which much comes at once: tasks, records at a small queue, waiters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.asyncio_clients.clients import KINDS, WARM_UP_RECORDS

if TYPE_CHECKING:
    from benchmarks.asyncio_clients.stage import Stage
    from benchmarks.collected import Collected

__all__ = ["measure_crowd", "measure_rush", "measure_waiters"]

# A small fixed window and nothing absorbed: all but the first records wait.
_WINDOW = 500
_NARROW = {"limit": {"type": "fixed", "records": _WINDOW}, "burst": 0}


def measure_crowd(findings: Collected, stage: Stage) -> None:
    """Compare how tasks fare that all send at once."""
    fared: dict[str, dict[str, Any]] = {}
    for side in stage.sides:
        with stage.worker("AIOKafkaProducer", side) as worker:
            fared[side] = worker.ask("crowd", tasks=stage.scaled(20_000))
    facade, bare = fared["facade"], fared["bare"]
    findings.add("records/s against bare", facade["rate"] / bare["rate"])
    findings.add("p99 delay against bare", facade["p99"] / bare["p99"])
    for side, label in (("facade", ""), ("bare", ", bare")):
        findings.add(f"records/s{label}", fared[side]["rate"], "records/s")
        findings.add(f"median delay{label}", fared[side]["p50"], "s")
        findings.add(f"p99 delay{label}", fared[side]["p99"], "s")
        findings.add(f"records failed{label}", sum(fared[side]["failures"].values()))


def measure_rush(findings: Collected, stage: Stage) -> None:
    """Count what fails when the client's queue has room for a hundredth of the records."""
    records = stage.scaled(50_000)
    settings = {"queue.buffering.max.messages": 500}
    for side in stage.sides:
        label = "" if side == "facade" else ", bare"
        with stage.worker("AIOProducer", side, settings=settings) as worker:
            fared = worker.ask("rush", records=records)
            failures = sum(fared["failures"].values())
            written = stage.broker.written(worker.topic) - WARM_UP_RECORDS
        findings.add(f"failures{label}", failures)
        findings.add(f"records lost{label}", max(0, records - failures - written))
        findings.add(f"records/s{label}", (records - failures) / fared["seconds"], "records/s")


def measure_waiters(findings: Collected, stage: Stage) -> None:
    """Weigh the tasks that wait for admission, beside tasks that wait for nothing but asyncio."""
    tasks = stage.scaled(100_000)
    plain = {}
    for awaited in ("future", "event"):
        with stage.loop() as worker:
            plain[awaited] = worker.ask("wait_bare", tasks=tasks, awaited=awaited)["bytes"] / tasks
        findings.add(f"task that waits for a bare {awaited}", plain[awaited] / 1024, "KiB")
    for client in KINDS:
        for side in stage.sides:
            label = f"{client}{'' if side == 'facade' else ', bare'}"
            with stage.worker(client, side, throttle=_NARROW) as worker, stage.paused_broker():
                found = worker.ask("wait", tasks=tasks, first=2 * _WINDOW)
                each = found["bytes"] / tasks
                findings.add(f"{label}: waiting task", each / 1024, "KiB")
                findings.add(f"{label}: above a bare future's", (each - plain["future"]) / 1024, "KiB")
                findings.add(f"{label}: tasks admitted meanwhile", found["admitted"])
                if side == "facade":
                    findings.add(f"{label}: to cancel them all", worker.ask("leave")["seconds"], "s")
