"""The turnstile against a list: whatever joins and leaves, the first of the line is first, and nobody else."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kafka_throttle._turnstile import Place, Turnstile


class Line(RuleBasedStateMachine):
    """Joins and departures in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.turnstile = Turnstile()
        self.waiting: list[Place] = []

    @rule()
    def join(self) -> None:
        self.waiting.append(self.turnstile.join())

    @precondition(lambda self: self.waiting)
    @rule(share=st.floats(0, 1, exclude_max=True))
    def leave(self, share: float) -> None:
        self.turnstile.leave(self.waiting.pop(int(share * len(self.waiting))))

    @invariant()
    def the_first_is_first_and_nobody_else(self) -> None:
        assert [place.wait(0.0) for place in self.waiting] == [
            number == 0 for number in range(len(self.waiting))
        ]

    @invariant()
    def its_length_is_the_number_of_those_who_wait(self) -> None:
        assert len(self.turnstile) == len(self.waiting)


TestLine = Line.TestCase
TestLine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
