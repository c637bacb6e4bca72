"""The demo where nothing can be drawn: a line for each side every few seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafka_throttle.cli.demo.figures import SIDES

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from kafka_throttle.cli.demo.conductor import Recording
    from kafka_throttle.cli.demo.figures import Plan
    from kafka_throttle.cli.demo.story import Story

__all__ = ["Lines"]

_EVERY = 5.0


class Lines:
    """Says every few seconds how it stands.

    Args:
        story: In which words.
        recording: What is being recorded.
        plan: What is offered.
        say: Takes a line.
    """

    def __init__(self, story: Story, recording: Recording, plan: Plan, say: Callable[[str], None]) -> None:
        self._story = story
        self._recording = recording
        self._plan = plan
        self._say = say
        self._next = 1.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left open."""

    def show(self) -> None:
        """Say how it stands if it is time."""
        samples = self._recording.samples
        now = min(samples[side][-1].at if samples[side] else 0.0 for side in SIDES)
        if now < self._next:
            return
        self._next = now - now % _EVERY + _EVERY
        self._say(f"{now:.0f} s of {self._plan.seconds:g} s")
        for side in SIDES:
            figures = ", ".join(
                f"{name} {value}" for name, value in self._story.rows(samples, side, self._plan)
            )
            self._say(f"  {self._story.names[side]:<16} {figures}")
        self._say(f"  {self._story.happening(samples['bare'], samples['kafka_throttle'], self._plan)}")
