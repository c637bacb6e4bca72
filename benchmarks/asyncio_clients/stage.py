"""A running Kafka and the workers that take turns on it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import frozen

from benchmarks.asyncio_clients.clients import SIDES
from benchmarks.child import Child

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.broker import Broker

__all__ = ["Stage", "Worker"]

# glibc gives the freed end of the heap back, and has it faulted in again by the next burst. Whether a process is hit
# depends on what happens to lie there: it makes bursts of the very same client differ by a tenth. Now none is hit.
_KEEPS_ITS_HEAP = {
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
    "MALLOC_MMAP_MAX_": "0",
}


@frozen
class Worker:
    """A client in a process of its own, connected and warm.

    Attributes:
        topic: Where its records go; the client's id, too.
    """

    topic: str
    _child: Child

    def ask(self, act: str, **parameters: Any) -> dict[str, Any]:
        """Have an act performed and return what came out.

        Args:
            act: A key of `ACTS`.
            parameters: What it is to be performed with.
        """
        return self._child.ask({"act": act, "parameters": parameters})


@frozen
class Stage:
    """A running Kafka, in one of the rounds.

    Attributes:
        broker: The Kafka.
        scratch: A directory on the disk, for what is spooled.
        round_number: Which round it is, from 0.
        scale: What durations and numbers are multiplied with: below 1 in a smoke run.
    """

    broker: Broker
    scratch: Path
    round_number: int = 0
    scale: float = 1.0

    @property
    def sides(self) -> tuple[str, ...]:
        """Bare and facade: who is first changes from round to round, so that neither always has the fresher machine."""
        return SIDES if self.round_number % 2 == 0 else SIDES[::-1]

    def scaled(self, number: int) -> int:
        """Return a number as it is, or so small that a smoke run is short."""
        return max(1, round(number * self.scale))

    @contextmanager
    def worker(
        self,
        client: str,
        side: str,
        *,
        settings: Mapping[str, Any] | None = None,
        throttle: Mapping[str, Any] | None = None,
    ) -> Iterator[Worker]:
        """Have a client with a topic of its own, for the length of a with block.

        Args:
            client: A key of `KINDS`.
            side: One of `SIDES`.
            settings: Settings in the client's own words.
            throttle: The facade's configuration as a mapping; by default the one that it has by itself.
        """
        topic = f"{client}-{side}-{self.round_number}"
        self.broker.prepare(topic, client_id=topic)
        job = {
            "client": client,
            "side": side,
            "bootstrap": self.broker.kafka.bootstrap,
            "topic": topic,
            "settings": dict(settings or {}),
            "throttle": dict(throttle or {}),
        }
        with _worker_process() as child:
            child.ask(job)
            yield Worker(topic, child)
        self.broker.forget(topic)

    @contextmanager
    def loop(self) -> Iterator[Worker]:
        """Have a worker that has no client, only an event loop, for the length of a with block."""
        with _worker_process() as child:
            child.ask({"client": None})
            yield Worker("", child)

    @contextmanager
    def paused_broker(self) -> Iterator[None]:
        """Have a broker that keeps its connections and answers nothing, for the length of a with block."""
        self.broker.kafka.pause()
        try:
            yield
        finally:
            self.broker.kafka.resume()


def _worker_process() -> Child:
    return Child("benchmarks.asyncio_clients.worker", _KEEPS_ITS_HEAP)
