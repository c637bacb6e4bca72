"""Runs the two sides at the same time and collects what they report."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from attrs import asdict, define, field

from kafka_throttle.cli.demo.figures import SIDES, Plan, Result, Sample
from kafka_throttle.exceptions import ThrottleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from typing_extensions import Self

    from kafka_throttle.cli.demo.stage import Stage
    from kafka_throttle.cli.demo.story import Story

__all__ = ["Recording", "SideFailed", "conduct"]

_READY_WITHIN = 30.0
# A produce() that waits when the time is up may wait for a broker that mutes the client for about a second.
_OVERTIME = 2.0
_CROWD_WITHIN = 90.0
_DRAIN = 15.0
_DRAIN_WHEN_INTERRUPTED = 3.0


class SideFailed(ThrottleError, RuntimeError):
    """One of the two processes ended, or did not answer."""


@define
class Recording:
    """What was seen of a demo.

    Attributes:
        samples: By side.
        crowds: How long the crowd of each side took, in seconds; None when it took too long.
        results: By side, once there are any.
        interrupted: Whether somebody ended it early.
    """

    samples: dict[str, list[Sample]] = field(factory=lambda: {side: [] for side in SIDES})
    crowds: dict[str, float | None] = field(factory=dict)
    results: dict[str, Result] = field(factory=dict)
    interrupted: bool = False


class _News(NamedTuple):
    side: str
    message: dict[str, Any] | None  # None: the process has ended


class _SideProcess:
    """One running side; its standard error is kept for the case that it fails."""

    def __init__(self, side: str, client: str, stage: Stage, plan: Plan, news: queue.Queue[_News]) -> None:
        order = {
            "side": side,
            "client": client,
            "topic": stage.topics[side],
            "settings": stage.settings[side],
            "plan": asdict(plan),
        }
        self.side = side
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(  # noqa: S603 - this package, by this interpreter
            [sys.executable, "-m", "kafka_throttle.cli.demo.process", json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            start_new_session=True,  # Ctrl-C is for the demo, which then tells its sides
        )
        self._news = news
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def tell(self, order: str) -> None:
        stdin = self._process.stdin
        if stdin is not None:
            with suppress(BrokenPipeError):  # its end is reported by the reader
                stdin.write(f"{order}\n".encode())
                stdin.flush()

    def complaints(self) -> str:
        """Return the last lines of what it wrote to standard error."""
        self._process.wait(timeout=5)
        self._complaints.seek(0)
        return "\n".join(self._complaints.read().decode(errors="replace").splitlines()[-5:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._complaints):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def _read(self) -> None:
        stdout = self._process.stdout
        for line in stdout or ():
            self._news.put(_News(self.side, json.loads(line)))
        self._news.put(_News(self.side, None))


class _Conductor:
    def __init__(self, recording: Recording, show: Callable[[], None]) -> None:
        self.news: queue.Queue[_News] = queue.Queue()
        self.sides: dict[str, _SideProcess] = {}
        self.interrupted = False
        self._recording = recording
        self._show = show

    def tell(self, order: str) -> None:
        for side in self.sides.values():
            side.tell(order)

    def wait_for(self, what: str, seconds: float, *sides: str) -> set[str]:
        """Take news until each side has sent a word, the time is up or somebody interrupts; return who has not."""
        awaited = sides or self.sides
        missing = {side for side in awaited if what != "result" or side not in self._recording.results}
        deadline = time.monotonic() + seconds
        while missing and not self.interrupted and (left := deadline - time.monotonic()) > 0:
            try:
                side, message = self.news.get(timeout=min(left, 0.5))
            except queue.Empty:
                continue
            self._take(side, message)
            if message is not None and what in message:
                missing.discard(side)
        return missing

    @contextmanager
    def heeding_ctrl_c(self) -> Iterator[None]:
        """Take the first Ctrl-C as a wish, to be seen to at the next news, not in the middle of a drawing."""

        def heed(number: int, frame: FrameType | None) -> None:
            if self.interrupted:
                signal.default_int_handler(number, frame)
            self.interrupted = True

        before = signal.signal(signal.SIGINT, heed)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _take(self, side: str, message: dict[str, Any] | None) -> None:
        if message is None:
            if side not in self._recording.results:
                raise SideFailed(f"the {side} side ended before its time:\n{self.sides[side].complaints()}")
        elif "sample" in message:
            self._recording.samples[side].append(Sample(**message["sample"]))
            self._show()
        elif "crowd" in message:
            self._recording.crowds[side] = message["crowd"]
        elif "result" in message:
            self._recording.results[side] = Result(**message["result"])


def conduct(
    stage: Stage,
    story: Story,
    plan: Plan,
    recording: Recording,
    show: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    """Run both sides as planned, and fill in the recording.

    Ctrl-C ends the offering early; what was seen until then is kept, and the recording says so.

    Args:
        stage: Where.
        story: With which clients, and in which words.
        plan: What is offered.
        recording: Takes what the sides report.
        show: Called after each sample.
        say: Told, in a line each, what is going on.

    Raises:
        SideFailed: One of the processes ended, or did not answer.
    """
    with ExitStack() as stack:
        conductor = _Conductor(recording, show)
        for side in SIDES:
            conductor.sides[side] = stack.enter_context(
                _SideProcess(side, story.client, stage, plan, conductor.news)
            )
        _expect(conductor.wait_for("ready", _READY_WITHIN), "connected")
        if plan.crowd:
            _let_crowds_pass(conductor, story, plan, recording, say)
        stage.limit()
        with conductor.heeding_ctrl_c():
            conductor.tell("go")
            conductor.wait_for("over", plan.seconds + _OVERTIME)
        recording.interrupted, conductor.interrupted = conductor.interrupted, False
        conductor.tell("stop")
        say(
            "No more is offered: the limit is lifted, and what is still in the clients gets a moment to arrive."
        )
        stage.lift()
        patience = _DRAIN_WHEN_INTERRUPTED if recording.interrupted else _DRAIN
        conductor.tell(f"drain {patience}")
        _expect(conductor.wait_for("result", patience + _OVERTIME + 5), "finished")


def _let_crowds_pass(
    conductor: _Conductor, story: Story, plan: Plan, recording: Recording, say: Callable[[str], None]
) -> None:
    """Have each side's crowd send, one after the other, so that they do not share the processor."""
    say(f"First {plan.crowd:,} tasks send one record each, all at once; nothing limits them yet.")
    for side in SIDES:
        conductor.sides[side].tell("crowd")
        _expect(conductor.wait_for("crowd", _CROWD_WITHIN, side), "done with the crowd")
        say(story.crowd_passed(side, plan, recording.crowds[side]))


def _expect(missing: set[str], what: str) -> None:
    if missing:
        raise SideFailed(f"not {what} in time: {', '.join(sorted(missing))}")
