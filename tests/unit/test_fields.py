"""Fields of configuration classes: what they read, and that every problem is told at once, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from kafka_throttle._fields import (
    ByteSize,
    Configured,
    OptionalByteSize,
    Seconds,
    byte_size,
    choice,
    configured,
    count,
    doc_of,
    flag,
    kind_of,
    number,
    one,
    ratio,
    seconds,
    several,
    text,
)
from kafka_throttle._kinds import Scalar
from kafka_throttle.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

DURATION = "a duration such as 5, '250 ms' or '2 min' (units: us, ms, s, min, h, d)"


@configured
class Part(Configured):
    size: int = count(default=1, minimum=1, doc="A size.")


@configured
class Sample(Configured):
    wait: Seconds = seconds(default="5 s", above=0, forever=True, doc="How long.")
    pause: Seconds = seconds(default=1, maximum="1 min", doc="How long at most.")
    room: ByteSize = byte_size(default="1 MiB", minimum="1 KiB", doc="How much.")
    most: OptionalByteSize = byte_size(default=None, optional=True, maximum="1 GB", doc="How much at most.")
    share: float = ratio(default=0.8, above=0, below=1, doc="Which part.")
    part: float = ratio(default=0.5, doc="Which part, ends included.")
    factor: float = number(default=2, minimum=1, doc="How often.")
    records: int = count(default=10, maximum=100, doc="How many.")
    on: bool = flag(default=True, doc="Whether.")
    colour: str = choice(default="red", options=("red", "blue"), doc="Which.")
    name: str = text(default="x", doc="Whose.")
    other: Part = one(Part, lambda: {"part": Part}, default=Part(), noun="a part", doc="What else.")
    words: tuple[str, ...] = several(
        Scalar("a word", str, choices="words"), default=(), alone=True, noun="words", doc="What to say."
    )

    def _problems(self) -> Iterator[str]:
        if self.wait < self.pause:
            yield f"wait: {self.wait:g} s is below pause ({self.pause:g} s); allowed: from pause up"


@configured
class Required(Configured):
    records: int = count(doc="How many.")


def problems(**values: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        Sample(**values)
    return caught.value.problems


def test_text_and_numbers_mean_the_same() -> None:
    assert Sample(wait=0.25, pause=0.1, room=2**20, records=5, on=False, share=0.7) == Sample(
        wait="250 ms", pause="100 ms", room="1 MiB", records="5", on="off", share="0.7"
    )


def test_defaults_are_read_like_values() -> None:
    assert (Sample().wait, Sample().room, Sample().factor) == (5.0, 2**20, 2.0)


def test_none_is_allowed_where_it_is_optional() -> None:
    assert (Sample().most, Sample(most="none").most, Sample(most="1 GB").most) == (None, None, 10**9)


def test_forever_is_infinity_where_it_is_allowed() -> None:
    assert (math.inf, math.inf) == (Sample(wait="forever").wait, Sample(wait=math.inf).wait)


def test_a_single_value_may_stand_for_a_list_of_one() -> None:
    assert (Sample(words="a").words, Sample(words=["a", "b"]).words) == (("a",), ("a", "b"))


@pytest.mark.parametrize(
    ("expected", "values"),
    [
        ("share: 1.7 is out of range; allowed: above 0, below 1", {"share": 1.7}),
        ("share: 0 is out of range; allowed: above 0, below 1", {"share": 0}),
        ("part: -0.1 is out of range; allowed: 0 to 1", {"part": -0.1}),
        ("share: nan is not a number; allowed: above 0, below 1", {"share": math.nan}),
        ("share: True is not a number; allowed: above 0, below 1", {"share": True}),
        ("factor: inf is out of range; allowed: at least 1", {"factor": math.inf}),
        (f"wait: 'soon' is not {DURATION}; allowed: above 0 s, or 'forever'", {"wait": "soon"}),
        ("wait: None is not a duration; allowed: above 0 s, or 'forever'", {"wait": None}),
        ("wait: '0 ms' is out of range; allowed: above 0 s, or 'forever'", {"wait": "0 ms"}),
        ("pause: 'forever' is out of range; allowed: 0 s to 60 s", {"pause": "forever"}),
        ("room: '0.5 KiB' is out of range; allowed: at least 1 KiB", {"room": "0.5 KiB"}),
        ("most: '2 GB' is out of range; allowed: 0 B to 1 GB, or none", {"most": "2 GB"}),
        ("records: 101 is out of range; allowed: 0 to 100", {"records": 101}),
        ("records: 1.5 is not a whole number; allowed: 0 to 100", {"records": 1.5}),
        ("on: 'maybe' is neither true nor false; allowed: true/false, 1/0, yes/no, on/off", {"on": "maybe"}),
        ("colour: 'green' is not a choice; allowed: red, blue", {"colour": "green"}),
        ("colour: 5 is not a choice; allowed: red, blue", {"colour": 5}),
        ("name: '' is not a text; allowed: text that is not empty", {"name": ""}),
        ("other: 5 is not a part; allowed: Part, another Part", {"other": 5}),
        ("words[1]: None is not a word; allowed: words", {"words": ["a", None]}),
        ("words: None is not a word; allowed: words", {"words": None}),
    ],
)
def test_a_problem_names_key_value_and_range(expected: str, values: dict[str, Any]) -> None:
    assert (f"Sample.{expected}",) == problems(**values)


def test_all_problems_are_told_at_once_in_the_order_of_the_fields() -> None:
    assert problems(colour="green", share=2, room=-1) == (
        "Sample.room: -1 is out of range; allowed: at least 1 KiB",
        "Sample.share: 2 is out of range; allowed: above 0, below 1",
        "Sample.colour: 'green' is not a choice; allowed: red, blue",
    )


def test_problems_between_fields_are_told_when_each_is_right_by_itself() -> None:
    assert problems(wait=1, pause=2) == ("Sample.wait: 1 s is below pause (2 s); allowed: from pause up",)
    assert problems(wait=1, pause=2, records=-1) == ("Sample.records: -1 is out of range; allowed: 0 to 100",)


def test_the_check_holds_when_attrs_validators_are_switched_off() -> None:
    with attrs.validators.disabled():
        assert problems(records=-1) == ("Sample.records: -1 is out of range; allowed: 0 to 100",)


def test_a_copy_with_changes_is_checked_again() -> None:
    assert Sample(share=0.5) == Sample().evolve(share="0.5")
    with pytest.raises(ConfigurationError, match=r"^Sample\.share: 5 is out of range"):
        Sample().evolve(share=5)


def test_a_field_without_default_is_required() -> None:
    with pytest.raises(TypeError, match="records"):
        Required()  # type: ignore[call-arg]


def test_instances_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Sample().share = 0.5  # type: ignore[misc]


def test_a_field_says_what_it_is_for_and_what_is_allowed() -> None:
    attribute = attrs.fields(Sample).share
    kind = kind_of(attribute)

    assert kind is not None
    assert (doc_of(attribute), kind.allowed(), kind.noun) == ("Which part.", "above 0, below 1", "a number")
