"""The command line: help, options, what is missing, and where the demo's Kafka comes from."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from kafka_throttle import __version__
from kafka_throttle.brokers import BrokerUnavailable, LocalKafka
from kafka_throttle.cli import _extras, main
from kafka_throttle.cli.demo.figures import SIDES
from kafka_throttle.cli.demo.figures import Result as SideResult

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_THROTTLE_BOOTSTRAP", "KAFKA_THROTTLE_ENABLED"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_the_version_is_the_packages() -> None:
    assert run("--version").output == f"kafka-throttle, version {__version__}\n"


def test_help_teaches_the_command_and_the_import() -> None:
    shown = run("--help").output

    assert "kafka-throttle demo" in shown
    assert "from kafka_throttle import Producer" in shown


def test_every_option_of_the_demo_has_help() -> None:
    assert [p.name for p in main.commands["demo"].params if not getattr(p, "help", None)] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seconds", "0"], "0.0 is not in the range 1<=x<=3600"),
        (["--seconds", "soon"], "'soon' is not a valid float"),
        (["--mock", "--bootstrap", "broker:9092"], "--bootstrap and --mock: choose one"),
        (["--set-quota"], "--set-quota is for an existing cluster: give --bootstrap as well"),
        (["-X", "security.protocol=SSL"], "-X is for an existing cluster: give --bootstrap as well"),
        (
            ["--bootstrap", "b:1", "-X", "security.protocol"],
            "'security.protocol' is not KEY=VALUE, such as security.protocol=SSL",
        ),
        (["--bootsrap", "b:1"], "--bootsrap"),
    ],
)
def test_bad_options_are_refused_with_what_is_allowed(arguments: list[str], words: str) -> None:
    result = run("demo", *arguments)

    assert result.exit_code == 2
    assert words in result.stderr


def test_a_picture_that_cannot_be_written_is_said_before_a_minute_has_passed(tmp_path: Path) -> None:
    result = run("demo", "--output", str(tmp_path / "nowhere" / "delays.png"))

    assert result.exit_code == 1
    assert "its directory does not exist or cannot be written to" in result.stderr


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [
        ("rich", ["--no-plot"]),
        ("matplotlib", []),
        ("rich", ["--json", "--no-plot"]),
        ("aiokafka", ["--asyncio"]),
    ],
)
def test_a_missing_extra_is_one_line_that_says_what_to_install(
    missing: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_extras, "find_spec", lambda name: None if name == missing else find_spec(name))

    result = run("demo", *arguments)

    assert result.exit_code == 1
    assert result.stderr == f'Error: {missing} not installed: pip install "kafka-throttle[demo]"\n'


def test_a_facade_that_is_switched_off_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_THROTTLE_ENABLED", "0")

    assert "switches kafka_throttle off" in run("demo", "--mock").stderr


def test_a_named_cluster_that_does_not_answer_is_an_error_and_never_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(cluster: Any, node: int | None = None) -> None:
        raise BrokerUnavailable(f"no broker answers at {cluster.bootstrap}")

    monkeypatch.setattr("kafka_throttle.brokers.external.ExternalKafka.start", refuse)
    monkeypatch.setenv("KAFKA_THROTTLE_BOOTSTRAP", "broker.example:9092")

    from_environment = run("demo", "--no-plot")
    from_option = run("demo", "--no-plot", "--bootstrap", "other.example:9092")

    assert (from_environment.exit_code, from_option.exit_code) == (1, 1)
    assert from_environment.stderr == "Error: no broker answers at broker.example:9092\n"
    assert from_option.stderr == "Error: no broker answers at other.example:9092\n"


def test_without_a_real_kafka_the_mock_plays_and_a_line_says_so_and_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(_cluster: LocalKafka, node: int | None = None) -> None:
        raise BrokerUnavailable("no Java was found.\nsecond line")

    monkeypatch.setattr(LocalKafka, "start", refuse)
    monkeypatch.chdir(tmp_path)

    result = run("demo", "--seconds", "1", "--no-plot")

    assert result.exit_code == 0, result.stderr
    assert (
        "No real Kafka here (no Java was found): going on with a mock cluster, good to look at, not for figures."
        in result.stdout
    )
    assert "It has no quotas" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_json_is_all_that_stdout_gets() -> None:
    handler = signal.getsignal(signal.SIGTERM)

    result = run("demo", "--mock", "--seconds", "1", "--json", "--no-plot")

    figures = json.loads(result.stdout)
    assert set(figures) == {
        "kafka",
        "versions",
        "offered_bytes_per_second",
        "record_bytes",
        "seconds",
        "crowd",
        "interrupted",
        "picture",
        *SIDES,
    }
    names = set(SideResult.__annotations__) | {"lost"}
    assert [set(figures[side]) for side in SIDES] == [names, names]
    assert (figures["kafka"]["kind"], figures["interrupted"], figures["picture"]) == ("mock", False, None)
    for side in SIDES:
        account = figures[side]
        assert account["lost"] == 0
        assert account["produced"] == account["delivered"] + account["queue_at_end"]
    assert "Records lost" in result.stderr
    assert signal.getsignal(signal.SIGTERM) is handler


def test_the_demo_with_asyncio_plays_on_the_mock_and_answers_every_request() -> None:
    result = run("demo", "--asyncio", "--tasks", "200", "--mock", "--seconds", "1", "--json", "--no-plot")

    assert result.exit_code == 0, result.stderr
    figures = json.loads(result.stdout)
    assert set(figures["versions"]) == {"kafka-throttle", "aiokafka"}
    assert figures["crowd"] == 200
    for side in SIDES:
        account = figures[side]
        assert account["lost"] == 0
        assert account["produced"] > 0
        assert account["crowd_seconds"] > 0
    assert "First 200 tasks send one record each, all at once" in result.stderr
    assert "The crowd at the beginning" in result.stderr


def test_a_setting_that_aiokafka_has_not_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kafka_throttle.brokers.external.ExternalKafka.start", lambda _: None)
    monkeypatch.setattr("kafka_throttle.brokers.external.ExternalKafka.create_topic", lambda *_: None)

    result = run("demo", "--asyncio", "--no-plot", "--bootstrap", "b:1", "-X", "ssl.ca.location=ca.pem")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ssl.ca.location: has no counterpart in aiokafka; allowed: ")


def test_nothing_heavy_is_loaded_before_a_command_needs_it() -> None:
    heavy = ["rich", "matplotlib", "aiokafka", "prometheus_client", "jgo", "kafka_throttle.brokers.local"]
    script = (
        "import sys; from kafka_throttle.cli import main; main(['demo', '--help'], standalone_mode=False);"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
