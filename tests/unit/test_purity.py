"""What decides is free of clocks, chance, threads and I/O: it is told everything and returns everything."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import kafka_throttle

PACKAGE = Path(kafka_throttle.__file__).parent
CORE = sorted(path.stem for path in (PACKAGE / "_core").glob("*.py") if path.stem != "__init__")
IMPURE = {
    "aiokafka", "asyncio", "concurrent", "confluent_kafka", "ctypes", "datetime", "multiprocessing", "os", "pathlib",
    "queue", "random", "secrets", "select", "signal", "socket", "sqlite3", "subprocess", "tempfile", "threading", "time",
}  # fmt: skip


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports_of(tree: ast.AST) -> set[str]:
    """Return the modules that are imported at run time, at the top or inside functions."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if is_type_checking(node):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports would escape this test"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
        found |= imports_of(node)
    return found


def source_of(module: str) -> Path | None:
    path = PACKAGE.parent.joinpath(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def reached_from(module: str) -> dict[str, set[str]]:
    """Return the modules of this package that `module` imports, transitively, each with all that it imports."""
    reached: dict[str, set[str]] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        source = source_of(name)
        if name in reached or source is None:
            continue
        reached[name] = imports_of(ast.parse(source.read_text(encoding="utf-8")))
        waiting += [each for each in reached[name] if each.startswith("kafka_throttle.")]
    return reached


def test_the_core_has_the_modules_that_this_test_is_about() -> None:
    assert {
        "allowance",
        "criticality",
        "engine",
        "ledger",
        "limits",
        "pacer",
        "path",
        "signals",
        "window",
    } <= set(CORE)


@pytest.mark.parametrize("name", CORE)
def test_a_module_of_the_core_reaches_nothing_impure(name: str) -> None:
    impure = {
        (module, imported)
        for module, imports in reached_from(f"kafka_throttle._core.{name}").items()
        for imported in {each.split(".")[0] for each in imports} & IMPURE
    }
    assert impure == set()


@pytest.mark.parametrize("name", CORE)
def test_what_decides_does_not_reach_the_gate(name: str) -> None:
    reached = reached_from(f"kafka_throttle._core.{name}")
    assert [module for module in reached if module.startswith("kafka_throttle._gates")] == []


def test_this_test_sees_what_it_looks_for() -> None:
    found = imports_of(
        ast.parse(
            "import os.path\nfrom time import sleep\nif TYPE_CHECKING:\n    import socket\n"
            "def f():\n    if True:\n        from random import random\n"
        )
    )
    assert {each.split(".")[0] for each in found} & IMPURE == {"os", "time", "random"}
