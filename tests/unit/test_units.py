"""Sizes, durations and rates: what is read, what is refused, and that what is written can be read."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_throttle._units import format_bytes, format_seconds, parse_bytes, parse_rate, parse_seconds, shown

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = (
    "a size such as 1024, '5 MB' or '10 GiB' (units: B, kB, MB, GB, TB = powers of 1000; "
    "KiB, MiB, GiB, TiB = powers of 1024)"
)
DURATION = "a duration such as 5, '250 ms' or '2 min' (units: us, ms, s, min, h, d)"
RATE = "a rate such as 5000000, '5 MB/s' or '1 GiB/min' (a size per s, min or h)"


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        (1024, 1024),
        (1024, 1024.0),
        (1024, "1024"),
        (5_000_000, "5 MB"),
        (5 * 2**20, "5MiB"),
        (10 * 2**30, " 10 gib "),
        (1_500_000_000, "1.5 GB"),
        (1000, "1 kB"),
        (7, "7 B"),
        (50_000, "50_000"),
        (500, ".5 kB"),
        (2_000_000, "2e6"),
        (2**63 + 1, "9223372036854775809 B"),
    ],
)
def test_sizes_are_read_in_bytes_and_decimal_is_not_binary(expected: int, given: object) -> None:
    assert expected == parse_bytes(given)


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        (5.0, 5),
        (0.035, "35 ms"),
        (5e-06, "5 us"),
        (5e-06, "5 µs"),
        (5e-06, "5 μs"),
        (120.0, "2 min"),
        (5400.0, "1.5 h"),
        (86400.0, "1 day"),
        (-5.0, "-5 s"),
        (math.inf, "forever"),
        (math.inf, math.inf),
    ],
)
def test_durations_are_read_in_seconds(expected: float, given: object) -> None:
    assert expected == parse_seconds(given)


@pytest.mark.parametrize(
    ("expected", "given"),
    [(5e6, 5_000_000), (5e6, "5 MB/s"), (2**30 / 60, "1 GiB / min"), (2.0, "7200 B/h"), (5e6, "5 MB")],
)
def test_rates_are_read_in_bytes_per_second(expected: float, given: object) -> None:
    assert expected == parse_rate(given)


@pytest.mark.parametrize(
    "given",
    [
        "10 G",
        "5 parsec",
        "",
        "MB",
        "5 MB/s",
        "1 2",
        1.5,
        math.nan,
        math.inf,
        True,
        None,
        b"5",
        [],
        1e40,
        "9" * 65,
    ],
)
def test_what_is_no_size_is_refused_with_what_is(given: object) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole text is compared)
        parse_bytes(given)

    assert f"{shown(given)} is not {SIZE}" == str(caught.value)


@pytest.mark.parametrize("given", ["5 m", "5 MB", "soon", "", math.nan, -math.inf, False, None, {}])
def test_what_is_no_duration_is_refused_with_what_is(given: object) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole text is compared)
        parse_seconds(given)

    assert f"{shown(given)} is not {DURATION}" == str(caught.value)


@pytest.mark.parametrize("given", ["5 MB/", "5 MB/day", "fast/s", "5 ms/s", None, True])
def test_what_is_no_rate_is_refused_with_what_is(given: object) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole text is compared)
        parse_rate(given)

    assert f"{given!r} is not {RATE}" == str(caught.value)


@pytest.mark.parametrize(
    ("expected", "size"),
    [
        ("0 B", 0),
        ("1023 B", 1023),
        ("1.5 KiB", 1536),
        ("32 MiB", 32 * 2**20),
        ("5 MB", 5_000_000),
        ("1.177 MiB", 1_234_567),
    ],
)
def test_sizes_are_written_in_the_unit_that_is_exact_or_else_in_binary(expected: str, size: int) -> None:
    assert expected == format_bytes(size)


@pytest.mark.parametrize(
    ("expected", "seconds"),
    [
        ("0 s", 0),
        ("250 ms", 0.25),
        ("10 us", 1e-5),
        ("60 s", 60),
        ("90 s", 90),
        ("5 min", 300),
        ("1 h", 3600),
        ("2 d", 172_800),
        ("-5 s", -5),
        ("forever", math.inf),
    ],
)
def test_durations_are_written_the_way_people_write_them(expected: str, seconds: float) -> None:
    assert expected == format_seconds(seconds)


@given(st.integers(0, 2**60))
def test_a_written_size_reads_back_within_rounding(size: int) -> None:
    assert parse_bytes(format_bytes(size)) == pytest.approx(size, rel=1e-3)


@given(st.floats(1e-6, 1e12))
def test_a_written_duration_reads_back_within_rounding(seconds: float) -> None:
    assert parse_seconds(format_seconds(seconds)) == pytest.approx(seconds, rel=1e-3)


JUNK: st.SearchStrategy[Any] = st.one_of(
    st.text(), st.floats(), st.integers(), st.none(), st.binary(), st.lists(st.text())
)


@pytest.mark.parametrize("parse", [parse_bytes, parse_seconds, parse_rate])
@given(junk=JUNK)
def test_junk_is_read_or_refused_but_never_breaks_a_parser(
    parse: Callable[[object], float], junk: object
) -> None:
    with suppress(ValueError):
        assert isinstance(parse(junk), (int, float))


def test_a_long_value_is_shown_shortened() -> None:
    assert shown("x" * 1000) == "'" + "x" * 59 + "..." + "x" * 14 + "'"


def test_a_number_too_long_to_print_is_shown_by_its_type() -> None:
    assert shown(10**5000) == "<int>"
