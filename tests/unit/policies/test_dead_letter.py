"""DeadLetter as data: what may be set together, and that it shows no secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kafka_throttle.config import load
from kafka_throttle.exceptions import ConfigurationError
from kafka_throttle.policies import POLICIES, Block, Reject
from kafka_throttle.policies.dead_letter import DeadLetter

SECOND = {"bootstrap.servers": "other:9092", "sasl.password": "hunter2", "linger.ms": 5}
CLIENT = "{'bootstrap.servers': 'other:9092', 'sasl.password': ..., 'linger.ms': ...}"
ONE_OF = "allowed: exactly one of topic and file"


def problems(**settings: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        DeadLetter(**settings)
    assert "hunter2" not in str(caught.value)
    return caught.value.problems


def test_a_topic_is_all_that_is_needed() -> None:
    policy = DeadLetter("{topic}-dlt")

    assert (policy.topic, policy.file, policy.client, policy.headers) == ("{topic}-dlt", None, None, "native")
    assert (policy.max_records, policy.max_bytes, policy.files, policy.then) == (
        10_000,
        64 * 2**20,
        5,
        Block(),
    )


def test_a_file_may_be_a_path_and_have_its_own_bounds() -> None:
    policy = DeadLetter(file=Path("a") / "b.jsonl", max_bytes="1 MiB", files=None, then=Reject())

    assert (policy.file, policy.max_bytes, policy.files, policy.then) == ("a/b.jsonl", 2**20, None, Reject())


def test_it_loses_nothing_by_itself() -> None:
    assert DeadLetter.can_lose is False


def test_another_cluster_is_read_back_as_it_was_given_and_cannot_be_changed() -> None:
    given = dict(SECOND)
    policy = DeadLetter("dead", client=given)
    given["bootstrap.servers"] = "third:9092"

    assert policy.client == SECOND
    assert policy == DeadLetter("dead", client=dict(SECOND))
    assert hash(policy) == hash(DeadLetter("dead", client=policy.client))
    assert policy.evolve(max_records=5).client == SECOND


def test_the_repr_shows_the_cluster_and_no_secret() -> None:
    shown = repr(DeadLetter("dead", client=SECOND))

    assert f"client={CLIENT}" in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, f"topic: neither a topic nor a file is given; {ONE_OF}"),
        ({"topic": "a", "file": "b"}, f"file: 'b' and the topic 'a' are both given; {ONE_OF}"),
        (
            {"topic": "{top}-dlt"},
            "topic: '{top}-dlt' is not a topic name; allowed: letters, digits, . _ - and the text {topic}, or none",
        ),
        (
            {"topic": ""},
            "topic: '' is not a topic name; allowed: letters, digits, . _ - and the text {topic}, or none",
        ),
        (
            {"topic": "{topic}"},
            "topic: '{topic}' is the topic of the record itself; allowed: another one, or another cluster by client",
        ),
        ({"file": ""}, "file: '' is not the path of a file; allowed: the path of a file, or none"),
        ({"file": b"x"}, "file: b'x' is not the path of a file; allowed: the path of a file, or none"),
        ({"file": 5}, "file: 5 is not the path of a file; allowed: the path of a file, or none"),
        (
            {"topic": "a", "headers": "debezium"},
            "headers: 'debezium' is not a choice; allowed: native, connect, spring, smallrye",
        ),
        ({"topic": "a", "max_records": 0}, "max_records: 0 is out of range; allowed: at least 1"),
        ({"file": "a", "max_bytes": 10}, "max_bytes: 10 is out of range; allowed: at least 1 KiB"),
        ({"file": "a", "files": 0}, "files: 0 is out of range; allowed: at least 1, or none"),
        ({"file": "a", "headers": "spring"}, "headers: is set to 'spring'; allowed: only with a topic"),
        ({"file": "a", "max_records": 5}, "max_records: is set to 5; allowed: only with a topic"),
        (
            {"file": "a", "client": SECOND},
            f"client: is set to {CLIENT}; allowed: only with a topic",
        ),
        ({"topic": "a", "files": 2}, "files: is set to 2; allowed: only with a file"),
        ({"topic": "a", "max_bytes": "1 MiB"}, "max_bytes: is set to 1048576; allowed: only with a file"),
        (
            {"topic": "a", "client": {"sasl.password": "hunter2"}},
            "client: {'sasl.password': ...} names no cluster; allowed: a mapping with bootstrap.servers",
        ),
        (
            {"topic": "a", "then": "block"},
            f"then: 'block' is not a policy; allowed: {', '.join(p.__name__ for p in POLICIES.values())}, another Policy",
        ),
    ],
)
def test_bad_settings_are_named_with_what_is_allowed(settings: dict[str, Any], problem: str) -> None:
    assert problems(**settings) == (f"DeadLetter.{problem}",)


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        ("sasl.password=hunter2", "a str is not a client configuration"),
        ({"sasl.password": ["hunter2"]}, "the setting 'sasl.password' is a list"),
        ({"error_cb": print}, "the setting 'error_cb' is a builtin_function_or_method"),
        ({"acks": None}, "the setting 'acks' is a NoneType"),
        ({5: "x"}, "5 is not the name of a client setting"),
    ],
)
def test_a_bad_client_configuration_is_named_without_its_values(client: Any, reason: str) -> None:
    allowed = "a mapping of client settings, each to a text, a number, true or false, or none"

    assert problems(topic="a", client=client) == (f"DeadLetter.client: {reason}; allowed: {allowed}",)


def test_mappings_and_toml_can_say_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POLICIES, "dead_letter", DeadLetter)
    file = tmp_path / "throttle.toml"
    file.write_text(
        """
[[rules]]
topics = "orders"
[rules.policy]
type = "dead_letter"
topic = "{topic}-dlt"
headers = "spring"
client = {"bootstrap.servers" = "other:9092", "enable.idempotence" = true}
then = {type = "reject"}
""",
        "utf-8",
    )

    assert load(file).rules[0].policy == DeadLetter(
        "{topic}-dlt",
        headers="spring",
        client={"bootstrap.servers": "other:9092", "enable.idempotence": True},
        then=Reject(),
    )
