"""The tutorial's program does what the tutorial says, at each of its steps, on real Kafka."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kafka_throttle.brokers import LocalKafka
from kafka_throttle.brokers.pytest_plugin import start_or_skip

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "calm-producer.md"
BLOCK = re.compile(r"^```(python|diff)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FIGURES = re.compile(r"([\d,]+) delivered, ([\d,]+) refused")


def programs() -> list[str]:
    """Return the program as it stands after each block of the page."""
    versions: list[str] = []
    for language, block in BLOCK.findall(PAGE.read_text("utf-8")):
        versions.append(block if language == "python" else patched(versions[-1], block))
    return versions


def patched(program: str, diff: str) -> str:
    lines = diff.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if line[0] in " -")
    new = "".join(line[1:] for line in lines if line[0] in " +")
    assert program.count(old) == 1
    return program.replace(old, new)


@pytest.fixture(scope="module", autouse=True)
def _kafka_can_be_had() -> None:
    kafka = LocalKafka()
    start_or_skip(kafka)
    kafka.stop()


def run(program: str) -> tuple[int, int, str]:
    """Run a program; return how many records were delivered and refused, and all that it printed."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    figures = FIGURES.search(done.stdout)
    assert figures, done.stdout
    delivered, refused = (int(figure.replace(",", "")) for figure in figures.groups())
    return delivered, refused, done.stdout


@pytest.mark.integration
def test_the_bare_client_refuses_records() -> None:
    delivered, refused, _ = run(programs()[0])

    assert delivered > 0
    assert refused > 0


@pytest.mark.integration
def test_after_the_changed_import_nothing_is_refused() -> None:
    delivered, refused, printed = run(programs()[1])

    assert delivered > 0
    assert refused == 0
    assert (
        "shop: throttling: " in printed
    )  # whether the quota is known by then depends on the broker's answer


@pytest.mark.integration
def test_at_the_end_the_surplus_is_refused_and_the_statistics_are_shown() -> None:
    delivered, refused, printed = run(programs()[-1])

    assert delivered > 0
    assert refused > 0
    assert f"rejected={refused}" in printed
