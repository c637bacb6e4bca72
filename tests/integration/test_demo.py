"""The demo on real Kafka, as a program with its output in a pipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from kafka_throttle.brokers import KafkaCluster

pytestmark = pytest.mark.integration

DEMO = [sys.executable, "-c", "from kafka_throttle.cli import main; main()", "demo"]


def environment(kafka: KafkaCluster) -> dict[str, str]:
    return {**os.environ, "KAFKA_THROTTLE_BOOTSTRAP": kafka.bootstrap}


def test_a_short_demo_writes_lines_a_table_and_a_picture(local_kafka: KafkaCluster, tmp_path: Path) -> None:
    picture = tmp_path / "delays.png"

    done = subprocess.run(
        [*DEMO, "--set-quota", "--seconds", "4", "--output", str(picture)],
        env=environment(local_kafka),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert (
        f"On the cluster at {local_kafka.bootstrap}. A client quota lets each side write 1 MB/s."
        in done.stdout
    )
    assert "1 s of 4 s" in done.stdout
    assert "Records lost" in done.stdout
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_all_records_arrive_and_the_cluster_is_left_as_it_was(local_kafka: KafkaCluster) -> None:
    done = subprocess.run(
        [*DEMO, "--seconds", "2", "--no-plot", "--json"],
        env=environment(local_kafka),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    figures = json.loads(done.stdout)
    assert figures["kafka"]["kind"] == "existing"
    assert [figures[side]["lost"] for side in ("bare", "kafka_throttle")] == [0, 0]
    assert min(figures[side]["produced"] for side in ("bare", "kafka_throttle")) > 0
    assert "No quota is set on this cluster" in done.stderr


def test_ctrl_c_ends_with_the_table_so_far(local_kafka: KafkaCluster) -> None:
    with subprocess.Popen(
        [*DEMO, "--no-plot"],
        env=environment(local_kafka),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        begun = iter(process.stdout.readline, "1 s of 60 s\n")
        seen = list(begun)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        seen += process.stdout
        complaints = process.stderr.read() if process.stderr else ""

    assert (process.returncode, complaints) == (130, "")
    assert "ended early" in "".join(seen)
    assert "Records lost" in "".join(seen)


def test_the_demo_with_asyncio_shows_the_crowd_and_the_two_sides(
    local_kafka: KafkaCluster, tmp_path: Path
) -> None:
    picture = tmp_path / "rates.png"

    done = subprocess.run(
        [*DEMO, "--asyncio", "--tasks", "1000", "--set-quota", "--seconds", "4", "--output", str(picture)],
        env=environment(local_kafka),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "First 1,000 tasks send one record each, all at once; nothing limits them yet." in done.stdout
    assert "The two programs differ in one import." in done.stdout
    assert "1 s of 4 s" in done.stdout
    assert "Longest stall of the event loop" in done.stdout
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_all_requests_are_answered_with_asyncio(local_kafka: KafkaCluster) -> None:
    done = subprocess.run(
        [*DEMO, "--asyncio", "--tasks", "0", "--seconds", "2", "--no-plot", "--json"],
        env=environment(local_kafka),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    figures = json.loads(done.stdout)
    assert figures["crowd"] == 0
    for side in ("bare", "kafka_throttle"):
        account = figures[side]
        assert account["produced"] > 0
        assert (account["lost"], account["failed"], account["crowd_seconds"]) == (0, 0, None)
