"""Letters as lines: every byte comes back, and a line that is none says why."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_throttle._dead_letter import Letter, lines
from kafka_throttle._dead_letter.lines import letter_in, line_of
from kafka_throttle.exceptions import DeadLetterError

PAYLOAD = 'not null, {"text": ...} or {"base64": ...}'


@given(data=st.data())
def test_every_letter_comes_back_from_its_one_line(
    letters: st.SearchStrategy[Letter], data: st.DataObject
) -> None:
    letter = data.draw(letters)
    line = line_of(letter)

    assert letter_in(line) == letter
    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")


def test_a_line_can_be_read_by_eye(letter: Letter) -> None:
    assert json.loads(line_of(letter)) == {
        "v": 1,
        "topic": "orders",
        "partition": 3,
        "key": {"text": "42"},
        "value": {"base64": "/wA="},
        "headers": [["trace", {"text": "a1"}], ["flag", None], ["trace", {"text": ""}]],
        "timestamp": 1_700_000_000_123,
        "policy": "dead_letter",
        "reason": "failed",
        "attempts": 2,
        "first_seen": 1_700_000_000.25,
        "record_id": {"text": "\0\1"},
        "error": "Local: Message timed out",
        "error_name": "_MSG_TIMED_OUT",
    }


def test_fields_that_a_later_release_adds_are_passed_over(letter: Letter) -> None:
    assert letter_in(json.dumps({**json.loads(line_of(letter)), "later": 1}).encode()) == letter


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_the_error_for_what_is_no_letter(line: bytes) -> None:
    with pytest.raises(DeadLetterError, match=r"^not a dead letter that can be read: "):
        letter_in(line)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 2}, "its version is 2; known: 1"),
        ({"v": None}, "its version is None; known: 1"),
        ({"topic": 5}, "its topic is 5, not a text"),
        ({"partition": True}, "its partition is True, not a whole number from 0 to 2147483647"),
        ({"partition": -1}, "its partition is -1, not a whole number from 0 to 2147483647"),
        ({"timestamp": 1.5}, "its timestamp is 1.5, not a whole number from 0 to 9223372036854775807"),
        ({"first_seen": float("nan")}, "its first_seen is nan, not a time in seconds since the epoch"),
        ({"first_seen": "now"}, "its first_seen is 'now', not a time in seconds since the epoch"),
        ({"headers": None}, "its headers are None, not a list of at most 1,000,000"),
        ({"headers": [["a"]]}, "one of its headers is ['a'], not a list of a name and a value"),
        ({"headers": [[1, None]]}, "one of its headers is [1, None], not a list of a name and a value"),
        ({"headers": [["a", "b"]]}, f"its header is 'b', {PAYLOAD}"),
        ({"key": "k"}, f"its key is 'k', {PAYLOAD}"),
        (
            {"value": {"text": "a", "base64": "YQ=="}},
            f"its value is {{'text': 'a', 'base64': 'YQ=='}}, {PAYLOAD}",
        ),
        ({"value": {"hex": "61"}}, f"its value is {{'hex': '61'}}, {PAYLOAD}"),
        ({"record_id": {"text": 5}}, f"its record_id is {{'text': 5}}, {PAYLOAD}"),
        ({"error": 7}, "its error is 7, not a text"),
        ({"error_name": "x" * 65_537}, "its error_name has 65,537 characters; the most is 65,536"),
    ],
)
def test_a_field_that_cannot_be_right_is_named(letter: Letter, change: dict[str, Any], reason: str) -> None:
    line = json.dumps({**json.loads(line_of(letter)), **change}).encode()

    with pytest.raises(DeadLetterError) as caught:
        letter_in(line)

    assert str(caught.value) == f"not a dead letter that can be read: {reason}"


@pytest.mark.parametrize("value", [{"base64": "/w"}, {"base64": "\n"}, {"text": "\ud800"}])
def test_payloads_that_are_malformed_are_no_letter(letter: Letter, value: Any) -> None:
    line = json.dumps({**json.loads(line_of(letter)), "value": value}).encode()

    with pytest.raises(DeadLetterError, match=r"^not a dead letter that can be read: "):
        letter_in(line)


@pytest.mark.parametrize("line", [b"[]", b'"text"', b"1"])
def test_json_that_is_no_object_is_no_letter(line: bytes) -> None:
    with pytest.raises(DeadLetterError) as caught:
        letter_in(line)

    assert str(caught.value) == "not a dead letter that can be read: it is no JSON object"


def test_json_as_deep_as_the_stack_is_no_letter() -> None:
    with pytest.raises(DeadLetterError, match=r"^not a dead letter that can be read: "):
        letter_in(b"[" * 200_000)


def test_a_line_that_no_reader_would_take_is_not_written(
    letter: Letter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 300)

    with pytest.raises(DeadLetterError) as written:
        line_of(attrs.evolve(letter, value=b"x" * 300))
    with pytest.raises(DeadLetterError) as read:
        letter_in(b"x" * 301)

    assert str(written.value) == "the dead letter of topic 'orders' has 659 bytes as a line; the most is 300"
    assert str(read.value) == "not a dead letter that can be read: it has 301 bytes; the most is 300"


@pytest.mark.parametrize("change", [{"first_seen": float("inf")}, {"error": "\ud800"}])
def test_what_is_no_json_is_refused_with_the_topic(letter: Letter, change: dict[str, Any]) -> None:
    with pytest.raises(DeadLetterError, match=r"^the dead letter of topic 'orders' cannot be written: "):
        line_of(attrs.evolve(letter, **change))
