"""Dead letters on real Kafka: written by the topic sink, shown, and sent back, whatever is killed."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import KafkaError, KafkaException

from kafka_throttle._dead_letter import Letter, open_sink
from kafka_throttle._dead_letter.dialects import headers_of, letter_of
from kafka_throttle._dead_letter.file_sink import FileSink
from kafka_throttle._dead_letter.lines import letter_in
from kafka_throttle._dead_letter.topic_sink import TopicSink
from kafka_throttle.cli import main
from kafka_throttle.exceptions import DeadLetterError
from kafka_throttle.policies.dead_letter import DIALECTS, DeadLetter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kafka_throttle.brokers import KafkaCluster

pytestmark = pytest.mark.integration

DEADLINE = 60.0
NOW = 1_760_000_000_000


def new_topic(kafka: KafkaCluster, partitions: int = 1, **config: str) -> str:
    topic = f"t-{uuid.uuid4().hex[:12]}"
    settings = {name.replace("_", "."): value for name, value in config.items()}
    kafka.create_topic(topic, partitions=partitions, config=settings)
    return topic


def letter_for(topic: str, number: int = 0) -> Letter:
    return Letter(
        topic=topic,
        partition=1,
        key=b"k",
        value=b"%d" % number,
        headers=(("h", b"\xff"), ("h", None), ("g", b"")),
        timestamp=NOW + number,
        policy="dead_letter",
        reason="failed",
        attempts=1,
        first_seen=1.5,
        record_id=b"\x00\x01",
        error="Broker: Message size too large",
        error_name="MSG_SIZE_TOO_LARGE",
    )


def write_all(sink: Any, letters: list[Letter]) -> list[BaseException | None]:
    reports: queue.Queue[BaseException | None] = queue.Queue()
    for letter in letters:
        sink.write(letter, reports.put)
    return [reports.get(timeout=DEADLINE) for _ in letters]


def dead_letters(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["dead-letters", *map(str, arguments)])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_letter_arrives_in_its_dialect(local_kafka: KafkaCluster, dialect: str) -> None:
    topic = new_topic(local_kafka)
    local_kafka.create_topic(f"{topic}-dlt")
    sink = open_sink(DeadLetter("{topic}-dlt", headers=dialect), local_kafka.client_config())
    letter = letter_for(topic)

    assert write_all(sink, [letter]) == [None]
    assert (sink.pending, sink.close(DEADLINE)) == (0, 0)

    (message,) = list(local_kafka.messages(f"{topic}-dlt"))
    assert (message.key(), message.value()) == (b"k", b"0")
    assert message.headers() == headers_of(letter, dialect)
    if dialect == "native":
        assert letter_of(message.headers(), message.key(), message.value()) == letter


def test_a_transactional_producers_configuration_makes_a_client_that_can_send(
    local_kafka: KafkaCluster,
) -> None:
    topic = new_topic(local_kafka)
    conf = {**local_kafka.client_config(), "transactional.id": uuid.uuid4().hex, "acks": "all"}
    sink = TopicSink(conf, topic)

    assert write_all(sink, [letter_for("orders", n) for n in range(100)]) == [None] * 100
    sink.close(DEADLINE)
    assert local_kafka.end_offsets(topic) == {0: 100}


def test_what_the_brokers_refuse_is_reported(local_kafka: KafkaCluster) -> None:
    topic = new_topic(local_kafka, max_message_bytes="1000")
    sink = TopicSink(local_kafka.client_config(), topic)
    big = attrs.evolve(letter_for("orders"), value=b"x" * 2000)

    (error,) = write_all(sink, [big])

    assert isinstance(error, KafkaException)
    assert error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE
    assert sink.close(DEADLINE) == 0


def test_letters_beyond_the_bound_are_refused_while_the_brokers_are_slow(local_kafka: KafkaCluster) -> None:
    topic = new_topic(local_kafka)
    # The client waits this long for a batch, so that nothing arrives before the bound is reached.
    sink = TopicSink({**local_kafka.client_config(), "linger.ms": 2000}, topic, max_records=5)
    reports: queue.Queue[BaseException | None] = queue.Queue()
    for number in range(5):
        sink.write(letter_for("orders", number), reports.put)

    with pytest.raises(DeadLetterError) as caught:
        sink.write(letter_for("orders", 5), reports.put)

    assert str(caught.value) == (
        f"the dead letter of topic 'orders' cannot go to '{topic}': 5 wait already (max_records)"
    )
    assert (sink.flush(DEADLINE), sink.close()) == (0, 0)
    assert [reports.get(timeout=DEADLINE) for _ in range(5)] == [None] * 5


def test_records_come_back_from_a_topic_as_they_were_and_only_once(local_kafka: KafkaCluster) -> None:
    topic, dead = new_topic(local_kafka, partitions=3), new_topic(local_kafka, partitions=2)
    sink = TopicSink(local_kafka.client_config(), dead)
    letters = [letter_for(topic, number) for number in range(50)]
    write_all(sink, letters)
    sink.close(DEADLINE)
    address = f"kafka://{local_kafka.bootstrap}/{dead}"
    group = uuid.uuid4().hex

    shown = dead_letters("show", address, "--json")
    first = dead_letters("requeue", address, "--yes", "--keep-partition", "--group", group)
    second = dead_letters("requeue", address, "--yes", "--keep-partition", "--group", group)

    assert [letter_in(line.encode()) for line in shown.stdout.splitlines()] == letters
    assert (first.exit_code, first.stdout.split()[0]) == (0, "50"), first.stderr
    assert (second.exit_code, second.stdout.split()[0]) == (0, "0")
    assert [
        (m.partition(), m.key(), m.value(), tuple(m.headers()), m.timestamp()[1])
        for m in list(local_kafka.messages(topic))
    ] == [(1, b"k", each.value, each.headers, each.timestamp) for each in letters]


def test_letters_come_back_from_files_while_the_sink_goes_on(
    local_kafka: KafkaCluster, tmp_path: Path
) -> None:
    topic = new_topic(local_kafka)
    path = tmp_path / "dead.jsonl"
    sink = FileSink(path, max_bytes=20_000, files=None)
    write_all(sink, [letter_for(topic, number) for number in range(200)])

    result = dead_letters("requeue", path, "--bootstrap", local_kafka.bootstrap, "--yes")
    write_all(sink, [letter_for(topic, 200)])
    sink.close()

    assert (result.exit_code, result.stdout.split()[0]) == (0, "200"), result.stderr
    assert [m.value() for m in list(local_kafka.messages(topic))] == [b"%d" % n for n in range(200)]
    assert [letter_in(line).value for line in path.read_bytes().splitlines()] == [b"200"]


def from_file(kafka: KafkaCluster, letters: list[Letter], path: Path) -> list[str]:
    sink = FileSink(path, max_bytes=100_000, files=None)
    write_all(sink, letters)
    sink.close()
    return [str(path), "--bootstrap", kafka.bootstrap]


def from_topic(kafka: KafkaCluster, letters: list[Letter], path: Path) -> list[str]:
    dead = new_topic(kafka, partitions=2)
    sink = TopicSink(kafka.client_config(), dead)
    write_all(sink, letters)
    sink.close(DEADLINE)
    return [f"kafka://{kafka.bootstrap}/{dead}", "--group", uuid.uuid4().hex]


@pytest.mark.parametrize("origin", [from_file, from_topic])
def test_nothing_is_lost_when_requeue_is_killed(
    local_kafka: KafkaCluster, tmp_path: Path, origin: Callable[..., list[str]]
) -> None:
    topic = new_topic(local_kafka)
    letters = [letter_for(topic, number) for number in range(5000)]
    arguments = origin(local_kafka, letters, tmp_path / "dead.jsonl")
    command = [
        sys.executable,
        "-c",
        "from kafka_throttle.cli import main; main()",
        "dead-letters",
        "requeue",
        *arguments,
        "--yes",
    ]
    # Slow enough that it is killed on its way.
    child = subprocess.Popen(
        [*command, "-X", "linger.ms=50"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while sum(local_kafka.end_offsets(topic).values()) < 1500:
        assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = sum(local_kafka.end_offsets(topic).values())

    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)

    assert done.returncode == 0, done.stderr
    assert before < 5000
    values = [int(message.value()) for message in list(local_kafka.messages(topic))]
    assert set(values) == set(range(5000))
    # What is sent again is what was on its way, and for a file what had been delivered of the one that it was at.
    assert len(values) < 2 * 5000 if arguments[1] == "--bootstrap" else len(values) <= 5000 + 2000


def test_a_letter_that_the_brokers_refuse_keeps_none_of_its_neighbours(
    local_kafka: KafkaCluster, tmp_path: Path
) -> None:
    topic = new_topic(local_kafka, max_message_bytes="1000")
    path = tmp_path / "dead.jsonl"
    sink = FileSink(path)
    big = attrs.evolve(letter_for(topic), value=b"x" * 2000)
    write_all(sink, [letter_for(topic, 0), big, letter_for(topic, 1), letter_for(topic, 2)])
    sink.close()

    # They would go in one batch, which the brokers refuse or take as a whole.
    result = dead_letters(
        "requeue", path, "--bootstrap", local_kafka.bootstrap, "--yes", "-X", "linger.ms=200"
    )

    assert sorted(m.value() for m in list(local_kafka.messages(topic))) == [b"0", b"1", b"2"]
    assert [letter_in(line) for line in path.read_bytes().splitlines()] == [big]
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        1,
        f"  1 x topic '{topic}': Broker: Message size too large",
    )
