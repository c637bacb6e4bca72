"""`spool replay` as a command, against a mock cluster: what it says, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, TopicPartition

from kafka_throttle._spool import Spool, maintenance

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    from kafka_throttle.brokers import MockKafka

    Run = Callable[..., Result]

COMMAND = [sys.executable, "-c", "from kafka_throttle.cli import main; main()", "spool", "replay"]


def values_in(kafka: MockKafka, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({**kafka.client_config(), "group.id": "g"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        messages = consumer.consume(count, timeout=30)
    finally:
        consumer.close()
    return [message.value() or b"" for message in messages]


def test_what_is_in_the_spool_arrives_and_is_gone_from_it(
    run: Run, directory: Path, mock_kafka: MockKafka
) -> None:
    mock_kafka.create_topic("orders")

    done = run("replay", directory, "--bootstrap", mock_kafka.bootstrap)

    assert (done.exit_code, done.stdout, done.stderr) == (
        0,
        "62 records sent, 0 records left in the spool.\n",
        "",
    )
    numbers = [int(value.split(b"-")[0]) for value in values_in(mock_kafka, "orders", 62)]
    assert [0, 1, *range(40, 100)] == numbers
    assert maintenance.status(directory).records == 0
    again = run("replay", directory, "--bootstrap", mock_kafka.bootstrap)
    assert (again.exit_code, again.stdout) == (0, "0 records sent, 0 records left in the spool.\n")


def test_what_a_killed_process_left_is_replayed(run: Run, killed: Path, mock_kafka: MockKafka) -> None:
    mock_kafka.create_topic("orders")

    done = run("replay", killed, "--bootstrap", mock_kafka.bootstrap)

    assert done.stdout == "100 records sent, 0 records left in the spool.\n"
    numbers = [int(value.split(b"-")[0]) for value in values_in(mock_kafka, "orders", 100)]
    assert list(range(100)) == numbers


def test_damage_that_is_found_on_the_way_is_set_aside_and_told(
    run: Run, damaged: Path, mock_kafka: MockKafka
) -> None:
    mock_kafka.create_topic("orders")

    done = run("replay", damaged, "--bootstrap", mock_kafka.bootstrap)

    assert done.exit_code == 1
    assert done.stdout == "57 records sent, 0 records left in the spool.\n"
    assert done.stderr == "5 records could not be read: the files are in quarantine.\n"


def test_settings_come_from_a_file_and_from_the_command_line(
    run: Run, directory: Path, tmp_path: Path, mock_kafka: MockKafka
) -> None:
    mock_kafka.create_topic("orders")
    file = tmp_path / "client.toml"
    file.write_text(
        f"""
        bootstrap.servers = "{mock_kafka.bootstrap}"
        "client.id" = "replay"
        acks = 1
        socket.keepalive.enable = true
        [linger]
        ms = 1
        """,
        "utf-8",
    )

    done = run("replay", directory, "--config", file, "-X", "compression.type=none")

    assert done.exit_code == 0, done.stderr
    assert done.stderr == "Not used, because order and completeness depend on replay's own: acks=1\n"
    assert done.stdout == "62 records sent, 0 records left in the spool.\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("= 1", "--config: {file}: is not TOML: "),
        ("a = [1]", "--config: {file}: a is [1]; a client's setting is text, a number, true or false"),
        ('client.id = "x"', "no brokers: give --bootstrap HOST:PORT, or bootstrap.servers in --config or -X"),
        (
            'bootstrap.servers = "h:1"\nbad.key = 1',
            'the client does not accept its settings: No such configuration property: "bad.key"',
        ),
        (
            'bootstrap.servers = "h:1"\nmax.in.flight = 100',
            "the client does not accept its settings: Failed to create producer: `max.in.flight` must be set <= 5",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_wrong_usage(
    run: Run, directory: Path, tmp_path: Path, content: str, words: str
) -> None:
    file = tmp_path / "client.toml"
    file.write_text(content, "utf-8")

    refused = run("replay", directory, "--config", file)

    assert refused.exit_code == 2
    assert words.format(file=file) in refused.stderr
    assert maintenance.status(directory).records == 62


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config", "nowhere.toml"], "--config: nowhere.toml: cannot be read: No such file or directory"),
        (["-X", "acks"], "'acks' is not KEY=VALUE, such as security.protocol=SSL"),
        (["--bootstrap", "h:1", "--rate", "0"], "0.0 is not in the range x>0"),
        (["--bootstrap", "h:1", "--give-up", "0"], "0.0 is not in the range x>0"),
        (["--bootstrap", "h:1", "--record-id-header", ""], "--record-id-header: a header needs a name"),
    ],
)
def test_bad_options_are_refused_with_what_is_allowed(
    run: Run, directory: Path, arguments: list[str], words: str
) -> None:
    refused = run("replay", directory, *arguments)

    assert refused.exit_code == 2
    assert words in refused.stderr


def test_a_record_that_the_client_refuses_is_named_and_what_is_behind_it_stays(
    run: Run, tmp_path: Path, mock_kafka: MockKafka
) -> None:
    mock_kafka.create_topic("t")
    directory = tmp_path / "s"
    with Spool(directory) as spool:
        for size in (10, 20, 5000, 10):
            spool.append("t", b"k", bytes(size))
    options = ("--bootstrap", mock_kafka.bootstrap, "-X", "message.max.bytes=1000")

    stopped = run("replay", directory, *options)
    skipped = run("replay", directory, *options, "--skip-failed")

    assert (stopped.exit_code, skipped.exit_code) == (1, 1)
    assert (
        stopped.stderr
        == "Record 3 to t was refused: Unable to produce message: Broker: Message size too large\n"
    )
    assert skipped.stderr == stopped.stderr
    assert stopped.stdout == "2 records sent, 2 records left in the spool.\n"
    assert skipped.stdout == "1 record sent, 1 record left in the spool.\n"
    assert [len(record.value or b"") for record in maintenance.peek(directory)] == [5000]


def test_a_cluster_that_does_not_answer_is_given_up_with_the_client_s_words(
    run: Run, directory: Path
) -> None:
    done = run("replay", directory, "--bootstrap", "127.0.0.1:1", "--give-up", "0.5")

    assert done.exit_code == 1
    assert done.stderr.startswith("Nothing got through for 0.5 s; the client said: ")
    assert "127.0.0.1:1" in done.stderr
    assert done.stdout == "0 records sent, 62 records left in the spool.\n"


def test_a_dry_run_says_what_would_be_sent_and_needs_neither_kafka_nor_the_lock(
    run: Run, directory: Path, owned: tuple[Path, int]
) -> None:
    dry = run("replay", directory, "--dry-run")
    beside, pid = owned
    busy = run("replay", beside, "--dry-run")

    assert (dry.exit_code, dry.stderr) == (0, "")
    assert dry.stdout.splitlines()[0].split() == ["Topic", "Records", "Payload"]
    assert dry.stdout.splitlines()[1].split()[:2] == ["orders", "62"]
    assert busy.stderr == f"Process {pid} has the spool now: replay would be refused until it ends.\n"
    assert maintenance.status(directory).records == 62


def test_a_dry_run_of_an_empty_spool(run: Run, tmp_path: Path) -> None:
    Spool(tmp_path / "empty").close()

    assert run("replay", tmp_path / "empty", "--dry-run").stdout == "No records.\n"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_replay_in_between_and_says_what_is_left(
    directory: Path, mock_kafka: MockKafka, number: int, status: int
) -> None:
    mock_kafka.create_topic("orders")
    with subprocess.Popen(
        [*COMMAND, str(directory), "--bootstrap", mock_kafka.bootstrap, "--rate", "20"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while sum(mock_kafka.end_offsets("orders").values()) < 3:
            assert process.poll() is None
        os.kill(process.pid, number)
        output, errors = process.communicate(timeout=60)

    left = maintenance.status(directory)
    assert (process.returncode, errors) == (status, "")
    assert output.endswith(f", {left.records} records left in the spool.\n")
    assert 0 < left.records < 60
    assert left.owner is None
    sent = sum(mock_kafka.end_offsets("orders").values())
    assert sent + left.records == 62
