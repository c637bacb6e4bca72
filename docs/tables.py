"""Parts of the reference in Markdown, made from the code that they describe.

A page has them where it says ``<!-- generated: name -->``, the name being that of a function here.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.report import markdown
from kafka_throttle import events as _events
from kafka_throttle import exceptions as _exceptions
from kafka_throttle._config.reference import settings as _settings
from kafka_throttle._core.signals import SIGNALS
from kafka_throttle.events import Event
from kafka_throttle.instrumentation.prometheus import METRICS
from kafka_throttle.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "MARKER",
    "attribute_docs",
    "events",
    "exceptions",
    "figures",
    "filled",
    "metrics",
    "settings",
    "signals",
    "statistics",
]

_RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
MARKER = re.compile(r"<!-- generated: (\w+) -->")

_ATTRIBUTE = re.compile(r" {4}(\w+): (.*)")


def filled(page: str) -> str:
    """Return the text of a page with the generated parts in the places of their markers."""
    return MARKER.sub(lambda marker: globals()[marker[1]](), page)


def settings() -> str:
    """Return all settings: a table of the topmost, and one for each mapping and each of its types."""
    groups: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for setting in _settings():
        place, _, key = setting.key.rpartition(".")
        default = _code(setting.default) or "required"
        values = f"{setting.type}: {setting.allowed}" if setting.allowed else setting.type
        row = (_code(key), default, values, setting.description)
        groups.setdefault((place, setting.of), []).append(row)
    head = ("key", "default", "values", "what it is for")
    return "\n\n".join(f"## {_heading(*group)}\n\n{_table(head, rows)}" for group, rows in groups.items())


def _heading(place: str, kind: str) -> str:
    if not place:
        return "Top level"
    return f"`{place}`" + (f' of type `"{kind}"`' if kind else "")


def metrics() -> str:
    """Return the metrics of the Prometheus collector; all have the label client_id."""
    rows = ((_code(m.name), m.type, ", ".join(map(_code, m.labels[1:])), m.help) for m in METRICS)
    return _table(("name", "type", "further labels", "what it says"), rows)


def statistics() -> str:
    """Return the fields of `Statistics`."""
    docs = attribute_docs(Statistics)
    fields = attrs.fields(Statistics)
    return _table(("field", "type", "what it says"), ((_code(f.name), f.type, docs[f.name]) for f in fields))


def events() -> str:
    """Return the events with their fields."""
    return "\n\n".join(_event(cls) for cls in _event_classes())


def exceptions() -> str:
    """Return the tree of exceptions, and each of them."""
    _, tree, _ = inspect.cleandoc(_exceptions.__doc__ or "").split("```")
    classes = "\n\n".join(f".. autoexception:: {name}()" for name in _exceptions.__all__)
    return f"```text{tree}```\n\n```{{eval-rst}}\n.. currentmodule:: kafka_throttle\n\n{classes}\n```"


def figures() -> str:
    """Return what the benchmarks have measured, from the results in the repository."""
    results = [json.loads(file.read_text("utf-8")) for file in sorted(_RESULTS.glob("*.json"))]
    return markdown(results) if results else "No results are stored yet."


def _event_classes() -> Iterator[type[Any]]:
    classes = (getattr(_events, name) for name in _events.__all__)
    return (cls for cls in classes if inspect.isclass(cls) and issubclass(cls, Event) and cls is not Event)


def _event(cls: type[Any]) -> str:
    docs = attribute_docs(cls)
    own = [f"- `{name}`: {docs[name]}" for name in cls.__annotations__]
    return "\n".join([f"## `{cls.__name__}`", "", _summary(cls), "", *own])


def signals() -> str:
    """Return the signals: their names, and whether they lower the limit."""
    rows = (
        (_code(cls.name), _code(key), "yes" if cls.congests else "no", _summary(cls))
        for key, cls in SIGNALS.items()
    )
    return _table(("name", "type in a configuration", "lowers the limit", "what it says"), rows)


def attribute_docs(cls: type[Any]) -> dict[str, str]:
    """Return what a class's docstring says of each attribute."""
    _, _, section = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    for line in section.splitlines():
        start = _ATTRIBUTE.fullmatch(line)
        if start:
            name, found[start[1]] = start[1], start[2]
        elif line.startswith("        "):
            found[name] += f" {line.strip()}"
    return found


def _summary(cls: type[Any]) -> str:
    return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
