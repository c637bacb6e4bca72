"""What a killed application left in its spool arrives on real Kafka: all of it, once, in order, and nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from kafka_throttle._spool import Spool
from kafka_throttle._spool.maintenance import peek

if TYPE_CHECKING:
    from pathlib import Path

    from kafka_throttle.brokers import KafkaCluster

pytestmark = pytest.mark.integration

DEADLINE = 60.0
KEYS = 7
COMMAND = [sys.executable, "-c", "from kafka_throttle.cli import main; main()", "spool", "replay"]

OWNER = """
import sys
from kafka_throttle._spool import Spool
directory, topic = sys.argv[1:]
spool = Spool(directory, commit="record", fsync="off", segment_bytes=100_000)
for number in range(1_000_000):
    key = b"%d" % (number % 7)
    spool.append(topic, key, b"%d" % number, [("n", key), ("n", None), ("m", b"")], 1_700_000_000_000 + number)
    print(number, flush=True)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def new_topic(kafka: KafkaCluster, partitions: int, **config: str) -> str:
    topic = f"t-{uuid.uuid4().hex[:12]}"
    kafka.create_topic(
        topic, partitions=partitions, config={key.replace("_", "."): value for key, value in config.items()}
    )
    return topic


def replay(kafka: KafkaCluster, directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, str(directory), "--bootstrap", kafka.bootstrap, *options],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def numbers_by_key(messages: list[Any]) -> dict[bytes, list[int]]:
    by_key = defaultdict(list)
    for message in messages:
        by_key[message.key()].append(int(message.value().split(b"-")[0]))
    return dict(by_key)


def test_exactly_what_a_killed_application_committed_arrives_in_order_per_key(
    local_kafka: KafkaCluster, directory: Path
) -> None:
    topic = new_topic(local_kafka, partitions=4)
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(directory), topic], stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        for line in owner.stdout:
            if int(line) == 3000:
                owner.send_signal(signal.SIGKILL)
                break
        promised = max([3000, *map(int, owner.stdout.read().split())])
    committed = list(peek(directory))
    assert [int(record.value or b"") for record in committed][: promised + 1] == list(range(promised + 1))

    done = replay(local_kafka, directory, "--record-id-header", "id")

    total = f"{len(committed):,}".replace(",", " ")
    assert (done.stdout, done.stderr, done.returncode) == (
        f"{total} records sent, 0 records left in the spool.\n",
        "",
        0,
    )
    messages = list(local_kafka.messages(topic))
    assert {b"%d" % key: list(range(key, len(committed), KEYS)) for key in range(KEYS)} == numbers_by_key(
        messages
    )
    by_number = {int(record.value or b""): record for record in committed}
    for message in messages:
        record = by_number[int(message.value())]
        assert message.headers() == [*(record.headers or ()), ("id", record.record_id)]
        assert message.timestamp()[1] == record.timestamp
    assert list(peek(directory)) == []


def test_a_refused_record_is_named_and_not_overtaken_until_it_may_be(
    local_kafka: KafkaCluster, directory: Path
) -> None:
    topic = new_topic(local_kafka, partitions=1, max_message_bytes="20000")
    with Spool(directory, group_seconds=None) as spool:
        for number in range(2000):
            spool.append(topic, b"k", b"%d-" % number + b"x" * (30_000 if number == 1200 else 50))

    # Each record alone in its request: what is refused with it would be others' fault.
    done = replay(local_kafka, directory, "-X", "batch.num.messages=1")

    assert done.returncode == 1
    assert done.stderr.startswith(f"Record 1201 to {topic} was refused: Broker: Message size too large")
    assert done.stdout == "1 200 records sent, 800 records left in the spool.\n"
    assert numbers_by_key(list(local_kafka.messages(topic))) == {b"k": list(range(1200))}

    skipped = replay(local_kafka, directory, "-X", "batch.num.messages=1", "--skip-failed")

    assert skipped.returncode == 1
    assert skipped.stdout == "799 records sent, 1 record left in the spool.\n"
    assert numbers_by_key(list(local_kafka.messages(topic))) == {b"k": [*range(1200), *range(1201, 2000)]}
    assert [record.sequence for record in peek(directory)] == [1201]


def test_after_ctrl_c_the_rest_is_sent_the_next_time_and_nothing_twice(
    local_kafka: KafkaCluster, directory: Path
) -> None:
    topic = new_topic(local_kafka, partitions=2)
    with Spool(directory, group_seconds=None) as spool:
        for number in range(4000):
            spool.append(topic, b"%d" % (number % KEYS), b"%d" % number)
    with subprocess.Popen(
        [*COMMAND, str(directory), "--bootstrap", local_kafka.bootstrap, "--rate", "1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while sum(local_kafka.end_offsets(topic).values()) < 200:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=DEADLINE)
    left = len(list(peek(directory)))
    assert 0 < left < 3801
    assert (
        said[0].endswith(f"{left:,} records left in the spool.\n".replace(",", " ")),
        process.returncode,
    ) == (True, 130)

    assert replay(local_kafka, directory).returncode == 0
    assert {b"%d" % key: list(range(key, 4000, KEYS)) for key in range(KEYS)} == numbers_by_key(
        list(local_kafka.messages(topic))
    )
