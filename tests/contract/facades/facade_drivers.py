"""Drivers that give the same verbs for every facade, and remember what was told of each record.

A test offers records through a `Driver` and compares what became of them; when it is over, `Driver.settle` closes the
producer and compares what was told with the ledger. One more facade is one more small class.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import uvloop
from attrs import define, field

from kafka_throttle import Producer, Rejected, Throttle
from kafka_throttle._adapters.aiokafka_errors import as_kafka_error
from kafka_throttle.aio import AIOKafkaProducer, AIOProducer, Spilled
from kafka_throttle.exceptions import Shed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from kafka_throttle import Statistics

# Seconds; only reached when something never happens.
NEVER = 20.0
# Rounds of a loop after which everything that is ready has happened.
_ROUNDS = 20


class Outcome(NamedTuple):
    """What a caller was told of a record: "delivered", "on disk", "shed" by a policy for a reason, or "failed" for one."""

    kind: str
    policy: str = ""
    reason: str = ""


DELIVERED = Outcome("delivered")
ON_DISK = Outcome("on disk")


def shed(policy: str, reason: str) -> list[Outcome]:
    """Return all that is told of a record that was given up."""
    return [Outcome("shed", policy, reason)]


@define(eq=False)
class Offer:
    """One record, and what its caller was told.

    Attributes:
        rejected: The reason for which it was not accepted.
        over: Whether the call has returned, or raised.
        told: What its callback or its future was told.
    """

    topic: str
    value: bytes
    key: bytes | None
    rejected: str | None = None
    over: bool = False
    told: list[Outcome] = field(factory=list)

    @property
    def size(self) -> int:
        return len(self.value) + len(self.key or b"")


class Driver(ABC):
    """One producer.

    Attributes:
        tells_commit: Whether a caller is told when its record is on disk.
        offers: The records that were offered, in order.
        withdrawn: Those of them whose callers were cancelled, and who are told of nothing any more.
    """

    tells_commit: ClassVar[bool] = True

    def __init__(self) -> None:
        self.producer: Any = None
        self.topics: dict[str, str] = {}
        self.offers: list[Offer] = []
        self.withdrawn: list[Offer] = []
        self.closed = False

    @abstractmethod
    def open(self, bootstrap: str, throttle: Throttle, patience: float) -> None:
        """Make the producer, which keeps a record for `patience` seconds and knows the topics."""

    @abstractmethod
    def offer(self, value: bytes, key: bytes | None = None, topic: str = "kept", **how: Any) -> Offer:
        """Offer a record, and wait until it is accepted or refused."""

    @abstractmethod
    def begin(self, value: bytes, key: bytes | None = None, topic: str = "kept") -> Offer:
        """Offer a record that has to wait; return when it does."""

    @abstractmethod
    def until(self, condition: Callable[[], object]) -> None:
        """Have callbacks run until something is so."""

    @abstractmethod
    def serve(self) -> None:
        """Have those callbacks run that are due."""

    @abstractmethod
    def flush(self, seconds: float = NEVER / 2) -> int: ...

    @abstractmethod
    def drain(self, seconds: float) -> int: ...

    @abstractmethod
    def close(self, seconds: float = NEVER / 2) -> None: ...

    def new(self, value: bytes, key: bytes | None, topic: str = "kept") -> Offer:
        """Enter a record into the books, which is then offered."""
        self.offers.append(Offer(self.topics[topic], value, key))
        return self.offers[-1]

    def forget(self, offer: Offer) -> None:
        """Take note that the caller of a record was cancelled."""
        self.offers.remove(offer)
        self.withdrawn.append(offer)

    def statistics(self) -> Statistics:
        return self.producer.statistics()  # type: ignore[no-any-return]

    def places(self) -> dict[str, int]:
        """Return the ledger's places that are not empty, when it adds up in records and in bytes."""
        now = self.statistics()
        assert now.offered == sum(now.places().values())
        assert now.offered_bytes == sum(now.places("bytes").values())
        return {place: count for place, count in now.places().items() if count}

    def told(self) -> dict[str, list[Outcome]]:
        """Return what was told of each record, by its value."""
        return {offer.value.decode(): offer.told for offer in self.offers}

    def settle(self) -> None:
        """Close, and compare what was told with the ledger: each record has one outcome, and nobody waits."""
        self.close(0.0)
        now, place = self.statistics(), self.places()
        assert now.waiting == now.deferred_callbacks == 0
        assert not {"in_flight", "held"} & set(place)
        assert all(offer.over for offer in self.offers)
        if self.offers:  # else it is only the heir of a directory
            self._compare(now.places(), lambda offer: 1)
            self._compare(now.places("bytes"), lambda offer: offer.size)

    def _compare(self, ledger: dict[str, int], weigh: Callable[[Offer], int]) -> None:
        told: Counter[str] = Counter()
        for offer in self.offers:
            told[self._kind_of(offer)] += weigh(offer)
        assert told["rejected"] == ledger["rejected"]
        # What is on disk may become anything yet, and so may what was on its way there when its caller was cancelled.
        open_ended = told["on disk"] + sum(map(weigh, self.withdrawn))
        for kind in ("delivered", "shed"):
            assert told[kind] <= ledger[kind] <= told[kind] + open_ended
        failed = ledger["failed"] + ledger["unknown"] + ledger["dead_lettered"]
        ended_so = told["failed"] + told["dead_lettered"]
        assert ended_so <= failed <= ended_so + open_ended

    def _kind_of(self, offer: Offer) -> str:
        """Return what came of a record, which is exactly one thing."""
        if offer.rejected is not None:
            assert offer.told == []
            return "rejected"
        if not offer.told:
            assert not self.tells_commit, f"nothing was told of {offer.value!r}"
            return "on disk"
        (outcome,) = offer.told
        return "dead_lettered" if outcome.policy == "DeadLetter" else outcome.kind


class Blocking(Driver):
    """`kafka_throttle.Producer`; who has to wait is a thread."""

    tells_commit = False

    def open(self, bootstrap: str, throttle: Throttle, patience: float) -> None:
        self.producer = Producer(librdkafka_conf(bootstrap, patience), throttle=throttle)
        self._threads = ThreadPoolExecutor(16)
        self._calls: list[Future[None]] = []

    def _produce(self, offer: Offer, how: dict[str, Any]) -> None:
        def report(error: Any, message: Any) -> None:
            assert message.value() == offer.value
            offer.told.append(outcome_of_report(error))

        try:
            self.producer.produce(offer.topic, offer.value, offer.key, on_delivery=report, **how)
        except Rejected as error:
            offer.rejected = error.reason
        except RuntimeError:  # the client's own, when it is closed
            offer.rejected = "closed"
        finally:
            offer.over = True

    def offer(self, value: bytes, key: bytes | None = None, topic: str = "kept", **how: Any) -> Offer:
        offer = self.new(value, key, topic)
        self._produce(offer, how)
        return offer

    def begin(self, value: bytes, key: bytes | None = None, topic: str = "kept") -> Offer:
        offer = self.new(value, key, topic)
        waiting = self.statistics().waiting
        self._calls.append(self._threads.submit(self._produce, offer, {}))
        self.until(lambda: offer.over or self.statistics().waiting > waiting)
        return offer

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + NEVER
        while not condition():
            assert time.monotonic() < deadline, "it never happened"
            self.producer.poll(0.001)

    def serve(self) -> None:
        self.producer.poll(0)

    def flush(self, seconds: float = NEVER / 2) -> int:
        return self.producer.flush(seconds)  # type: ignore[no-any-return]

    def drain(self, seconds: float) -> int:
        return self.producer.drain(seconds)  # type: ignore[no-any-return]

    def close(self, seconds: float = NEVER / 2) -> None:
        if not self.closed:
            self.closed = True
            self.producer.close(timeout=seconds)
            self._threads.shutdown()
            for call in self._calls:
                call.result()


class Tasks(Driver):
    """A facade on an event loop; who has to wait is a task. The loop runs while a verb is under way.

    Args:
        new_loop: Makes the loop.
    """

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        super().__init__()
        self.loop = new_loop()
        self.problems: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.problems.append(context))
        self.futures: dict[Offer, asyncio.Future[Any]] = {}
        self.tasks: dict[Offer, asyncio.Task[None]] = {}

    @abstractmethod
    async def produce(self, offer: Offer, how: dict[str, Any]) -> asyncio.Future[Any]: ...

    @abstractmethod
    def outcome_of_error(self, error: BaseException) -> Outcome: ...

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, NEVER))

    async def carry_out(self, offer: Offer, **how: Any) -> None:
        """Offer a record, and follow its future."""
        try:
            future = await self.produce(offer, how)
        except Rejected as error:
            offer.rejected = error.reason
        else:
            self.futures[offer] = future
            future.add_done_callback(partial(self._take, offer))
        finally:
            offer.over = True

    def _take(self, offer: Offer, future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            outcome = Outcome("cancelled")
        elif (error := future.exception()) is not None:
            outcome = self.outcome_of_error(error)
        else:
            outcome = ON_DISK if isinstance(future.result(), Spilled) else DELIVERED
        offer.told.append(outcome)

    def offer(self, value: bytes, key: bytes | None = None, topic: str = "kept", **how: Any) -> Offer:
        offer = self.new(value, key, topic)
        self.run(self.carry_out(offer, **how))
        return offer

    def begin(self, value: bytes, key: bytes | None = None, topic: str = "kept") -> Offer:
        offer = self.new(value, key, topic)
        waiting = self.statistics().waiting
        self.tasks[offer] = self.loop.create_task(self.carry_out(offer))
        self.until(lambda: offer.over or self.statistics().waiting > waiting)
        return offer

    def withdraw(self, offer: Offer) -> None:
        """Cancel the task of an offer that waits."""
        task = self.tasks.pop(offer)
        task.cancel()
        self.until(task.done)
        self.forget(offer)

    def until(self, condition: Callable[[], object]) -> None:
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.001)

        self.run(wait())

    def serve(self) -> None:
        async def some_rounds() -> None:
            for _ in range(_ROUNDS):
                await asyncio.sleep(0)

        self.run(some_rounds())

    def flush(self, seconds: float = NEVER / 2) -> int:
        return self.run(self.producer.flush(seconds))  # type: ignore[no-any-return]

    def drain(self, seconds: float) -> int:
        return self.run(self.producer.drain(seconds))  # type: ignore[no-any-return]

    def close(self, seconds: float = NEVER / 2) -> None:
        if not self.closed:
            self.closed = True
            self.run(self.stop(seconds))

    @abstractmethod
    async def stop(self, seconds: float) -> None: ...

    def settle(self) -> None:
        self.close(0.0)
        self.serve()
        for task in self.tasks.values():
            self.until(task.done)
            task.result()
        assert [offer for offer, future in self.futures.items() if not future.done()] == []
        super().settle()
        self.run(self.loop.shutdown_default_executor())
        assert asyncio.all_tasks(self.loop) == set()
        self.loop.close()
        assert self.problems == []


class AIOKafka(Tasks):
    """`kafka_throttle.aio.AIOKafkaProducer`."""

    def open(self, bootstrap: str, throttle: Throttle, patience: float) -> None:
        async def start() -> None:
            self.producer = AIOKafkaProducer(
                bootstrap_servers=bootstrap,
                throttle=throttle,
                request_timeout_ms=int(1000 * patience),
                retry_backoff_ms=5,
            )
            await self.producer.start()
            for topic in self.topics.values():
                await self.producer.partitions_for(topic)

        self.run(start())

    async def produce(self, offer: Offer, how: dict[str, Any]) -> asyncio.Future[Any]:
        return await self.producer.send(offer.topic, offer.value, offer.key, **how)  # type: ignore[no-any-return]

    def outcome_of_error(self, error: BaseException) -> Outcome:
        if isinstance(error, Shed):
            return Outcome("shed", error.policy, error.reason)
        return Outcome("failed", reason=as_kafka_error(error).name())

    async def stop(self, seconds: float) -> None:
        await self.producer.stop(seconds)


class Confluent(Tasks):
    """`kafka_throttle.aio.AIOProducer`."""

    def open(self, bootstrap: str, throttle: Throttle, patience: float) -> None:
        async def start() -> None:
            self.producer = AIOProducer(librdkafka_conf(bootstrap, patience), throttle=throttle)

        self.run(start())

    async def produce(self, offer: Offer, how: dict[str, Any]) -> asyncio.Future[Any]:
        return await self.producer.produce(offer.topic, offer.value, key=offer.key, **how)  # type: ignore[no-any-return]

    def outcome_of_error(self, error: BaseException) -> Outcome:
        if isinstance(error, Shed):
            return Outcome("shed", error.policy, error.reason)
        return outcome_of_report(error.args[0])

    async def stop(self, seconds: float) -> None:
        await self.producer.close(seconds)


def librdkafka_conf(bootstrap: str, patience: float) -> dict[str, Any]:
    return {
        "bootstrap.servers": bootstrap,
        "log_level": 0,
        "linger.ms": 0,
        "message.timeout.ms": int(1000 * patience),
        "reconnect.backoff.ms": 1,
        "reconnect.backoff.max.ms": 10,
        "retry.backoff.ms": 5,
        "retry.backoff.max.ms": 10,
        "max.in.flight.requests.per.connection": 1,  # or what is tried again is overtaken
    }


def outcome_of_report(error: Any) -> Outcome:
    if error is None:
        return DELIVERED
    if hasattr(error, "policy"):
        return Outcome("shed", error.policy, error.reason)
    return Outcome("failed", reason=error.name())


DRIVERS: dict[str, Callable[[], Driver]] = {
    "Producer": Blocking,
    "AIOKafkaProducer": lambda: AIOKafka(asyncio.new_event_loop),
    "AIOKafkaProducer-uvloop": lambda: AIOKafka(uvloop.new_event_loop),
    "AIOProducer": lambda: Confluent(asyncio.new_event_loop),
    "AIOProducer-uvloop": lambda: Confluent(uvloop.new_event_loop),
}
