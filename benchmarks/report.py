"""Shows results as a table in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["figure_lines", "markdown"]


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """Return a table with one row for each figure, and the machines that they come from."""
    rows = ["| scenario | figure | must | aim | measured | |", "|---|---|---|---|---|---|"]
    for result in results:
        title = f"{result['title']} (smoke run: no figures)" if result["quick"] else result["title"]
        for figure in result["figures"]:
            rows.append("| " + " | ".join((title, *_cells(figure))) + " |")
            title = ""
    return "\n".join([*rows, "", *_machines(results)])


def figure_lines(result: dict[str, Any]) -> Iterable[str]:
    """Return the figures of one result as lines for a terminal."""
    for figure in result["figures"]:
        must, aim, measured, verdict = _cells(figure)[1:]
        wanted = f"   (must {must}, aim {aim}: {verdict})" if must else ""
        spread = ", ".join(_text(value, figure["unit"]) for value in figure["rounds"])
        yield f"  {figure['name']}: {measured}{wanted}   [{spread}]"


def _cells(figure: dict[str, Any]) -> tuple[str, ...]:
    unit = figure["unit"]
    must = f"{figure['sign']} {_text(figure['must'], unit)}" if "must" in figure else ""
    aim = f"{figure['sign']} {_text(figure['aim'], unit)}" if "aim" in figure else ""
    return figure["name"], must, aim, _text(figure["measured"], unit), figure.get("verdict", "")


def _text(value: float | str | None, unit: str) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, str):
        return value
    number = f"{value:.3g}"
    return f"{number} {unit}" if unit else number


def _machines(results: Sequence[dict[str, Any]]) -> list[str]:
    shapes = {", ".join(f"{name} {value}" for name, value in result["machine"].items()) for result in results}
    return [f"Measured on: {shape}" for shape in sorted(shapes)]
