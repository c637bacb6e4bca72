"""The parts of the demo: what a side counts, and how figures become words and pictures."""

from __future__ import annotations

from collections import deque
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from rich.console import Console

from kafka_throttle.cli.demo.conductor import Recording, SideFailed, conduct
from kafka_throttle.cli.demo.figures import SIDES, Plan, Result, Sample, quantile
from kafka_throttle.cli.demo.lines import Lines
from kafka_throttle.cli.demo.picture import draw
from kafka_throttle.cli.demo.screen import Screen, chart
from kafka_throttle.cli.demo.side import Side
from kafka_throttle.cli.demo.stage import Stage
from kafka_throttle.cli.demo.story import ASYNCIO, BLOCKING, Story
from kafka_throttle.cli.demo.verdict import closing, table
from kafka_throttle.cli.demo.words import delay, goodput, happening, state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLAN = Plan(seconds=10)
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
)
QUICK = Result(
    seconds=60.0,
    produced=60_000,
    delivered=59_990,
    goodput=1e6,
    delay_p50=0.02,
    delay_p99=0.05,
    delay_max=0.2,
    largest_queue=80,
    queue_at_end=10,
    failed=0,
    undelivered=0,
    refusals=0,
    longest_call=0.1,
)
SLOW = evolve(
    QUICK,
    produced=120_000,
    delay_p50=13.3,
    delay_p99=29.0,
    delay_max=29.6,
    largest_queue=60_010,
    queue_at_end=60_010,
)


class FakeProducer:
    """Takes so many records at a time, and fails the reports it is told to fail."""

    def __init__(self, room: int, failing: int = 0) -> None:
        self.room = room
        self.failing = failing
        self.waiting: deque[Callable[[Any, Any], None]] = deque()

    def produce(self, topic: str, value: bytes, on_delivery: Callable[[Any, Any], None]) -> None:
        if len(self.waiting) >= self.room:
            raise BufferError
        self.waiting.append(on_delivery)

    def poll(self, timeout: float) -> int:
        if len(self.waiting) < self.room:
            return 0
        return self.flush(0)

    def flush(self, timeout: float) -> int:
        while self.waiting:
            self.failing -= 1
            self.waiting.popleft()("error" if self.failing >= 0 else None, None)
        return 0


def offered(producer: FakeProducer) -> Result:
    side = Side(producer, "topic", Plan(seconds=0.05))
    side.offer()
    return side.drain(0, 0.05, side.standing())


def test_a_side_accounts_for_every_record() -> None:
    result = offered(FakeProducer(room=7, failing=3))

    assert result.produced > 7
    assert result.failed == 3
    assert result.lost == 3
    assert result.largest_queue == 7
    assert result.undelivered == 0
    assert result.delivered + result.queue_at_end + result.failed == result.produced


def test_a_refused_record_is_offered_again_and_the_refusal_counted() -> None:
    producer = FakeProducer(room=1)
    side = Side(producer, "topic", Plan(seconds=0.05))
    producer.waiting.append(lambda _error, _message: None)

    side.offer()

    assert side.sample().refusals == 1
    assert side.sample().produced > 0


def test_a_record_that_nobody_reports_ages() -> None:
    side = Side(FakeProducer(room=10**9), "topic", Plan(seconds=0.05))
    side.offer()

    sample = side.sample()

    assert sample.p50 == sample.p99
    assert sample.p99 is not None
    assert sample.p99 >= 0.04


@pytest.mark.parametrize(("share", "expected"), [(0.5, 51), (0.99, 100), (1.0, 100), (0.0, 1)])
def test_a_quantile_is_a_value_that_was_seen(share: float, expected: float) -> None:
    assert quantile([float(n) for n in range(1, 101)], share) == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.00021, "0.21 ms"),
        (0.0042, "4 ms"),
        (0.0996, "0.10 s"),
        (1.5, "1.50 s"),
        (29.04, "29.0 s"),
    ],
)
def test_delays_are_short_to_read(seconds: float | None, text: str) -> None:
    assert delay(seconds) == text


def test_goodput_is_of_the_last_seconds() -> None:
    samples = [evolve(CALM, at=float(at), delivered=100 * at) for at in range(20)]

    assert goodput(samples, PLAN) == 100 * PLAN.record_bytes
    assert goodput(samples[:1], PLAN) == 0


def test_the_bare_clients_state_is_read_off_its_queue() -> None:
    piled = evolve(CALM, queue=5000)

    assert state("bare", [CALM], PLAN) == "keeping up"
    assert state("bare", [piled], PLAN) == "piling up"
    assert state("bare", [piled, evolve(piled, refusals=1)], PLAN) == "full: BufferError"
    assert state("kafka_throttle", [evolve(CALM, state="throttling")], PLAN) == "throttling"


def test_the_words_say_how_long_a_record_will_take() -> None:
    bare = [evolve(CALM, at=float(at), delivered=1000 * at, queue=9000) for at in range(10)]

    assert "9,000 records wait in its memory, and one produced now arrives in about 9 s" in happening(
        bare, [CALM], PLAN
    )
    assert "no difference yet" in happening([CALM], [CALM], PLAN)


def test_the_table_sets_both_against_each_other() -> None:
    rows = {name: (bare, throttled) for name, bare, throttled in table(SLOW, QUICK)}

    assert rows["Delay, 99 of 100 records (p99)"] == ("29.0 s", "50 ms")
    assert rows["Records in it when time was up"] == ("60,010", "10")
    assert "BufferErrors raised by produce()" not in rows
    assert table(evolve(SLOW, refusals=2), QUICK)[-1] == ("BufferErrors raised by produce()", "2", "0")


def test_the_closing_word_claims_no_more_than_was_seen() -> None:
    assert "Kafka took as much from kafka_throttle" in closing(SLOW, QUICK)
    assert "Kafka took 80% as much" in closing(SLOW, evolve(QUICK, goodput=0.8e6))
    assert "Kafka kept up with both" in closing(QUICK, QUICK)
    assert "too short to tell the two apart" in closing(SLOW, SLOW)


def test_a_side_that_cannot_begin_is_named_with_what_it_said() -> None:
    stage = Stage(
        kind="mock",
        name="nothing",
        constraint="",
        settings={side: {"no.such.setting": 1} for side in SIDES},
        topics=dict.fromkeys(SIDES, "topic"),
        limit=lambda: None,
        lift=lambda: None,
    )

    with pytest.raises(SideFailed, match=r"side ended before its time:(?s:.*)no\.such\.setting"):
        conduct(stage, BLOCKING, PLAN, Recording(), show=lambda: None, say=lambda _line: None)


def test_a_chart_has_a_step_for_each_eighth_of_a_line() -> None:
    assert chart([None, 0, 7, 15, 99], 0, 15, height=2) == ["   ██", " ▁███"]


def recording() -> Recording:
    seen = Recording()
    seen.samples["bare"] = [
        evolve(CALM, at=float(at), queue=1000 * at, p50=at / 2, p99=float(at)) for at in range(1, 10)
    ]
    seen.samples["kafka_throttle"] = [
        evolve(CALM, at=float(at), limit=32, state="throttling") for at in range(1, 10)
    ]
    return seen


@pytest.mark.parametrize("story", [BLOCKING, ASYNCIO], ids=lambda story: story.client)
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_the_screen_fits_the_terminal_and_shows_both(width: int, height: int, story: Story) -> None:
    out = StringIO()
    console = Console(file=out, width=width, height=height, force_terminal=True, color_system=None)

    console.print(Screen(console, story, recording(), PLAN, "a test", "Nothing limits it.").frame())

    lines = out.getvalue().splitlines()

    assert len(lines) <= height
    assert max(len(line) for line in lines if "╭" in line) <= width
    assert story.title("bare") in out.getvalue()
    assert "9,000 re" in out.getvalue()  # records, or requests
    assert "32 records" in out.getvalue()


def test_lines_come_every_few_seconds_only() -> None:
    seen, whole, said = Recording(), recording(), list[str]()
    lines = Lines(BLOCKING, seen, PLAN, said.append)
    for bare, throttled in zip(*whole.samples.values(), strict=True):
        seen.samples["bare"].append(bare)
        seen.samples["kafka_throttle"].append(throttled)
        lines.show()

    assert [line for line in said if line.endswith("of 10 s")] == ["1 s of 10 s", "5 s of 10 s"]
    assert len(said) == 8


@pytest.mark.parametrize("story", [BLOCKING, ASYNCIO], ids=lambda story: story.client)
@pytest.mark.parametrize("seen", [Recording(), recording()], ids=["nothing", "something"])
def test_the_picture_is_a_png(tmp_path: Path, seen: Recording, story: Story) -> None:
    path = tmp_path / "delays.png"

    draw(story, seen, PLAN, "Nothing limits it.", path)

    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
