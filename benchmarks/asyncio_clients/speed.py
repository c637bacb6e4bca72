"""Parts that compare how fast one task gets records delivered, in bursts in turn."""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.asyncio_clients.clients import SIDES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.asyncio_clients.stage import Stage, Worker
    from benchmarks.collected import Collected

__all__ = ["LINGER", "measure_batches", "measure_producer", "measure_sends", "speed_against_bare"]

LINGER = 0.005
"""For how long AIOProducer's client waits for a batch to fill, in seconds: its default, said aloud."""

_SETTINGS = {"linger.ms": LINGER * 1000}


def measure_sends(findings: Collected, stage: Stage) -> None:
    """Compare a loop of send()."""
    with ExitStack() as stack:
        workers = _workers(stack, stage, "AIOKafkaProducer")
        rates = _in_turn(workers, stage.scaled(30), "sends", records=5_000, bursts=4)
    _compare(findings, rates)


def measure_batches(findings: Collected, stage: Stage) -> None:
    """Compare a loop of create_batch() and send_batch()."""
    with ExitStack() as stack:
        workers = _workers(stack, stage, "AIOKafkaProducer")
        rates = _in_turn(workers, stage.scaled(30), "batches", records=20_000, bursts=4)
    _compare(findings, rates)


def measure_producer(findings: Collected, stage: Stage) -> None:
    """Compare AIOProducer: many records, and one at a time."""
    with ExitStack() as stack:
        workers = _workers(stack, stage, "AIOProducer", _SETTINGS)
        _compare(findings, _in_turn(workers, stage.scaled(10), "produces", records=20_000, bursts=1))
        unflushed = _in_turn(workers, 1, "produces", records=20_000, bursts=1, flush=False)
        _compare(findings, unflushed, " without flush()")
        # The bare client takes two seconds for each: it gets to a few.
        delays = {
            side: worker.ask("one_by_one", records=stage.scaled(500), seconds=10 * stage.scale)["delays"]
            for side, worker in workers.items()
        }
    for side, label in (("facade", ""), ("bare", ", bare")):
        findings.add(f"median delay of a single record{label}", median(delays[side]), "s")
        findings.add(f"longest delay of a single record{label}", max(delays[side]), "s")


def _workers(
    stack: ExitStack, stage: Stage, client: str, settings: Mapping[str, Any] | None = None
) -> dict[str, Worker]:
    return {side: stack.enter_context(stage.worker(client, side, settings=settings)) for side in stage.sides}


def _in_turn(
    workers: Mapping[str, Worker], turns: int, act: str, **parameters: Any
) -> dict[str, list[float]]:
    """Return each side's median rate in each turn; who is first changes from turn to turn."""
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    for worker in workers.values():  # what comes first is slower than what follows
        worker.ask(act, **parameters)
    for turn in range(turns):
        for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
            rates[side].append(median(workers[side].ask(act, **parameters)["rates"]))
    return rates


def speed_against_bare(rates: Mapping[str, Sequence[float]]) -> float:
    """Return the median of the ratios in each turn: what disturbs the machine disturbs both sides of a turn."""
    return median(facade / bare for facade, bare in zip(rates["facade"], rates["bare"], strict=True))


def _compare(findings: Collected, rates: Mapping[str, Sequence[float]], how: str = "") -> None:
    findings.add(f"records/s against bare{how}", speed_against_bare(rates))
    findings.add(f"records/s{how}", median(rates["facade"]), "records/s")
    findings.add(f"records/s, bare{how}", median(rates["bare"]), "records/s")
