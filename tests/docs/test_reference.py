"""The reference has everything that there is."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

import kafka_throttle
from kafka_throttle import aio, brokers, events, testing
from kafka_throttle._config.reference import settings
from kafka_throttle.instrumentation.prometheus import METRICS
from kafka_throttle.statistics import Statistics

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def load_tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", DOCS / "tables.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tables = load_tables()


def first_cells(markdown: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", markdown, re.MULTILINE)


def test_every_setting_has_a_row() -> None:
    assert sorted(first_cells(tables.settings())) == sorted(s.key.rpartition(".")[2] for s in settings())


def test_every_metric_has_a_row() -> None:
    assert first_cells(tables.metrics()) == [metric.name for metric in METRICS]


def test_every_field_of_the_statistics_is_described() -> None:
    assert list(tables.attribute_docs(Statistics)) == [field.name for field in attrs.fields(Statistics)]


def test_every_event_is_described_with_its_fields() -> None:
    described = re.findall(r"^## `(\w+)`|^- `(\w+)`: .", tables.events(), re.MULTILINE)

    expected = []
    for name in sorted({*events.__all__} - {"Event", "Hook"}):
        expected += [(name, ""), *(("", field) for field in vars(events)[name].__annotations__)]
    assert described == expected


@pytest.mark.parametrize(
    "module", [kafka_throttle, aio, brokers, testing], ids=lambda module: module.__name__
)
def test_every_public_name_is_documented(module: ModuleType) -> None:
    pages = "".join(tables.filled(page.read_text("utf-8")) for page in DOCS.glob("reference/*.md"))
    documented = set(re.findall(r"auto(?:class|exception|function|data):: (\w+)", pages))

    # The statistics have a table of their own.
    assert {*module.__all__} - documented - {"Statistics", "__version__"} == set()


def test_every_environment_variable_that_the_package_reads_is_listed() -> None:
    sources = "".join(file.read_text("utf-8") for file in (ROOT / "kafka_throttle").rglob("*.py"))
    read = set(re.findall(r'"(KAFKA_THROTTLE_[A-Z]+)"', sources)) | {"KAFKA_THROTTLE_CONFIG"}
    page = (DOCS / "reference" / "environment.md").read_text("utf-8")

    assert set(re.findall(r"^\| `(KAFKA_THROTTLE_[A-Z]+)` \|", page, re.MULTILINE)) == read
