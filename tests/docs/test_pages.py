"""What the documentation shows is run: Python on a mock cluster, settings through the doors that they are shown for."""

from __future__ import annotations

import importlib
import inspect
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiokafka
import prometheus_client
import pytest
from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.myst import CodeBlockParser
from sybil.region import Lexeme

from kafka_throttle.config import from_environ, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sybil import Example

    from kafka_throttle.brokers import KafkaCluster, MockKafka

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial"
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "_build" not in page.parts and TUTORIAL not in page.parents  # the tutorial needs a real Kafka
]
SETTINGS_FILE = "throttle.toml"

run_python = PythonEvaluator()


def run_on_the_mock(example: Example) -> None:
    """Run a Python block; the address that readers are shown becomes that of the mock cluster."""
    shown = example.parsed
    example.parsed = Lexeme(
        shown.replace("localhost:9092", example.namespace["conf"]["bootstrap.servers"]),
        shown.offset,
        shown.line_offset,
    )
    run_python(example)


def load_toml(example: Example) -> None:
    """Load a TOML block, and leave it where the page's Python finds it."""
    Path(SETTINGS_FILE).write_text(example.parsed, "utf-8")
    load(SETTINGS_FILE)


def read_exports(example: Example) -> None:
    """Read the variables that a shell block exports."""
    words = shlex.split(example.parsed)
    assert words[::2] == ["export"] * (len(words) // 2)
    assert from_environ(dict(word.split("=", 1) for word in words[1::2])) is not None


PARSE = Sybil(
    parsers=[
        CodeBlockParser("python", run_on_the_mock),
        CodeBlockParser("toml", load_toml),
        CodeBlockParser("sh", read_exports),
    ]
).parse


def run_page(page: Path, namespace: dict[str, Any]) -> None:
    """Run the blocks of a page one after the other, in one namespace."""
    document = PARSE(page)
    document.namespace.update(namespace)
    for example in document.examples():
        example.evaluate()
    namespace.update(document.namespace)


def shown_tests(namespace: dict[str, Any], fixture: str) -> list[Callable[..., None]]:
    """Return the tests that a page shows and that ask for nothing but a fixture, bound to what they ask for."""
    found = [value for name, value in namespace.items() if name.startswith("test_")]
    return [
        partial(test, *(namespace[name] for name in inspect.signature(test).parameters))
        for test in found
        if set(inspect.signature(test).parameters) <= {fixture}
    ]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prometheus_client, "REGISTRY", prometheus_client.CollectorRegistry())
    monkeypatch.setattr(aiokafka, "AIOKafkaProducer", aiokafka.AIOKafkaProducer)  # a page replaces it


@pytest.fixture
def instrumentation() -> Iterator[None]:
    """Take the tracing tool out again after a page that puts it in."""
    tracing = importlib.import_module("opentelemetry.instrumentation.confluent_kafka")
    yield
    tracing.ConfluentKafkaInstrumentor().uninstrument()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_a_page_runs(
    page: Path, mock_kafka: MockKafka, request: pytest.FixtureRequest
) -> None:
    if "ConfluentKafkaInstrumentor" in page.read_text("utf-8"):
        request.getfixturevalue("instrumentation")
    namespace = {"conf": mock_kafka.client_config(), "mock_kafka": mock_kafka}

    run_page(page, namespace)

    for test in shown_tests(namespace, "mock_kafka"):
        test()


@pytest.mark.integration
def test_the_test_that_is_shown_for_real_kafka_passes(
    mock_kafka: MockKafka, local_kafka: KafkaCluster
) -> None:
    namespace = {"conf": mock_kafka.client_config(), "local_kafka": local_kafka}
    run_page(ROOT / "docs" / "how-to" / "test-your-code.md", namespace)

    needing_kafka = [test for test in shown_tests(namespace, "local_kafka") if test.args]

    assert len(needing_kafka) == 1
    needing_kafka[0]()
