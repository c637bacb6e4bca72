"""The policies on real Kafka: a broker that stands still, one that is away, and applications that are killed."""

from __future__ import annotations

import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from kafka_throttle import Block, DropOldest, Fixed, Policy, Producer, Rule, Spill, Throttle
from kafka_throttle.brokers import LocalKafka

if TYPE_CHECKING:
    from pathlib import Path

    from kafka_throttle.brokers import KafkaCluster

pytestmark = pytest.mark.integration

DEADLINE = 60.0
KEYS = 5

VICTIM = """
import os, sys
from kafka_throttle import Producer, Rule, Spill, Throttle
bootstrap, topic, directory, first = sys.argv[1:]
rule = Rule("*", Spill(directory, when="always", commit="record"))
producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"}, throttle=Throttle(rules=[rule]))
for number in range(int(first), int(first) + 1_000_000):
    producer.produce(topic, b"%d" % number, b"%d" % (number % 5))
    os.write(1, b"%d\\n" % number)
    if number % 20 == 0:
        producer.poll(0)
"""


def new_topic(kafka: KafkaCluster) -> str:
    topic = f"t-{uuid.uuid4().hex[:12]}"
    kafka.create_topic(topic, partitions=3)
    return topic


def producer_of(kafka: KafkaCluster, policy: Policy) -> Producer:
    rules = [Rule("*", policy, loss_approved_by="a test, TEST-1")]
    conf = {"bootstrap.servers": kafka.bootstrap, "acks": "all", "log_level": 0}
    return Producer(conf, throttle=Throttle(rules=rules, limit=Fixed(50), burst=0))


def consumed(kafka: KafkaCluster, topic: str) -> dict[bytes, list[int]]:
    """Return the numbers of each key in the order in which they stand in the topic, each the first time only."""
    found: dict[bytes, dict[int, None]] = {}
    for message in kafka.messages(topic):
        found.setdefault(message.key(), {})[int(message.value())] = None  # type: ignore[arg-type]
    return {key: list(numbers) for key, numbers in found.items()}


def assert_adds_up(producer: Producer) -> None:
    now = producer.statistics()
    assert now.offered == sum(now.places().values())
    assert now.offered_bytes == sum(now.places("bytes").values())


class Reports(list[Any]):
    def __call__(self, error: Any, message: Any) -> None:
        self.append((error, int(message.value())))


def test_a_spool_bridges_an_outage_in_order_and_loses_nothing(tmp_path: Path) -> None:
    reports = Reports()
    with LocalKafka() as kafka:
        topic = new_topic(kafka)
        producer = producer_of(kafka, Spill(tmp_path))
        for number in range(4000):
            producer.produce(topic, b"%d" % number, b"%d" % (number % KEYS), on_delivery=reports)
            if number == 1000:
                kafka.kill(0)
        assert_adds_up(producer)
        assert producer.statistics().spooled > 2000
        kafka.start(0)
        assert producer.flush(DEADLINE) == 0
        assert_adds_up(producer)
        assert producer.statistics().delivered == 4000
        producer.close()
        found = consumed(kafka, topic)
    assert sorted(number for _, number in reports) == list(range(4000))
    assert {error for error, _ in reports} == {None}
    assert found == {b"%d" % key: list(range(key, 4000, KEYS)) for key in range(KEYS)}


def test_the_latest_records_get_through_when_the_broker_stood_still(local_kafka: KafkaCluster) -> None:
    topic, reports = new_topic(local_kafka), Reports()
    producer = producer_of(local_kafka, DropOldest(200))
    producer.produce(topic, b"0", b"0", on_delivery=reports)
    assert producer.flush(DEADLINE) == 0
    local_kafka.pause(0)
    try:
        for number in range(1, 3000):
            producer.produce(topic, b"%d" % number, b"%d" % (number % KEYS), on_delivery=reports)
        assert_adds_up(producer)
        now = producer.statistics()
        # The broker may have answered a few before it stood still.
        assert (now.held, now.shed, now.in_flight) == (200, 3000 - 200 - 50 - now.delivered, 50)
    finally:
        local_kafka.resume(0)
    assert producer.flush(DEADLINE) == 0
    assert_adds_up(producer)
    delivered = sorted(number for error, number in reports if error is None)
    assert delivered[-200:] == list(range(2800, 3000))
    assert sorted(number for _, number in reports) == list(range(3000))
    assert (
        sorted(number for numbers in consumed(local_kafka, topic).values() for number in numbers) == delivered
    )
    producer.close()


def test_kill_9_loses_no_record_for_which_produce_returned(local_kafka: KafkaCluster, tmp_path: Path) -> None:
    topic, returned = new_topic(local_kafka), set()
    for round_ in range(3):
        arguments = [local_kafka.bootstrap, topic, str(tmp_path / "spool"), str(round_ * 1_000_000)]
        victim = subprocess.Popen([sys.executable, "-c", VICTIM, *arguments], stdout=subprocess.PIPE)
        assert victim.stdout is not None
        with victim.stdout as lines:
            for _ in range(300 + 200 * round_):
                returned.add(int(next(lines)))
            victim.kill()
            returned.update(int(line) for line in lines if line.endswith(b"\n"))
        victim.wait()
    producer = producer_of(local_kafka, Spill(tmp_path / "spool"))
    assert producer.flush(DEADLINE) == 0
    producer.close()
    found = consumed(local_kafka, topic)
    assert returned - {number for numbers in found.values() for number in numbers} == set()
    assert [numbers for numbers in found.values() if numbers != sorted(numbers)] == []


def test_who_waits_and_who_spills_share_one_producer(local_kafka: KafkaCluster, tmp_path: Path) -> None:
    waiting, spilling = new_topic(local_kafka), new_topic(local_kafka)
    rules = [Rule(waiting, Block(), criticality="critical"), Rule("*", Spill(tmp_path))]
    conf = {"bootstrap.servers": local_kafka.bootstrap, "acks": "all"}
    with Producer(conf, throttle=Throttle(rules=rules, limit=Fixed(20))) as producer:
        for number in range(2000):
            producer.produce(waiting, b"%d" % number, b"%d" % (number % KEYS))
            producer.produce(spilling, b"%d" % number, b"%d" % (number % KEYS))
    assert producer.statistics().delivered == 4000
    expected = {b"%d" % key: list(range(key, 2000, KEYS)) for key in range(KEYS)}
    assert consumed(local_kafka, waiting) == expected
    assert consumed(local_kafka, spilling) == expected
