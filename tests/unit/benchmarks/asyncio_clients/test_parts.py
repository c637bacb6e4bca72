"""Every part measures what its bars are about."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from attrs import define

from benchmarks.asyncio_clients.parts import PARTS
from benchmarks.asyncio_clients.speed import speed_against_bare
from benchmarks.asyncio_clients.stage import Stage
from benchmarks.collected import Collected
from benchmarks.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.broker import Broker

# One answer to whatever is asked.
ANSWER = {
    **dict.fromkeys(
        ("rate", "p50", "p99", "p999", "longest", "own", "uncollected", "seconds", "submitted"), 1.0
    ),
    **{name: [1.0] for name in ("rates", "delays")},
    **{name: {} for name in ("failures", "outcomes")},
    "bytes": 1,
    "admitted": 0,
    "outcome": Outcome(seconds=1.0, delays={"second half": {"p99": 1.0}}).to_dict(),
}


@define(slots=False)
class AgreeableStage(Stage):
    """Has workers that answer anything, and no Kafka."""

    @contextmanager
    def worker(self, client: str, side: str, **more: Any) -> Iterator[Any]:
        yield SimpleNamespace(topic="orders", ask=lambda act, **parameters: ANSWER)

    @contextmanager
    def loop(self) -> Iterator[Any]:
        yield SimpleNamespace(ask=lambda act, **parameters: ANSWER)


@pytest.fixture
def stage() -> Stage:
    kafka = SimpleNamespace(pause=lambda: None, resume=lambda: None)
    return AgreeableStage(cast("Broker", SimpleNamespace(kafka=kafka, written=lambda topic: 8)), Path())


@pytest.mark.parametrize("name", PARTS)
def test_every_bar_has_its_figure(stage: Stage, name: str) -> None:
    findings = Collected(PARTS[name].bars)
    PARTS[name].measure(findings, stage)
    assert PARTS[name].bars.keys() - findings.figures.keys() == set()


def test_the_sides_change_places_from_round_to_round() -> None:
    stages = [Stage(cast("Broker", None), Path(), number) for number in range(3)]
    assert [stage.sides for stage in stages] == [("bare", "facade"), ("facade", "bare"), ("bare", "facade")]


def test_what_disturbs_both_sides_of_a_turn_does_not_count() -> None:
    rates = {"bare": [100.0, 10.0, 100.0], "facade": [90.0, 9.0, 95.0]}
    assert speed_against_bare(rates) == 0.9
