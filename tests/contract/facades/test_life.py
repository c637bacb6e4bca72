"""The end of a producer, and what is seen of it from outside: the same on every facade."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from facade_drivers import ON_DISK, shed

from kafka_throttle import Block, DeadLetter, DropNewest, DropOldest, Reject, Rule, Spill
from kafka_throttle.instrumentation.prometheus import ThrottleCollector

if TYPE_CHECKING:
    from pathlib import Path


RECORDS = "kafka_throttle_records_total"


# ---- the end


def test_drain_refuses_new_records_and_those_that_wait(make: Any, broker: Any) -> None:
    rules = [Rule("kept*", Block()), Rule("other*", DropOldest(10), loss_approved_by="data team, OPS-123")]
    driver = make(rules=rules)
    broker.stall()
    driver.offer(b"first")
    waiting = driver.begin(b"waiting")
    driver.offer(b"held", topic="other")
    assert driver.drain(0.01) == 2
    driver.until(lambda: waiting.over)
    assert driver.statistics().state == "draining"
    refused = [driver.offer(b"late", topic=topic) for topic in broker.topics]
    assert {offer.rejected for offer in (waiting, *refused)} == {"draining"}
    broker.resume()
    assert driver.flush() == 0
    assert driver.places() == {"delivered": 2, "rejected": 4}


@pytest.mark.parametrize("outage", ["stall", "vanish"])
def test_close_tells_everybody_in_time(make: Any, broker: Any, tmp_path: Path, outage: str) -> None:
    rules = [
        Rule("kept*", Spill(tmp_path)),
        Rule("other*", DropOldest(10), loss_approved_by="data team, OPS-123"),
        Rule("third*", Block()),
    ]
    driver = make(rules=rules)
    getattr(broker, outage)()
    driver.offer(b"in flight", topic="third")
    driver.offer(b"held", topic="other")
    driver.offer(b"spooled")
    waiting = driver.begin(b"waiting", topic="third")
    driver.close(0.05)
    assert waiting.rejected is not None or driver.told()["waiting"]
    told = driver.told()
    assert told["held"] == shed("DropOldest", "closed")
    assert told["spooled"] == ([ON_DISK] if driver.tells_commit else [])
    assert [outcome.kind for outcome in told["in flight"]] == ["failed"]
    assert driver.statistics().spooled == 1


def test_close_waits_for_what_can_be_delivered(make: Any, broker: Any, tmp_path: Path) -> None:
    driver = make(Spill(tmp_path), limit=5)
    broker.stall()
    for n in range(50):
        driver.offer(b"%d" % n, b"key")
    broker.resume()
    driver.close()
    assert driver.places() == {"delivered": 50}
    assert broker.values() == [f"{n}" for n in range(50)]


def test_a_future_that_waits_for_the_delivery_is_told_at_close_where_its_record_is(
    make: Any, broker: Any, tmp_path: Path
) -> None:
    driver = make(Spill(tmp_path, resolve="delivery"))
    broker.stall()
    for n in range(3):
        driver.offer(b"%d" % n, b"key")
    driver.close(0.01)
    assert driver.told()["2"] == ([ON_DISK] if driver.tells_commit else [])
    assert driver.statistics().spooled >= 2


# ---- what is seen from outside


def test_hooks_are_told_the_same(make: Any, broker: Any, tmp_path: Path) -> None:
    events: list[Any] = []
    rules = [
        Rule("kept*", Spill(tmp_path)),
        Rule("other*", DropNewest(), loss_approved_by="data team, OPS-123"),
        Rule("third*", DeadLetter(file=tmp_path / "letters")),
    ]
    driver = make(rules=rules, hooks=[events.append])
    broker.stall()
    driver.offer(b"first")
    for topic in ("kept", "other", "third"):
        driver.offer(b"value", topic=topic)
    broker.resume()
    assert driver.flush() == 0
    driver.close()  # the pump tells of what it has handed over when it has done so
    names = [type(event).__name__ for event in events if hasattr(event, "topic")]
    assert sorted(names) == ["RecordDeadLettered", "RecordReplayed", "RecordShed", "RecordSpilled"]


def test_the_collector_knows_the_producer(make: Any, broker: Any) -> None:
    driver = make(Reject())
    broker.stall()
    driver.offer(b"0")
    driver.offer(b"1")
    labels = {"client_id": driver.statistics().client_id, "outcome": "rejected"}
    samples = [sample for metric in ThrottleCollector().collect() for sample in metric.samples]
    (counted,) = [each.value for each in samples if each.labels == labels and each.name == RECORDS]
    assert counted >= 1
