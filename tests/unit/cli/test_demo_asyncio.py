"""The demo with asyncio: what a side counts, and how that becomes words."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka.errors import KafkaTimeoutError
from attrs import evolve

from kafka_throttle._adapters.aiokafka_settings import conf_of, kwargs_of
from kafka_throttle.cli.demo import asyncio_side
from kafka_throttle.cli.demo.asyncio_side import AsyncSide
from kafka_throttle.cli.demo.asyncio_words import closing, happening, rows, state, table
from kafka_throttle.cli.demo.figures import Plan, Result, Sample
from kafka_throttle.cli.demo.story import ASYNCIO
from kafka_throttle.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAN = Plan(seconds=0.1, crowd=50)
CALM = Sample(
    at=1.0,
    produced=1000,
    delivered=990,
    queue=10,
    p50=0.004,
    p99=0.012,
    longest_call=0.0002,
    refusals=0,
    limit=None,
    state="",
    rate=2000.0,
    stall=0.001,
)
QUICK = Result(
    seconds=60.0,
    produced=60_000,
    delivered=59_990,
    goodput=1e6,
    delay_p50=2.0,
    delay_p99=2.05,
    delay_max=2.2,
    largest_queue=4500,
    queue_at_end=4000,
    failed=0,
    undelivered=0,
    refusals=30_000,
    longest_call=2.1,
    late_goodput=0.95e6,
    stall=0.01,
    crowd_seconds=0.5,
)
SLOW = evolve(
    QUICK,
    delivered=12_000,
    goodput=0.2e6,
    late_goodput=0.04e6,
    refusals=90_000,
    stall=0.6,
    crowd_seconds=None,
)


class FakeProducer:
    """Has room for so many records; delivers each in the next round of the loop, or fails it."""

    def __init__(self, room: int = 10**9, failing: int = 0) -> None:
        self.room = room
        self.failing = failing
        self.stopped = False

    async def send(self, _topic: str, _value: bytes) -> asyncio.Future[None]:
        if self.room == 0:
            await asyncio.get_running_loop().create_future()  # for ever
        self.room -= 1
        self.failing -= 1
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(
            future.set_exception if self.failing >= 0 else future.set_result,
            KafkaTimeoutError() if self.failing >= 0 else None,
        )
        return future

    async def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio_side, "PATIENCE", 0.01)
    monkeypatch.setattr(asyncio_side, "_CROWD_WITHIN", 0.01)


@pytest.fixture
def crowds() -> list[str]:
    return []


def side_of(producer: FakeProducer, connected: list[str]) -> AsyncSide:
    async def connect(suffix: str) -> FakeProducer:
        connected.append(suffix)
        return producer

    return AsyncSide(connect, "topic", PLAN)


@pytest.fixture(autouse=True)
def _loops_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made: list[asyncio.AbstractEventLoop] = []
    make = asyncio.new_event_loop

    def remember() -> asyncio.AbstractEventLoop:
        made.append(make())
        return made[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", remember)
    yield
    for loop in made:
        loop.close()


def offered(producer: FakeProducer) -> tuple[Result, Sample]:
    side = side_of(producer, [])
    side.offer()
    at_end = side.standing()
    sample = side.sample()
    return side.drain(5, PLAN.seconds, at_end), sample


def test_a_side_accounts_for_every_request() -> None:
    result, sample = offered(FakeProducer(failing=3))

    assert result.produced > 3
    assert result.failed == 3
    assert result.refusals == 0
    assert result.undelivered == 0
    assert sample.delivered + result.queue_at_end + result.failed == result.produced
    assert sample.rate > 0
    assert result.late_goodput > 0


@pytest.mark.usefixtures("_impatient")
def test_a_request_that_finds_no_room_in_time_gives_up() -> None:
    result, sample = offered(FakeProducer(room=0))

    assert (result.produced, result.delivered, result.lost) == (0, 0, 0)
    assert result.refusals > 0
    assert result.longest_call >= 0.01
    assert sample.p99 is not None


def test_the_crowd_has_a_client_of_its_own_and_is_timed() -> None:
    producer, connected = FakeProducer(), list[str]()
    side = side_of(producer, connected)

    seconds = side.crowd()

    assert seconds is not None
    assert connected == ["", "-crowd"]
    assert producer.stopped
    assert side.drain(0, 1, (0, 0)).crowd_seconds == seconds


@pytest.mark.usefixtures("_impatient")
def test_a_crowd_that_does_not_get_through_is_sent_away() -> None:
    assert side_of(FakeProducer(room=10), []).crowd() is None


def test_the_state_of_aiokafka_is_read_off_its_tasks() -> None:
    assert state("bare", [CALM], PLAN) == "keeping up"
    assert state("bare", [evolve(CALM, queue=5000)], PLAN) == "piling up"
    assert state("kafka_throttle", [evolve(CALM, state="throttling")], PLAN) == "throttling"
    assert rows({"bare": []}, "bare", PLAN) == [("state", "starting")]


def test_the_words_say_who_is_woken() -> None:
    piled = evolve(CALM, queue=5000, stall=0.6)

    assert happening([], [CALM], PLAN) == "Both sides connect."
    assert "no difference yet" in happening([CALM], [CALM], PLAN)
    assert "wakes all of 5,000 tasks" in happening([piled], [CALM], PLAN)


def test_the_table_begins_with_the_crowd_if_there_was_one() -> None:
    assert table(SLOW, QUICK)[0] == ("The crowd at the beginning", "over a minute", "0.50 s")
    assert table(SLOW, evolve(QUICK, crowd_seconds=None))[0][0] == "Requests delivered while it ran"
    assert ("Goodput, second half", "0.04 MB/s", "0.95 MB/s") in table(SLOW, QUICK)


def test_the_closing_word_claims_no_more_than_was_seen() -> None:
    assert "took 0.04 MB/s from aiokafka and 0.95 MB/s" in closing(SLOW, QUICK)
    assert "the loop stands still meanwhile, for up to 0.60 s" in closing(SLOW, QUICK)
    assert "stands still" not in closing(evolve(SLOW, stall=0.001), QUICK)
    assert "Kafka kept up with both" in closing(evolve(SLOW, refusals=0), evolve(QUICK, refusals=0))


def test_a_crowd_is_told_with_its_rate() -> None:
    assert ASYNCIO.crowd_passed("bare", PLAN, 25.0) == "  aiokafka         25.0 s, 2 records/s"
    assert ASYNCIO.crowd_passed("bare", PLAN, None).endswith("had not sent them after a minute")


def test_settings_of_librdkafka_become_keywords_of_aiokafka_and_back() -> None:
    conf = {"bootstrap.servers": "b:1", "client.id": "demo", "security.protocol": "SASL_PLAINTEXT"}

    assert kwargs_of(conf) == {
        "bootstrap_servers": "b:1",
        "client_id": "demo",
        "security_protocol": "SASL_PLAINTEXT",
    }
    assert conf_of(kwargs_of(conf)) == conf


def test_a_setting_without_a_counterpart_is_named_with_those_that_have_one() -> None:
    with pytest.raises(ConfigurationError, match=r"ssl\.ca\.location: .*allowed: bootstrap\.servers"):
        kwargs_of({"ssl.ca.location": "ca.pem"})
