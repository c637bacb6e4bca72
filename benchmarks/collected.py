"""`Collected`: the figures of a benchmark that is no scenario of the catalogue."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from attrs import define, field

from benchmarks.machine import describe_machine
from benchmarks.results import rounded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.scenario import Bar

__all__ = ["Collected"]


@define
class Collected:
    """Figures by name, one value for each round; the median counts.

    Attributes:
        bars: What figures must reach, by name.
        figures: Unit and values.
    """

    bars: Mapping[str, Bar]
    figures: dict[str, tuple[str, list[float]]] = field(factory=dict)

    def add(self, name: str, value: float, unit: str = "") -> None:
        """Add one round's value of a figure."""
        self.figures.setdefault(name, (unit, []))[1].append(value)

    def result(
        self,
        scenario: str,
        title: str,
        command: str,
        parameters: Mapping[str, Any],
        *,
        quick: bool,
        versions: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return what is saved.

        Args:
            scenario: The name of the result.
            title: What it shows, for people.
            command: The command line that does it again.
            parameters: What it was run with.
            quick: Whether it was a smoke run, whose figures mean nothing.
            versions: Of other software that was measured.
        """
        return {
            "scenario": scenario,
            "title": title,
            "command": command,
            "quick": quick,
            "machine": describe_machine() | dict(versions or {}),
            "parameters": dict(parameters),
            "figures": [self._figure(name, unit, values) for name, (unit, values) in self.figures.items()],
            "rounds": [],
        }

    def _figure(self, name: str, unit: str, values: list[float]) -> dict[str, Any]:
        middle = median(values)
        bar = self.bars.get(name)
        verdict = (
            {"must": bar.must, "aim": bar.aim, "sign": bar.sign, "verdict": bar.verdict(middle)}
            if bar
            else {}
        )
        return {
            "name": name,
            "unit": unit,
            "measured": rounded(middle),
            "rounds": [*map(rounded, values)],
            **verdict,
        }
