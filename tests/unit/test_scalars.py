"""Numbers, flags and text: what is read and what is refused."""

from __future__ import annotations

import math

import pytest

from kafka_throttle._scalars import to_count, to_flag, to_number, to_text, write_flag, write_number


@pytest.mark.parametrize("word", [True, 1, "1", "true", "True", " yes ", "ON"])
def test_words_for_true_are_true(word: object) -> None:
    assert to_flag(word) is True


@pytest.mark.parametrize("word", [False, 0, "0", "false", "no", "Off"])
def test_words_for_false_are_false(word: object) -> None:
    assert to_flag(word) is False


@pytest.mark.parametrize("word", ["maybe", "", 2, 1.0, None, []])
def test_other_words_are_neither(word: object) -> None:
    with pytest.raises(ValueError, match="is neither true nor false"):
        to_flag(word)


@pytest.mark.parametrize(("expected", "given"), [(0.5, 0.5), (3.0, 3), (0.7, "0.7"), (math.inf, "inf")])
def test_numbers_are_read_from_text_too(expected: float, given: object) -> None:
    assert expected == to_number(given)


@pytest.mark.parametrize("given", [True, math.nan, "nan", "x", None, 10**400, [1]])
def test_what_is_no_number_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        to_number(given)


@pytest.mark.parametrize(
    ("expected", "given"), [(5, 5), (5, 5.0), (50_000, "50_000"), (2**63 + 1, 2**63 + 1)]
)
def test_whole_numbers_are_read_exactly(expected: int, given: object) -> None:
    assert expected == to_count(given)


def test_a_fraction_is_no_whole_number() -> None:
    with pytest.raises(ValueError, match=r"^1\.5 is not a whole number$"):
        to_count(1.5)


@pytest.mark.parametrize("given", ["", "  ", None, 5])
def test_what_is_no_text_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="is not a text"):
        to_text(given)


def test_numbers_and_flags_are_written_as_users_write_them() -> None:
    assert (write_number(0.8), write_number(2.0), write_flag(True)) == ("0.8", "2", "true")
