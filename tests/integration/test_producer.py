"""The facade on real Kafka: what is delivered, in which order, and how callers get out of a wait."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from kafka_throttle import Block, Fixed, Producer, Reject, Rejected, Rule, Throttle

if TYPE_CHECKING:
    from kafka_throttle.brokers import KafkaCluster

pytestmark = pytest.mark.integration

DEADLINE = 60.0


def new_topic(kafka: KafkaCluster, partitions: int = 1) -> str:
    topic = f"t-{uuid.uuid4().hex[:12]}"
    kafka.create_topic(topic, partitions=partitions)
    return topic


def producer_of(kafka: KafkaCluster, throttle: Throttle | None = None, **settings: Any) -> Producer:
    conf = {"bootstrap.servers": kafka.bootstrap, "log_level": 0, **settings}
    return Producer(
        {name.replace("_", "."): value for name, value in conf.items() if name != "log_level"},
        throttle=throttle,
    )


def consumed(kafka: KafkaCluster, topic: str, isolation: str = "read_uncommitted") -> list[tuple[Any, Any]]:
    """Return (key, value) of everything in the topic, in order per partition."""
    return [(m.key(), m.value()) for m in kafka.messages(topic, isolation_level=isolation)]


def offer(producer: Producer, topic: str, records: int) -> None:
    for _ in range(records):
        producer.produce(topic, b"x")


def assert_ledger_at_rest(producer: Producer, offered: int) -> None:
    now = producer.statistics()
    assert now.offered == offered
    assert now.offered == now.rejected + now.in_flight + now.delivered + now.failed + now.unknown
    assert now.offered_bytes == (
        now.rejected_bytes + now.in_flight_bytes + now.delivered_bytes + now.failed_bytes + now.unknown_bytes
    )
    assert now.in_flight == 0


def test_order_per_key_is_kept_and_nothing_is_doubled_with_idempotence_under_a_tight_limit(
    local_kafka: KafkaCluster,
) -> None:
    topic = new_topic(local_kafka, partitions=4)
    producer = producer_of(local_kafka, Throttle(limit=Fixed(20)), enable_idempotence=True, linger_ms=1)
    for number in range(3000):
        producer.produce(topic, str(number).encode(), str(number % 7).encode())
    assert producer.flush(DEADLINE) == 0

    by_key = defaultdict(list)
    for key, value in consumed(local_kafka, topic):
        by_key[key].append(int(value))
    assert dict(by_key) == {str(key).encode(): list(range(key, 3000, 7)) for key in range(7)}
    assert_ledger_at_rest(producer, 3000)


def test_a_committed_transaction_is_read_and_an_aborted_one_is_not(local_kafka: KafkaCluster) -> None:
    topic = new_topic(local_kafka)
    producer = producer_of(local_kafka, Throttle(limit=Fixed(10)), transactional_id=uuid.uuid4().hex)
    reports: list[Any] = []
    producer.init_transactions(DEADLINE)
    for word, end in ((b"kept", producer.commit_transaction), (b"dropped", producer.abort_transaction)):
        producer.begin_transaction()
        for _ in range(50):
            producer.produce(topic, word, on_delivery=lambda error, message: reports.append(error))
        producer.flush(DEADLINE)
        end(DEADLINE)

    assert consumed(local_kafka, topic, "read_committed") == [(None, b"kept")] * 50
    assert reports == [None] * 100
    assert_ledger_at_rest(producer, 100)


def test_a_commit_runs_the_callbacks_that_were_put_off_while_produce_waited(
    local_kafka: KafkaCluster,
) -> None:
    topic = new_topic(local_kafka)
    producer = producer_of(local_kafka, Throttle(limit=Fixed(5)), transactional_id=uuid.uuid4().hex)
    reports: list[Any] = []
    producer.init_transactions(DEADLINE)
    producer.begin_transaction()
    for _ in range(40):
        producer.produce(topic, b"x", on_delivery=lambda error, message: reports.append(error))
    assert reports == []
    producer.commit_transaction(DEADLINE)

    assert producer.poll(0) + len(reports) >= 40
    assert reports == [None] * 40


def test_nothing_is_lost_while_the_broker_stands_still(local_kafka: KafkaCluster) -> None:
    topic = new_topic(local_kafka)
    producer = producer_of(local_kafka, Throttle(burst="64 KiB"))
    producer.produce(topic, b"first")
    assert producer.flush(DEADLINE) == 0
    local_kafka.pause()
    resumed = threading.Timer(1.5, local_kafka.resume)
    resumed.start()
    for number in range(5000):  # more than limit and burst hold: produce() waits until the broker goes on
        producer.produce(topic, f"{number:05}".encode() * 50)
    assert producer.flush(DEADLINE) == 0
    resumed.join()

    assert local_kafka.end_offsets(topic) == {0: 5001}
    assert_ledger_at_rest(producer, 5001)


def test_under_a_quota_reject_refuses_and_the_ledger_adds_up(local_kafka: KafkaCluster) -> None:
    topic, client = new_topic(local_kafka), uuid.uuid4().hex
    local_kafka.set_producer_quota(client, 50_000)
    throttle = Throttle(rules=[Rule("*", Reject())], limit=Fixed(100))
    producer = producer_of(local_kafka, throttle, client_id=client)
    accepted = rejected = 0
    refusal: BufferError | None = None
    while rejected == 0 or accepted < 700:
        try:
            producer.produce(topic, bytes(1000))
            accepted += 1
        except BufferError as error:
            rejected += 1
            refusal = error
            producer.poll(0.01)
    local_kafka.set_producer_quota(client, None)
    assert producer.flush(DEADLINE) == 0

    assert isinstance(refusal, Rejected)
    assert (refusal.topic, refusal.reason) == (topic, "limit")
    assert local_kafka.end_offsets(topic) == {0: accepted}
    assert producer.statistics().rejected == rejected
    assert_ledger_at_rest(producer, accepted + rejected)


def test_a_deadline_is_kept_and_its_error_says_what_is_full(local_kafka: KafkaCluster) -> None:
    topic = new_topic(local_kafka)
    throttle = Throttle(rules=[Rule("*", Block(timeout=0.2))], limit=Fixed(3), burst=0)
    producer = producer_of(local_kafka, throttle)
    producer.produce(topic, b"first")
    producer.flush(DEADLINE)
    local_kafka.pause()
    try:
        with pytest.raises(
            Rejected, match=r"waited 0\.2\d* s for room; 3 records .* the limit is 3 "
        ) as refusal:
            offer(producer, topic, 10)
    finally:
        local_kafka.resume()
    assert refusal.value.reason == "deadline"
    assert producer.flush(DEADLINE) == 0
    assert_ledger_at_rest(producer, 5)


def test_many_threads_share_a_tight_limit_and_none_is_left_behind(local_kafka: KafkaCluster) -> None:
    topic = new_topic(local_kafka, partitions=4)
    producer = producer_of(local_kafka, Throttle(limit=Fixed(50)), linger_ms=1)

    def offer() -> None:
        for _ in range(500):
            producer.produce(topic, b"x" * 100)

    threads = [threading.Thread(target=offer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert not any(thread.is_alive() for thread in threads)
    assert producer.flush(DEADLINE) == 0

    assert sum(local_kafka.end_offsets(topic).values()) == 4000
    assert_ledger_at_rest(producer, 4000)


def test_a_partition_that_does_not_exist_is_refused_and_not_in_flight(local_kafka: KafkaCluster) -> None:
    topic = new_topic(local_kafka)
    producer = producer_of(local_kafka)
    producer.produce(topic, b"first")
    producer.flush(DEADLINE)

    with pytest.raises(KafkaException) as refusal:
        producer.produce(topic, b"x", partition=99)
    assert refusal.value.args[0].code() == KafkaError._UNKNOWN_PARTITION
    assert producer.statistics().rejected == 1
    assert_ledger_at_rest(producer, 2)


def test_records_that_are_too_large_are_refused_at_once(local_kafka: KafkaCluster) -> None:
    topic = new_topic(local_kafka)
    producer = producer_of(local_kafka, queue_buffering_max_kbytes=2000, message_max_bytes=1_000_000)
    with pytest.raises(KafkaException) as refusal:
        producer.produce(topic, bytes(1_500_000))
    assert refusal.value.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE
    assert producer.flush(DEADLINE) == 0

    larger = producer_of(local_kafka, queue_buffering_max_kbytes=1000, message_max_bytes=5_000_000)
    with pytest.raises(
        Rejected, match=r"the value of 3,000,000 bytes can never fit .* 1,024,000 bytes"
    ) as never:
        larger.produce(topic, bytes(3_000_000))
    assert never.value.reason == "too_large"


SCRIPT = """
    import os, signal, sys
    from kafka_throttle import Fixed, Producer, Throttle

    producer = Producer({{"bootstrap.servers": {bootstrap!r}}}, throttle=Throttle(limit=Fixed(5), burst=0))
    producer.produce({topic!r}, b"first")
    producer.flush(60)
    {prepare}
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        print("waiting", flush=True)
        for _ in range(100):
            producer.produce({topic!r}, b"x")
    except {caught}:
        print("interrupted with", len(producer), "in the client", flush=True)
    os._exit(0)
"""


@pytest.mark.parametrize(
    ("sent", "prepare", "caught"),
    [
        # Set in the child: a test run in the background may have been started with the signal ignored.
        (signal.SIGINT, "signal.signal(signal.SIGINT, signal.default_int_handler)", "KeyboardInterrupt"),
        (signal.SIGTERM, "signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))", "SystemExit"),
    ],
)
def test_a_signal_ends_a_wait(local_kafka: KafkaCluster, sent: int, prepare: str, caught: str) -> None:
    script = textwrap.dedent(SCRIPT).format(
        bootstrap=local_kafka.bootstrap, topic=new_topic(local_kafka), prepare=prepare, caught=caught
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "ready\n"
        local_kafka.pause()
        child.stdin.write("go\n")
        child.stdin.flush()
        assert child.stdout.readline() == "waiting\n"
        child.send_signal(sent)
        # The signal may come before the last of the five that fit.
        assert re.fullmatch(r"interrupted with [0-5] in the client\n", child.stdout.readline())
    finally:
        local_kafka.resume()
        child.kill()
        child.communicate()


def test_a_forked_child_is_told_at_once_and_can_make_a_producer_of_its_own(local_kafka: KafkaCluster) -> None:
    topic = new_topic(local_kafka)
    script = f"""
        import os, sys
        from kafka_throttle import ForkedProducerError, Producer

        conf = {{"bootstrap.servers": {local_kafka.bootstrap!r}}}
        producer = Producer(conf)
        producer.produce({topic!r}, b"parent")
        if os.fork() == 0:
            for call in (lambda: producer.produce({topic!r}, b"x"), lambda: producer.flush(1)):
                try:
                    call()
                except ForkedProducerError:
                    continue
                os._exit(3)
            own = Producer(conf)
            own.produce({topic!r}, b"child")
            os._exit(4 if own.flush(60) else 0)
        assert producer.flush(60) == 0
        sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], timeout=DEADLINE, check=False, env={**os.environ}
    )
    assert done.returncode == 0
    assert sorted(value for _, value in consumed(local_kafka, topic)) == [b"child", b"parent"]
