"""Which topics may pass the gate, while threads disagree on whether something waits."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from kafka_throttle import DropOldest, Fixed, Rule, Spill, Throttle
from kafka_throttle._records import record_of
from kafka_throttle.testing import SimulatedPath, SimulatedProducer, VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from kafka_throttle import Statistics
    from kafka_throttle._shedding.shedding import Shedding
    from kafka_throttle._shedding.way import Way


class Contended:
    """A lock that another thread had until now, and did something under."""

    def __init__(self, lock: Any, deed: Callable[[], None]) -> None:
        self._lock = lock
        self._deed: Callable[[], None] | None = deed

    def __enter__(self) -> None:
        if self._deed is not None:
            deed, self._deed = self._deed, None
            deed()
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def make() -> tuple[Shedding, Way]:
    rules = [
        Rule("kept", DropOldest(), loss_approved_by="me"),
        Rule("other", DropOldest(), loss_approved_by="me"),
    ]
    path = SimulatedPath(VirtualClock())
    shedding: Any = SimulatedProducer(path, Throttle(rules=rules, limit=Fixed(1)))._admission.shedding
    return shedding, shedding.ways[0]


def hold(way: Way) -> None:
    assert way.take(record_of(way.rule.topics[0], b"held"))  # type: ignore[arg-type]


def test_a_topic_does_not_pass_when_a_record_of_it_begins_to_wait_before_it_is_let_through() -> None:
    shedding, way = make()
    hold(shedding.ways[1])
    shedding._topics.hold_back(shedding.ways[1])

    def other_thread() -> None:
        hold(way)
        shedding._topics.hold_back(way)

    shedding._topics._lock = Contended(shedding._topics._lock, other_thread)  # type: ignore[assignment]
    shedding._topics.let_way_pass(way, "kept")

    assert shedding._topics._free == set()


def test_a_record_that_waits_restricts_the_gate_though_the_pump_has_just_lifted_that() -> None:
    shedding, way = make()
    hold(shedding.ways[1])
    shedding._topics.hold_back(shedding.ways[1])
    shedding._topics.let_way_pass(way, "kept")
    assert shedding._topics._free == {"kept"}
    hold(way)

    def pump() -> None:  # it saw that nothing waited, a moment before
        shedding._topics._free = None
        shedding._admission.gate.restrict(None)

    shedding._topics._lock = Contended(shedding._topics._lock, pump)  # type: ignore[assignment]
    shedding._topics.hold_back(way)

    assert shedding._topics._free == set()


def test_flush_runs_the_callbacks_of_what_arrived_while_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    shedding, _ = make()
    steps: list[str] = []
    statistics = shedding._admission.statistics

    def look() -> Statistics:
        steps.append("look")
        return statistics()

    def serve(seconds: float) -> int:
        steps.append("serve")
        return 0

    monkeypatch.setattr(shedding._admission, "statistics", look)

    assert shedding.flush(1.0, serve) == 0
    assert steps == ["serve", "look", "serve"]


def test_the_statistics_of_a_forked_child_need_no_lock_that_another_thread_of_the_parent_had(
    tmp_path: Path,
) -> None:
    throttle = Throttle(rules=[Rule("kept", Spill(str(tmp_path)))], limit=Fixed(1))
    producer = SimulatedProducer(SimulatedPath(VirtualClock()), throttle)
    admission = producer._admission
    shedding: Any = admission.shedding
    locks = [shedding.books.lock, shedding.ways[0].spools[0]._lock]
    other = threading.Thread(target=lambda: [lock.acquire() for lock in locks])
    other.start()
    other.join()

    admission.orphan()

    assert producer.statistics().spooled == 0
    assert repr(producer).startswith("<SimulatedProducer ")
    shedding.ways[0].spools[0].close()
