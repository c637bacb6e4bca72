"""One side of the demo, in a process of its own so that the two do not share an interpreter.

    python -m kafka_throttle.cli.demo.process '{"side": "bare", "client": "confluent_kafka", "topic": ..., ...}'

It writes one JSON object a line: {"ready": true}, {"crowd": seconds}, {"sample": {...}} four times a second,
{"over": true} when it stops to offer, {"result": {...}}. It obeys words on its standard input: "crowd", to have a crowd
of tasks send at once; "go"; "stop", to stop before the time is up; "drain N", to give the client N more seconds. When
its input ends, so does it: the demo is gone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from queue import Queue
from typing import TYPE_CHECKING, Any, Protocol

from attrs import asdict

from kafka_throttle.cli.demo.figures import TICK, Plan

if TYPE_CHECKING:
    from kafka_throttle.cli.demo.figures import Result, Sample

__all__ = ["AnySide"]

_CONNECT_TIMEOUT = 15.0


class AnySide(Protocol):
    """What offers records to one producer, and keeps account.

    Attributes:
        stop: Set, from any thread, to have `offer` return before its time.
    """

    stop: threading.Event

    def crowd(self) -> float | None:
        """Have a crowd of tasks send at once; return how long that took in seconds, None when it took too long."""
        ...

    def offer(self) -> None:
        """Offer what is due, until the time is up or somebody says stop."""
        ...

    def standing(self) -> tuple[int, int]:
        """Return how many records are delivered and how many are in the client."""
        ...

    def sample(self) -> Sample:
        """Return how it stands; to be called once a tick, from any thread."""
        ...

    def drain(self, seconds: float, offered_for: float, at_end: tuple[int, int]) -> Result:
        """Give the client so many seconds for what it still has, and return the account."""
        ...


class _Conversation:
    """The words that come in, and the lines that go out."""

    def __init__(self, side: AnySide) -> None:
        self._side = side
        self._orders: Queue[list[str]] = Queue()
        self._writing = threading.Lock()

    def tell(self, **message: Any) -> None:
        with self._writing:
            print(json.dumps(message), flush=True)  # noqa: T201 - this is how it talks

    def listen(self) -> None:
        """Take orders until there is nobody left to give them."""
        unfinished = b""
        # os.read, because a thread inside sys.stdin's lock disturbs the end of the interpreter.
        while data := os.read(0, 4096):
            *orders, unfinished = (unfinished + data).split(b"\n")
            for order in orders:
                if order == b"stop":
                    self._side.stop.set()
                else:
                    self._orders.put(order.decode().split())
        os._exit(1)

    def hold(self) -> None:
        self.tell(ready=True)
        while self._orders.get() == ["crowd"]:
            self.tell(crowd=self._side.crowd())
        began = time.perf_counter()
        over = threading.Event()
        sampling = threading.Thread(target=self._sample_until, args=(over,), daemon=True)
        sampling.start()
        self._side.offer()
        offered_for = time.perf_counter() - began
        at_end = self._side.standing()
        over.set()
        sampling.join()
        self.tell(over=True)
        _, seconds = self._orders.get()
        self.tell(result=asdict(self._side.drain(float(seconds), offered_for, at_end)))

    def _sample_until(self, over: threading.Event) -> None:
        while not over.wait(TICK):
            self.tell(sample=asdict(self._side.sample()))


def _make_side(side: str, client: str, topic: str, settings: dict[str, Any], plan: Plan) -> AnySide:
    # Each side loads what it needs, and nothing of the other.
    if client == "aiokafka":
        from kafka_throttle.cli.demo.asyncio_side import AsyncSide, connector  # noqa: PLC0415

        return AsyncSide(connector(side, settings, topic, _CONNECT_TIMEOUT), topic, plan)
    from kafka_throttle.cli.demo.side import Side  # noqa: PLC0415

    producer = _producer(side, settings)
    producer.list_topics(topic, timeout=_CONNECT_TIMEOUT)
    return Side(producer, topic, plan)


def _producer(side: str, settings: dict[str, Any]) -> Any:
    if side == "bare":
        from confluent_kafka import Producer as BareProducer  # noqa: PLC0415 - as above

        return BareProducer(settings)
    from kafka_throttle import Producer  # noqa: PLC0415 - as above

    return Producer(settings)


def _main(given: str) -> None:
    order = json.loads(given)
    conversation = _Conversation(_make_side(**{**order, "plan": Plan(**order["plan"])}))
    threading.Thread(target=conversation.listen, daemon=True).start()
    conversation.hold()
    sys.stdout.flush()
    os._exit(0)  # what the client still has was given its time; destroying it would wait for more


if __name__ == "__main__":
    _main(sys.argv[1])
