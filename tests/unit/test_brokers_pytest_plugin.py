"""The fixtures as a project sees them that merely has kafka-throttle installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from kafka_throttle.brokers import MockKafka

RunPytest = Callable[..., str]

LOCAL = "def test_local(local_kafka):\n    assert local_kafka.bootstrap\n"


@pytest.fixture
def run_pytest(tmp_path: Path) -> RunPytest:
    """Runs pytest on a test module in a process and a directory of its own, and gives what it prints."""

    def run(module: str, before: str = "", **environment: str) -> str:
        (tmp_path / "test_it.py").write_text(module)
        (tmp_path / "conftest.py").write_text(before)
        clean = {
            name: value
            for name, value in os.environ.items()
            if name not in {"CI", "KAFKA_THROTTLE_BOOTSTRAP"}
        }
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-rsfE", "-p", "no:cacheprovider", str(tmp_path)],
            cwd=tmp_path,
            env={**clean, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    return run


def test_an_existing_cluster_named_by_the_environment_comes_first(
    run_pytest: RunPytest, mock_kafka: MockKafka
) -> None:
    module = f"def test_it(local_kafka):\n    assert local_kafka.bootstrap == {mock_kafka.bootstrap!r}\n"
    assert "1 passed" in run_pytest(module, KAFKA_THROTTLE_BOOTSTRAP=mock_kafka.bootstrap)


def test_without_jgo_the_tests_are_skipped_with_the_reason(run_pytest: RunPytest) -> None:
    output = run_pytest(LOCAL, before="import sys\nsys.modules['jgo.config'] = None\n")
    assert "1 skipped" in output
    assert "no Kafka: the package jgo is not installed" in output


@pytest.mark.parametrize("ci", ["true", "1", "True"])
def test_in_ci_a_missing_broker_is_a_failure(run_pytest: RunPytest, ci: str) -> None:
    output = run_pytest(LOCAL, before="import sys\nsys.modules['jgo.config'] = None\n", CI=ci)
    assert "1 error" in output
    assert "the package jgo is not installed" in output


def test_each_test_has_a_mock_cluster_of_its_own(run_pytest: RunPytest) -> None:
    module = (
        "def test_one(mock_kafka):\n    mock_kafka.create_topic('orders')\n"
        "def test_two(mock_kafka):\n    mock_kafka.create_topic('orders')\n"
    )
    assert "2 passed" in run_pytest(module)


def test_the_fixtures_are_documented(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--fixtures", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Real Apache Kafka, one node" in done.stdout
    assert "A mock cluster of one node" in done.stdout
