"""The sender: in order, within a window, and nothing leaves the spool before it is confirmed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, field
from confluent_kafka import KafkaError, KafkaException

from kafka_throttle._spool import Spool
from kafka_throttle.cli.spool import sender as module
from kafka_throttle.cli.spool.sender import Failure, Sender, own_settings
from kafka_throttle.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@define
class FakeClient:
    """Takes records, and reports so many of them at each poll as it is told to."""

    clock: VirtualClock
    at_once: int = 1000
    room: int = 10**9
    refusing: dict[bytes, int] = field(factory=dict)
    refusing_at_once: set[bytes] = field(factory=set)
    fatal_at_poll: int = -1
    taken: list[dict[str, Any]] = field(factory=list)
    waiting: deque[Any] = field(factory=deque)
    most: int = 0
    polls: int = 0
    purged: list[tuple[bool, bool]] = field(factory=list)

    def produce(
        self,
        topic: str,
        value: Any,
        key: Any,
        partition: int,
        on_delivery: Any,
        *,
        timestamp: int,
        headers: Any,
    ) -> None:
        if value in self.refusing_at_once:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        if len(self.waiting) >= self.room:
            raise BufferError
        self.taken.append(
            {
                "topic": topic,
                "value": value,
                "key": key,
                "partition": partition,
                "timestamp": timestamp,
                "headers": headers,
            }
        )
        self.waiting.append((value, on_delivery))
        self.most = max(self.most, len(self.waiting))

    def poll(self, seconds: float) -> None:
        self.polls += 1
        self.clock.advance(seconds)
        for _ in range(min(self.at_once, len(self.waiting))):
            value, report = self.waiting.popleft()
            code = self.refusing.get(value)
            report(None if code is None else KafkaError(code), None)
        if self.polls == self.fatal_at_poll:
            raise KafkaException(KafkaError(KafkaError._FATAL, "the end", fatal=True))

    def purge(self, *, in_queue: bool, in_flight: bool) -> None:
        self.purged.append((in_queue, in_flight))
        if in_flight:
            for _, report in self.waiting:
                report(KafkaError(KafkaError._PURGE_INFLIGHT), None)
            self.waiting.clear()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def client(clock: VirtualClock) -> FakeClient:
    return FakeClient(clock)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool", group_seconds=None, fsync="off", segment_bytes=25_000) as spool:
        yield spool


def fill(spool: Spool, count: int) -> None:
    for number in range(count):
        spool.append("t", b"k", b"%d" % number)


def sender_of(spool: Spool, client: FakeClient, **options: Any) -> Sender:
    return Sender(spool, client, **{"stopping": lambda: False, "clock": client.clock, **options})


def test_everything_is_sent_in_order_as_it_was_spooled(spool: Spool, client: FakeClient) -> None:
    spool.append("a", b"k", b"v", [("n", b"1"), ("n", None)], 5, 3)
    spool.append("b")
    spool.append("c", None, b"", [])

    sender = sender_of(spool, client)
    sender.run()

    assert client.taken == [
        {
            "topic": "a",
            "value": b"v",
            "key": b"k",
            "partition": 3,
            "timestamp": 5,
            "headers": [("n", b"1"), ("n", None)],
        },
        {"topic": "b", "value": None, "key": None, "partition": -1, "timestamp": 0, "headers": None},
        {"topic": "c", "value": b"", "key": None, "partition": -1, "timestamp": 0, "headers": []},
    ]
    assert (sender.sent, sender.failed, spool.records) == (3, 0, 0)


def test_a_header_can_say_which_record_it_is(spool: Spool, client: FakeClient) -> None:
    spool.append("a", headers=[("n", b"1")])
    spool.append("b")
    ids = [record.record_id for record in spool.read(2)]
    spool.rewind()

    sender_of(spool, client, header="id").run()

    assert [taken["headers"] for taken in client.taken] == [[("n", b"1"), ("id", ids[0])], [("id", ids[1])]]


def test_a_record_leaves_the_spool_only_when_it_is_confirmed(spool: Spool, client: FakeClient) -> None:
    fill(spool, 100)
    client.at_once = 3
    told: list[tuple[int, int]] = []

    def compare(done: int, of: int) -> None:
        told.append((done, of))
        assert spool.records == 100 - done
        assert spool.records >= len(client.waiting)

    sender_of(spool, client, progress=compare).run()

    assert told[0] == (3, 100)
    assert told[-1] == (100, 100)


def test_no_more_is_with_the_client_than_the_window_allows(
    spool: Spool, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(spool, 500)
    client.at_once = 5
    monkeypatch.setattr(module, "WINDOW_RECORDS", 100)
    sender_of(spool, client).run()
    by_records, client.most = client.most, 0
    fill(spool, 500)
    monkeypatch.setattr(module, "WINDOW_BYTES", 90)
    sender_of(spool, client).run()

    # A portion that was begun is sent to its end.
    assert 100 <= by_records < 100 + 32
    assert client.most < 32 + 32
    assert spool.records == 0


def test_a_full_client_is_waited_for(spool: Spool, client: FakeClient) -> None:
    fill(spool, 50)
    client.room = 7

    sender_of(spool, client).run()

    assert [taken["value"] for taken in client.taken] == [b"%d" % number for number in range(50)]
    assert client.most == 7


@pytest.mark.parametrize("rate", [10.0, 1000.0])
def test_a_rate_is_kept(spool: Spool, client: FakeClient, clock: VirtualClock, rate: float) -> None:
    fill(spool, 200)

    sender_of(spool, client, rate=rate).run()

    assert 200 / rate == pytest.approx(clock(), abs=0.3)


def test_a_refused_record_ends_the_replay_and_stays(spool: Spool, client: FakeClient) -> None:
    fill(spool, 200)
    client.refusing[b"70"] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    client.at_once = 10

    sender = sender_of(spool, client)
    sender.run()

    assert sender.failures == [Failure(71, "t", "Broker: Topic authorization failed")]
    assert sender.failed == 1
    assert (client.purged, client.waiting) == ([], deque())
    spool.rewind()
    assert 71 in [record.sequence for record in spool.read(1000)]
    assert spool.records == 200 - sender.sent


def test_what_the_client_itself_refuses_is_treated_alike(spool: Spool, client: FakeClient) -> None:
    fill(spool, 100)
    client.refusing_at_once = {b"40"}

    sender = sender_of(spool, client)
    sender.run()

    assert [failure.sequence for failure in sender.failures] == [41]
    assert [taken["value"] for taken in client.taken] == [b"%d" % number for number in range(40)]
    assert (sender.sent, spool.records) == (40, 60)


def test_refused_records_can_be_passed_by(spool: Spool, client: FakeClient) -> None:
    fill(spool, 100)
    client.refusing = {b"%d" % number: KafkaError.MSG_SIZE_TOO_LARGE for number in range(0, 100, 4)}
    client.refusing_at_once = {b"50"}

    sender = sender_of(spool, client, skip_failed=True)
    sender.run()

    assert (sender.failed, len(sender.failures), sender.sent) == (26, 20, 74)
    spool.rewind()
    assert [record.sequence - 1 for record in spool.read(1000)] == sorted([*range(0, 100, 4), 50])


@pytest.mark.parametrize("skip_failed", [False, True])
def test_a_client_that_cannot_go_on_ends_the_replay(
    spool: Spool, client: FakeClient, skip_failed: bool
) -> None:
    fill(spool, 100)
    client.fatal_at_poll = 2

    sender = sender_of(spool, client, skip_failed=skip_failed)
    sender.run()

    assert (sender.fatal, sender.failures, sender.sent) == ("the end", [], 64)
    assert spool.records == 36


def test_when_nothing_gets_through_the_replay_gives_up_and_keeps_everything(
    spool: Spool, client: FakeClient, clock: VirtualClock
) -> None:
    fill(spool, 100)
    client.at_once = 0

    sender = sender_of(spool, client, patience=5.0)
    sender.run()

    assert sender.gave_up
    assert clock() == pytest.approx(5.0, abs=0.2)
    assert (sender.sent, sender.failed, spool.records) == (0, 0, 100)
    assert client.purged == [(True, False), (True, True)]


def test_a_slow_rate_is_no_reason_to_give_up(spool: Spool, client: FakeClient) -> None:
    fill(spool, 5)

    sender = sender_of(spool, client, rate=0.1, patience=1.0)
    sender.run()

    assert (sender.sent, sender.gave_up) == (5, False)


def test_what_is_on_its_way_at_an_early_end_is_waited_for(spool: Spool, client: FakeClient) -> None:
    fill(spool, 100)
    client.at_once = 1

    sender = sender_of(spool, client, stopping=lambda: len(client.taken) >= 40)
    sender.run()

    assert len(client.taken) == sender.sent == 40
    assert client.purged == [(True, False)]
    spool.rewind()
    assert [record.sequence for record in spool.read(1000)] == list(range(41, 101))


def test_a_spool_that_cannot_be_read_ends_the_replay_after_what_is_on_its_way(
    spool: Spool, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(spool, 100)
    client.at_once = 1
    read = spool.read
    portions = iter([read, read])

    def failing(limit: int) -> Any:
        portion = next(portions, None)
        if portion is None:
            raise OSError("no")
        return portion(limit)

    monkeypatch.setattr(spool, "read", failing)
    sender = sender_of(spool, client)
    with pytest.raises(OSError, match="no"):
        sender.run()

    assert (sender.sent, spool.records) == (64, 36)


def test_order_and_completeness_depend_on_settings_that_are_not_the_users() -> None:
    given = {
        "a": "1",
        "acks": "1",
        "delivery.timeout.ms": "5",
        "transactional.id": "x",
        "enable.idempotence": "true",
    }

    used, unused = own_settings(given, skip_failed=False)

    assert used == {
        "a": "1",
        "acks": "all",
        "enable.idempotence": "true",
        "message.timeout.ms": "0",
        "enable.gapless.guarantee": "true",
    }
    assert unused == ["acks=1", "delivery.timeout.ms=5", "transactional.id=x"]
    assert "enable.gapless.guarantee" not in own_settings({}, skip_failed=True)[0]
    assert own_settings({"request.required.acks": "-1"}, skip_failed=True)[1] == []
