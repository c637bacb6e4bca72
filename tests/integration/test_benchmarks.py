"""The benchmark harness works end to end: smoke runs on real Kafka, whose figures mean nothing."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kafka_throttle.brokers import KafkaCluster

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


def benchmarks(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# local_kafka is asked for so that a machine without Kafka skips, by the same rule as elsewhere.
@pytest.mark.parametrize("scenario", ["produce-pure", "path"])
def test_a_smoke_run_measures_both_clients_and_is_reported(
    local_kafka: KafkaCluster, scenario: str, tmp_path: Path
) -> None:
    benchmarks("run", scenario, "--quick", "--out", str(tmp_path))
    kept = tmp_path / f"{scenario}.json"
    result = json.loads(kept.read_text("utf-8"))
    assert {"bare", "facade"} == set(result["rounds"][0])
    assert all(isinstance(figure["measured"], float) for figure in result["figures"])
    assert platform.node() not in kept.read_text("utf-8")

    table = benchmarks("report", "--out", str(tmp_path))
    assert len(result["figures"]) == sum(figure["name"] in table for figure in result["figures"])
    assert (tmp_path / f"{scenario}.png").read_bytes()[:4] == b"\x89PNG"


def test_the_list_names_every_scenario_with_what_it_shows() -> None:
    assert "a broker quota of 1 MB/s, 2 MB/s offered" in benchmarks("list")
