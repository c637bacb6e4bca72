"""The policies at the edge, with the real client: what the caller, the callback and the statistics are told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from kafka_throttle import (
    Block,
    ConfigurationError,
    DeadLetter,
    DropNewest,
    DropOldest,
    Fixed,
    Policy,
    Producer,
    Reject,
    Rejected,
    Rule,
    Sample,
    Spill,
    SpoolLocked,
    Statistics,
    Throttle,
)
from kafka_throttle._dead_letter.lines import letter_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kafka_throttle._dead_letter import Letter

NOWHERE = "127.0.0.1:1"
APPROVED = "data team, OPS-123"


class Makers:
    """Makes producers, and closes them at the end."""

    def __init__(self) -> None:
        self.made: list[Producer] = []

    def __call__(
        self, policy: Policy, limit: int = 1, bootstrap: str = NOWHERE, on_failure: Any = None, **conf: Any
    ) -> Producer:
        rules = [
            Rule("kept*", policy, on_failure=on_failure, loss_approved_by=APPROVED),
            Rule("other", Reject()),
        ]
        throttle = Throttle(rules=rules, limit=Fixed(limit), burst=0)
        producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "log_level": 0,
                "linger.ms": 1,
                "message.timeout.ms": 60_000,
                **conf,
            },
            throttle=throttle,
        )
        self.made.append(producer)
        return producer


@pytest.fixture
def make() -> Iterator[Makers]:
    makers = Makers()
    yield makers
    for producer in makers.made:
        producer.close(timeout=0)


class Reports(list[Any]):
    """Takes delivery reports."""

    def __call__(self, error: Any, message: Any) -> None:
        self.append((error, message))

    @property
    def values(self) -> list[bytes]:
        return [message.value() for _, message in self]


def places(now: Statistics) -> dict[str, int]:
    assert now.offered == sum(now.places().values())
    assert now.offered_bytes == sum(now.places("bytes").values())
    return {place: count for place, count in now.places().items() if count}


def produce_astray(producer: Producer, **given: Any) -> tuple[str, int]:
    """Produce a record whose delivery fails: to a partition that there is not, of a topic that is not known yet.

    Returns:
        The topic, and how many were refused before: the client may learn of a topic while it takes its first record.
    """
    for refused in range(100):
        topic = f"kept-astray-{time.monotonic_ns()}"
        try:
            producer.produce(topic, b"where?", partition=99, **given)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._UNKNOWN_PARTITION:
                raise
        else:
            return topic, refused
    raise AssertionError("each topic was known at once")


def rejected(count: int) -> dict[str, int]:
    return {"rejected": count} if count else {}


def read_letters(file: Path) -> list[Letter]:
    return [letter_in(line) for line in file.read_bytes().splitlines()]


def read(bootstrap: str, topic: str, count: int) -> list[Any]:
    """Return the first records of a topic."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "test", "auto.offset.reset": "earliest", "log_level": 0}
    )
    partitions = consumer.list_topics(topic, 10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n in partitions])
    found = []
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            found.append(message)
    consumer.close()
    return found


def test_a_shed_record_is_reported_with_policy_and_reason(make: Makers) -> None:
    producer, reports = make(DropNewest()), Reports()
    producer.produce("kept", b"first")
    producer.produce(
        "kept", b"second", b"key", 3, headers=[("a", b"1"), ("a", None)], timestamp=1234, on_delivery=reports
    )

    assert reports == []  # callbacks run in poll(), as the client's do
    assert producer.poll(0) >= 1  # the client's own events count, too
    ((error, message),) = reports
    assert isinstance(error, KafkaError)
    assert (error.code(), error.policy, error.reason) == (KafkaError._QUEUE_FULL, "DropNewest", "limit")
    assert error.str() == f"kafka_throttle: DropNewest shed this record (limit); approved by {APPROVED}"
    assert (message.topic(), message.partition(), message.key(), message.value()) == (
        "kept", 3, b"key", b"second",
    )  # fmt: skip
    assert (message.headers(), message.timestamp()) == ([("a", b"1"), ("a", None)], (1, 1234))
    assert message.error() == error
    assert places(producer.statistics()) == {"in_flight": 1, "shed": 1}


def test_the_callback_of_the_configuration_is_told_of_what_is_shed(make: Makers) -> None:
    reports = Reports()
    producer = make(DropNewest(), on_delivery=reports)
    for value in (b"1", b"2", b"3"):
        producer.produce("kept", value)
    producer.poll(0)
    assert reports.values == [b"2", b"3"]


def test_the_loss_ledger_says_what_was_lost_why_and_who_approved_it(make: Makers) -> None:
    producer = make(DropNewest())
    before = time.time()
    for n in range(5):
        producer.produce("kept-too", b"12345", b"k%d" % n)
    now = producer.statistics()

    ((key, loss),) = now.losses.items()
    assert key == ("kept-too", "limit")
    assert (loss.topic, loss.policy, loss.reason) == ("kept-too", "DropNewest", "limit")
    assert (loss.count, loss.bytes, loss.approved_by) == (4, 4 * 7, APPROVED)
    assert before <= loss.first <= loss.last <= time.time()
    assert now.loss_approvals == {"kept*": APPROVED}


def test_the_oldest_give_way_and_the_latest_stay(make: Makers) -> None:
    producer, reports = make(DropOldest(3)), Reports()
    for n in range(8):
        producer.produce("kept", b"%d" % n, on_delivery=reports)
    producer.poll(0)
    assert reports.values == [b"1", b"2", b"3", b"4"]
    assert {error.reason for error, _ in reports} == {"max_records"}
    assert places(producer.statistics()) == {"in_flight": 1, "held": 3, "shed": 4}
    assert len(producer) >= 4  # the client's own events count, too


def test_bytes_bound_what_is_held_and_a_record_too_large_goes_on(make: Makers) -> None:
    producer, reports = make(DropOldest(100, max_bytes=10, then=Reject())), Reports()
    producer.produce("kept", b"first")
    for n in range(4):
        producer.produce("kept", b"%04d" % n, on_delivery=reports)
    with pytest.raises(Rejected) as caught:
        producer.produce("kept", b"larger than ten", on_delivery=reports)
    producer.poll(0)
    assert caught.value.reason == "limit"
    assert reports.values == [b"0000", b"0001"]
    assert {error.reason for error, _ in reports} == {"max_bytes"}
    assert places(producer.statistics()) == {"in_flight": 1, "held": 2, "shed": 2, "rejected": 1}


def test_a_sample_keeps_whole_keys(make: Makers) -> None:
    producer, reports = make(Sample(0.5, then=DropOldest(1000))), Reports()
    producer.produce("kept", b"first")
    for n in range(400):
        producer.produce("kept", b"v", b"%d" % (n % 100), on_delivery=reports)
    producer.poll(0)
    gone = [message.key() for _, message in reports]
    assert {gone.count(key) for key in gone} == {4}
    assert 20 <= len(set(gone)) <= 80
    assert {error.reason for error, _ in reports} == {"sampled"}


def test_other_topics_go_their_own_way_meanwhile(make: Makers) -> None:
    producer = make(DropOldest(10))
    producer.produce("kept", b"1")
    producer.produce("kept", b"2")
    with pytest.raises(Rejected):
        producer.produce("other", b"3")
    assert places(producer.statistics()) == {"in_flight": 1, "held": 1, "rejected": 1}


def test_purge_gives_up_what_is_held_and_says_so(make: Makers, tmp_path: Path) -> None:
    producer, reports = make(DropOldest(10)), Reports()
    for n in range(3):
        producer.produce("kept", b"%d" % n, on_delivery=reports)
    producer.purge()
    assert producer.flush(5) == 0
    assert sorted(reports.values) == [b"0", b"1", b"2"]
    purged = {message.value(): error.code() for error, message in reports}
    assert {purged[b"1"], purged[b"2"]} == {KafkaError._PURGE_QUEUE}
    assert places(producer.statistics()) == {"failed": 1, "shed": 2}

    spilling = make(Spill(tmp_path))
    for n in range(3):
        spilling.produce("kept", b"%d" % n)
    spilling.purge()
    spilling.flush(0)
    now = spilling.statistics()
    assert (now.failed, now.spooled + now.in_flight) == (1, 2)  # the first went to the client, not to disk


def test_flush_waits_for_what_is_kept_and_returns_what_is_left(make: Makers, tmp_path: Path) -> None:
    producer = make(Spill(tmp_path))
    for n in range(5):
        producer.produce("kept", b"%d" % n)
    assert producer.flush(0.05) == 5
    assert len(producer) >= 5  # the client's own events count, too
    assert places(producer.statistics()) == {"in_flight": 1, "spooled": 4}


def test_drain_refuses_new_records(make: Makers) -> None:
    producer = make(DropOldest(10))
    producer.produce("kept", b"1")
    producer.produce("kept", b"2")
    assert producer.drain(0.05) == 2
    assert producer.statistics().state == "draining"
    for topic in ("kept", "other", "unheard-of"):
        with pytest.raises(Rejected) as caught:
            producer.produce(topic, b"3")
        assert caught.value.reason == "draining"
    assert producer.produce_batch("kept", [{"value": b"4"}]) == 0


def test_close_gives_up_what_is_held_and_reports_it(make: Makers) -> None:
    producer, reports = make(DropOldest(10)), Reports()
    for n in range(3):
        producer.produce("kept", b"%d" % n, on_delivery=reports)
    producer.close(timeout=0)
    assert sorted(reports.values) == [b"0", b"1", b"2"]
    assert {error.reason for error, message in reports if message.value() != b"0"} == {"closed"}
    assert places(producer.statistics()) == {"failed": 1, "shed": 2}


def test_what_is_on_disk_is_sent_by_the_next_owner_byte_for_byte(
    make: Makers, bootstrap: str, tmp_path: Path
) -> None:
    records: list[dict[str, Any]] = [
        {"value": b"\x00\xff", "key": b"k", "headers": [("a", b"1"), ("a", b"\x00"), ("b", None)], "timestamp": 1234567890123},
        {"value": None, "key": b"k", "headers": [("empty", b"")], "timestamp": 1},
        {"value": b"", "key": b"", "headers": [("ü", "ö".encode())], "timestamp": 5},
    ]  # fmt: skip
    first = make(Spill(tmp_path, when="always"))
    for record in records:
        first.produce("kept-bytes", partition=0, **record)
    first.close(timeout=0)
    assert first.statistics().spooled == 3

    second = make(Spill(tmp_path), bootstrap=bootstrap)
    assert second.statistics().offered == 3
    assert second.flush(30) == 0
    assert places(second.statistics()) == {"delivered": 3}
    sent = [(m.value(), m.key(), m.headers(), m.timestamp()[1]) for m in read(bootstrap, "kept-bytes", 3)]
    assert sent == [(r["value"], r["key"], r["headers"], r["timestamp"]) for r in records]


def test_a_record_id_is_the_same_whenever_a_record_is_sent(
    make: Makers, bootstrap: str, tmp_path: Path
) -> None:
    producer = make(Spill(tmp_path, when="always", record_id_header="id"), bootstrap=bootstrap)
    producer.produce("kept-ids", b"1", headers={"a": b"b"})
    producer.produce("kept-ids", b"2")
    assert producer.flush(30) == 0
    two, one = sorted((dict(message.headers()) for message in read(bootstrap, "kept-ids", 2)), key=len)
    assert (set(one), set(two)) == ({"a", "id"}, {"id"})
    assert len(one["id"]) == len(two["id"]) == 16
    assert one["id"] != two["id"]


def test_a_directory_has_one_owner(make: Makers, tmp_path: Path) -> None:
    make(Spill(tmp_path))
    with pytest.raises(SpoolLocked):
        make(Spill(tmp_path))


def test_callbacks_of_spilled_records_come_when_they_are_delivered(
    make: Makers, bootstrap: str, tmp_path: Path
) -> None:
    producer, reports = make(Spill(tmp_path), bootstrap=bootstrap), Reports()
    others = Reports()
    for n in range(300):
        producer.produce("kept", b"%d" % n, b"k", on_delivery=others if n % 7 == 3 else reports)
    assert producer.flush(30) == 0
    assert others.values == [b"%d" % n for n in range(300) if n % 7 == 3]
    assert reports.values == [b"%d" % n for n in range(300) if n % 7 != 3]
    assert {error for error, _ in (*reports, *others)} == {None}
    assert places(producer.statistics()) == {"delivered": 300}


def test_a_failed_delivery_is_spilled_and_sent_again(make: Makers, bootstrap: str, tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    producer, reports = make(Block(), 1000, bootstrap=bootstrap, on_failure=spill), Reports()
    producer.produce("kept", b"gone", headers={"a": b"b"}, on_delivery=reports)
    producer.purge()  # the client reports it as failed, though nothing speaks against it
    assert producer.flush(30) == 0
    assert [(error, message.value()) for error, message in reports] == [(None, b"gone")]
    assert places(producer.statistics()) == {"delivered": 1}


def test_a_permanent_failure_is_reported_and_never_sent_again(
    make: Makers, bootstrap: str, tmp_path: Path
) -> None:
    spill = Spill(tmp_path)
    producer = make(spill, bootstrap=bootstrap, on_failure=spill, limit=1000)
    reports = Reports()
    _, refused = produce_astray(producer, on_delivery=reports)
    assert producer.flush(30) == 0
    ((error, _),) = reports
    assert error.code() == KafkaError._UNKNOWN_PARTITION
    assert places(producer.statistics()) == {"failed": 1, **rejected(refused)}


def test_a_dead_letter_says_where_the_record_belongs_and_why(make: Makers, tmp_path: Path) -> None:
    file, reports = tmp_path / "letters.jsonl", Reports()
    producer = make(DeadLetter(file=file))
    producer.produce("kept", b"first")
    producer.produce("kept", b"\xff", b"key", 2, headers=[("a", b"1")], timestamp=1234, on_delivery=reports)
    assert places(producer.statistics()) == {"in_flight": 1, "dead_lettered": 1}
    producer.poll(0)
    ((error, message),) = reports
    assert (error.policy, error.reason, message.value()) == ("DeadLetter", "limit", b"\xff")
    assert error.str() == "kafka_throttle: wrote this record to the dead letters (limit)"
    (letter,) = read_letters(file)
    assert (letter.topic, letter.partition, letter.key, letter.value) == ("kept", 2, b"key", b"\xff")
    assert (letter.headers, letter.timestamp) == ((("a", b"1"),), 1234)
    assert (letter.policy, letter.reason, letter.attempts, letter.error) == ("DeadLetter", "limit", 0, None)


def test_a_dead_letter_that_cannot_be_written_goes_on(make: Makers, tmp_path: Path) -> None:
    file = tmp_path / "letters.jsonl"
    producer = make(DeadLetter(file=file, max_bytes="1 KiB", files=1, then=DropOldest(2)))
    for n in range(20):
        producer.produce("kept", b"%d" % n * 50)
    now = places(producer.statistics())
    assert 0 < now["dead_lettered"] == len(read_letters(file)) < 15
    assert now["held"] == 2
    assert now["shed"] == 19 - 2 - now["dead_lettered"]


def test_a_failed_delivery_becomes_a_dead_letter_and_is_reported_as_it_was(
    make: Makers, bootstrap: str, tmp_path: Path
) -> None:
    file, reports = tmp_path / "letters.jsonl", Reports()
    producer = make(Block(), 1000, bootstrap=bootstrap, on_failure=DeadLetter(file=file))
    topic, refused = produce_astray(producer, key=b"k", headers={"h": b"1"}, on_delivery=reports)
    producer.produce(topic, b"here", on_delivery=reports)
    assert producer.flush(30) == 0
    errors = {message.value(): error for error, message in reports}
    assert errors[b"here"] is None
    assert errors[b"where?"].code() == KafkaError._UNKNOWN_PARTITION
    (letter,) = read_letters(file)
    assert (letter.value, letter.headers, letter.partition) == (b"where?", (("h", b"1"),), 99)
    assert (letter.error_name, letter.attempts) == ("_UNKNOWN_PARTITION", 1)
    assert places(producer.statistics()) == {"delivered": 1, "dead_lettered": 1, **rejected(refused)}


def test_dead_letters_go_to_a_topic_with_headers(make: Makers, bootstrap: str, tmp_path: Path) -> None:
    reports = Reports()
    producer = make(Block(), 1000, bootstrap=bootstrap, on_failure=DeadLetter("{topic}-dlt"))
    topic, refused = produce_astray(producer, key=b"k", on_delivery=reports)
    assert producer.flush(30) == 0
    (message,) = read(bootstrap, f"{topic}-dlt", 1)
    headers = dict(message.headers())
    assert (message.key(), message.value()) == (b"k", b"where?")
    assert topic.encode() in headers.values()
    assert len(reports) == 1
    assert places(producer.statistics()) == {"dead_lettered": 1, **rejected(refused)}


def test_a_batch_goes_through_the_policy_of_its_topic(make: Makers) -> None:
    producer, reports = make(DropNewest(max_records=2)), Reports()
    messages = [{"value": b"%d" % n, "callback": reports} for n in range(5)]
    assert producer.produce_batch("kept", messages) == 5
    producer.poll(0)
    assert reports.values == [b"3", b"4"]
    assert places(producer.statistics()) == {"in_flight": 1, "held": 2, "shed": 2}


def test_what_the_client_refuses_it_refuses_in_its_own_words(make: Makers) -> None:
    producer = make(DropOldest(10))
    producer.produce("kept", b"first")
    wrong: tuple[dict[str, Any], ...] = (
        {"value": 5},
        {"headers": {"a": 5}},
        {"partition": "1"},
        {"value": bytearray(b"x")},
        {"nonsense": 1},
    )
    for bad in wrong:
        with pytest.raises(TypeError, match=r"^(?!.*record_of)"):
            producer.produce("kept", **bad)
    with pytest.raises(TypeError, match="NoneType"):
        producer.flush(None)  # type: ignore[arg-type]
    assert places(producer.statistics()) == {"in_flight": 1, "rejected": 5}


def test_text_is_kept_as_bytes(make: Makers) -> None:
    producer, reports = make(DropOldest(1)), Reports()
    producer.produce("kept", b"first")
    producer.produce("kept", "wärt", "schlüssel", headers={"ä": "ö", "n": None}, on_delivery=reports)
    producer.produce("kept", b"last")
    producer.poll(0)
    ((_, message),) = reports
    assert (message.value(), message.key()) == ("wärt".encode(), "schlüssel".encode())
    assert message.headers() == [("ä", "ö".encode()), ("n", None)]
    assert places(producer.statistics()) == {"in_flight": 1, "held": 1, "shed": 1}


@pytest.mark.parametrize(
    ("expected", "policy", "on_failure", "conf"),
    [
        (
            (
                "rules[0]: Spill with transactional.id='t': a record that is kept would be sent in another transaction than "
                "the one it was produced in; allowed with transactions: Block, Reject, Sample, DropNewest()"
            ),
            Spill("/spool"), None, {"transactional.id": "t"},
        ),
        (
            (
                "rules[0].on_failure: Spill with enable.idempotence: a record that timed out may have been written, and to "
                "send it again would write it twice; allowed: DeadLetter, none"
            ),
            Block(), Spill("/spool"), {"enable.idempotence": True},
        ),
        (
            (
                "rules[0]: delivery.report.only.error hides the reports by which records leave the disk; allowed with Spill "
                "and on_failure: false"
            ),
            Spill("/spool"), None, {"delivery.report.only.error": "true"},
        ),
    ],
)  # fmt: skip
def test_a_client_that_would_break_a_promise_is_refused(
    make: Makers, expected: str, policy: Policy, on_failure: Policy | None, conf: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(policy, on_failure=on_failure, **conf)
    assert caught.value.problems == (expected,)


def test_idempotence_and_spilling_go_together(make: Makers, bootstrap: str, tmp_path: Path) -> None:
    producer = make(Spill(tmp_path), bootstrap=bootstrap, **{"enable.idempotence": True})
    for n in range(50):
        producer.produce("kept", b"%d" % n)
    assert producer.flush(30) == 0


def test_a_producer_without_policies_that_keep_has_no_pump(make: Makers) -> None:
    producer = make(Block())
    assert producer.__admission__ is not None
    assert producer.__admission__.shedding is None
