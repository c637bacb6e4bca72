"""Letters as headers: the exact names and encodings of each convention, and the way back of the native one."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_throttle._dead_letter import Letter
from kafka_throttle._dead_letter.dialects import headers_of, letter_of
from kafka_throttle.exceptions import DeadLetterError
from kafka_throttle.policies.dead_letter import DIALECTS

ORIGINAL = [("trace", b"a1"), ("flag", None), ("trace", b"")]
OWN = [
    ("kafka_throttle.policy", b"dead_letter"),
    ("kafka_throttle.reason", b"failed"),
    ("kafka_throttle.attempts", b"2"),
    ("kafka_throttle.first_seen", b"1700000000.25"),
    ("kafka_throttle.record_id", b"\x00\x01"),
]


def test_native_says_everything_behind_a_marker(letter: Letter) -> None:
    assert headers_of(letter, "native") == [
        *ORIGINAL,
        ("kafka_throttle.dead_letter", b"1"),
        ("kafka_throttle.topic", b"orders"),
        ("kafka_throttle.partition", b"3"),
        ("kafka_throttle.timestamp", b"1700000000123"),
        *OWN,
        ("kafka_throttle.error", b"Local: Message timed out"),
        ("kafka_throttle.error_name", b"_MSG_TIMED_OUT"),
    ]


def test_connect_writes_text_as_kafka_connect_does(letter: Letter) -> None:
    assert headers_of(letter, "connect") == [
        *ORIGINAL,
        ("__connect.errors.topic", b"orders"),
        ("__connect.errors.partition", b"3"),
        ("__connect.errors.connector.name", b"kafka_throttle"),
        ("__connect.errors.task.id", b"0"),
        ("__connect.errors.stage", b"KAFKA_PRODUCE"),
        ("__connect.errors.class.name", b"kafka_throttle.Producer"),
        ("__connect.errors.exception.class.name", b"confluent_kafka.KafkaException"),
        ("__connect.errors.exception.message", b"Local: Message timed out"),
        *OWN,
    ]


def test_spring_writes_numbers_big_endian_as_spring_does(letter: Letter) -> None:
    assert headers_of(letter, "spring") == [
        *ORIGINAL,
        ("kafka_dlt-original-topic", b"orders"),
        ("kafka_dlt-original-partition", b"\x00\x00\x00\x03"),
        ("kafka_dlt-original-timestamp", b"\x00\x00\x01\x8b\xcf\xe5\x68\x7b"),
        ("kafka_dlt-original-timestamp-type", b"CreateTime"),
        ("kafka_dlt-exception-fqcn", b"confluent_kafka.KafkaException"),
        ("kafka_dlt-exception-message", b"Local: Message timed out"),
        *OWN,
    ]


def test_smallrye_writes_text_as_smallrye_does(letter: Letter) -> None:
    assert headers_of(letter, "smallrye") == [
        *ORIGINAL,
        ("dead-letter-exception-class-name", b"confluent_kafka.KafkaException"),
        ("dead-letter-cause-class-name", b"confluent_kafka.KafkaError"),
        ("dead-letter-reason", b"Local: Message timed out"),
        ("dead-letter-cause", b"_MSG_TIMED_OUT"),
        ("dead-letter-topic", b"orders"),
        ("dead-letter-partition", b"3"),
        *OWN,
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_not_known_is_left_out_and_a_record_that_did_not_fail_says_why_it_was_put_aside(
    dialect: str,
) -> None:
    letter = Letter(topic="orders", policy="dead_letter", reason="limit", first_seen=5.0)

    headers = dict(headers_of(letter, dialect))

    assert [
        name for name in headers if name.endswith(("partition", "record_id", "error", "error_name", "cause"))
    ] == []
    assert (headers["kafka_throttle.policy"], headers["kafka_throttle.reason"]) == (b"dead_letter", b"limit")
    if dialect != "native":
        values = set(headers.values())
        assert {b"kafka_throttle.Rejected", b"put aside by dead_letter: limit"} <= values


@given(data=st.data())
def test_the_native_dialect_gives_back_every_letter(
    letters: st.SearchStrategy[Letter], data: st.DataObject
) -> None:
    letter = data.draw(letters)

    assert letter_of(headers_of(letter, "native"), letter.key, letter.value) == letter


def test_headers_that_others_add_behind_are_not_the_records(letter: Letter) -> None:
    headers = [*headers_of(letter, "native"), ("traceparent", b"00-ab")]

    assert letter_of(headers, letter.key, letter.value) == letter


def changed(letter: Letter, name: str, value: bytes | None) -> list[tuple[str, Any]]:
    return [(n, value if n == f"kafka_throttle.{name}" else v) for n, v in headers_of(letter, "native")]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("dead_letter", b"2", "its version is b'2'; known: b'1'"),
        ("topic", None, "its topic is None, not a text"),
        ("topic", b"", "its topic is '', not a text"),
        ("topic", b"\xff", "its topic is b'\\xff', not UTF-8"),
        ("topic", b"x" * 65_537, "its topic has 65,537 characters; the most is 65,536"),
        ("partition", b"-1", "its partition is -1, not a whole number from 0 to 2147483647"),
        ("partition", b"2147483648", "its partition is 2147483648, not a whole number from 0 to 2147483647"),
        ("timestamp", b"soon", "its timestamp is 'soon', not a whole number from 0 to 9223372036854775807"),
        ("attempts", None, "its attempts is None, not a whole number from 0 to 2147483647"),
        ("attempts", b"1" * 65, f"its attempts is '{'1' * 65}', not a whole number from 0 to 2147483647"),
        ("first_seen", b"nan", "its first_seen is nan, not a time in seconds since the epoch"),
        ("first_seen", b"inf", "its first_seen is inf, not a time in seconds since the epoch"),
        ("policy", None, "its policy is None, not a text"),
        ("reason", b"", "its reason is '', not a text"),
    ],
)
def test_a_header_that_cannot_be_right_is_named(
    letter: Letter, name: str, value: bytes | None, reason: str
) -> None:
    with pytest.raises(DeadLetterError) as caught:
        letter_of(changed(letter, name, value), letter.key, letter.value)

    assert str(caught.value) == f"not a dead letter that can be read: {reason}"


def test_a_header_that_is_there_twice_is_named(letter: Letter) -> None:
    with pytest.raises(DeadLetterError) as caught:
        letter_of([*headers_of(letter, "native"), ("kafka_throttle.topic", b"other")], None, None)

    assert (
        str(caught.value)
        == "not a dead letter that can be read: it has the header 'kafka_throttle.topic' twice"
    )


@pytest.mark.parametrize("headers", [None, [], [("trace", b"1")]])
def test_a_message_without_the_marker_is_none_of_ours(headers: Any) -> None:
    with pytest.raises(DeadLetterError) as caught:
        letter_of(headers, b"k", b"v")

    assert str(caught.value) == (
        "not a dead letter of the native dialect: it has no header 'kafka_throttle.dead_letter'"
    )


def test_a_letter_in_a_letter_is_given_back_one_by_one(letter: Letter) -> None:
    outer = attrs.evolve(letter, topic="outer", headers=tuple(headers_of(letter, "native")))

    read = letter_of(headers_of(outer, "native"), letter.key, letter.value)

    assert read == outer
    assert letter_of(read.headers, letter.key, letter.value) == letter
