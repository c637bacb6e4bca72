"""Every form is tried on the client's own class and on the facade, and the two have to agree."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import confluent_kafka
import pytest
import uvloop

import kafka_throttle
from kafka_throttle.aio import AIOProducer
from kafka_throttle.brokers import MockKafka

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

QUIET = {"linger.ms": 1, "log_level": 0}


def outcome(call: Callable[[], Any]) -> tuple[str, ...]:
    """Return what came of a call, in words that can be compared: its result, or its exception with its text."""
    try:
        result = call()
    except Exception as error:  # noqa: BLE001 - whatever it is, both have to raise it
        return "raised", _client_type(error), str(error)
    return "returned", repr(result)


def _client_type(error: BaseException) -> str:
    """Return the name of the exception as an application knows it: Rejected is a BufferError."""
    return "BufferError" if isinstance(error, BufferError) else type(error).__name__


def adds_up(producer: kafka_throttle.Producer | AIOProducer) -> bool:
    """Return whether each record that was offered has one outcome, and none is in flight."""
    s = producer.statistics()
    settled = s.offered == sum(s.places().values())
    weighed = s.offered_bytes == sum(s.places("bytes").values())
    return settled and weighed and s.in_flight == 0 and s.deferred_callbacks == 0


class Sides:
    """Makes producers of both kinds, and settles them at the end."""

    outcome = staticmethod(outcome)
    classes = (confluent_kafka.Producer, kafka_throttle.Producer)

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.facades: list[kafka_throttle.Producer] = []
        self.stocks: list[confluent_kafka.Producer] = []

    def stock(self, **conf: Any) -> confluent_kafka.Producer:
        self.stocks.append(confluent_kafka.Producer({"bootstrap.servers": self.bootstrap, **QUIET, **conf}))
        return self.stocks[-1]

    def facade(self, **conf: Any) -> kafka_throttle.Producer:
        self.facades.append(kafka_throttle.Producer({"bootstrap.servers": self.bootstrap, **QUIET, **conf}))
        return self.facades[-1]

    def adopt(self, producer: Any) -> Any:
        """Settle a producer that was made by hand as well."""
        (self.facades if isinstance(producer, kafka_throttle.Producer) else self.stocks).append(producer)
        return producer

    def compare(self, form: Callable[[Any], Any], **conf: Any) -> tuple[str, ...]:
        """Try a form on a new producer of each kind; return what both came to."""
        stock = outcome(lambda: form(self.stock(**conf)))
        facade = outcome(lambda: form(self.facade(**conf)))
        assert facade == stock
        return stock

    def settle(self) -> None:
        for producer in (*self.stocks, *self.facades):
            for _ in range(3):  # callbacks of the test may raise
                outcome(lambda p=producer: p.flush(10))  # type: ignore[misc]
        for producer in self.facades:
            assert adds_up(producer), producer.statistics()


@pytest.fixture(scope="session")
def bootstrap() -> Iterator[str]:
    """The address of a mock cluster with a topic of two partitions, for the whole run."""
    with MockKafka() as cluster:
        cluster.create_topic("topic", partitions=2)
        yield cluster.bootstrap


@pytest.fixture
def sides(bootstrap: str) -> Iterator[Sides]:
    """Both kinds of producers."""
    made = Sides(bootstrap)
    yield made
    made.settle()


@pytest.fixture(params=["stock", "facade"])
def make(request: pytest.FixtureRequest, sides: Sides) -> Any:
    """Make a producer, of each kind in turn: for tests that say themselves what has to come out."""
    return getattr(sides, request.param)


class Loops:
    """Runs coroutines on one event loop, which complains of whatever touches it from elsewhere.

    Attributes:
        bootstrap: The address of the mock cluster.
        complaints: What the loop's exception handler was told.
    """

    def __init__(self, bootstrap: str, loop: asyncio.AbstractEventLoop) -> None:
        self.bootstrap = bootstrap
        self.complaints: list[dict[str, Any]] = []
        self.made: list[AIOProducer] = []
        self._loop = loop
        loop.set_debug(True)  # futures that are touched in another thread raise
        loop.slow_callback_duration = 60
        loop.set_exception_handler(lambda _, context: self.complaints.append(context))

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(main, 60))

    def producer(
        self,
        bootstrap: str | None = None,
        throttle: Any = None,
        cls: type[AIOProducer] = AIOProducer,
        executor: Any = None,
        **conf: Any,
    ) -> AIOProducer:
        """Make a producer, whose records are accounted for at the end."""
        settings = {"bootstrap.servers": bootstrap or self.bootstrap, **QUIET, **conf}
        self.made.append(cls(settings, executor=executor, throttle=throttle))
        return self.made[-1]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop run until a condition holds."""
        while not condition():
            await asyncio.sleep(0.001)

    def expected(self) -> list[dict[str, Any]]:
        """Return what the handler was told, as it had to be."""
        complaints, self.complaints = self.complaints, []
        return complaints

    def read(self, message: Any) -> Any:
        """Return a record as a consumer sees it."""
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": self.bootstrap, "group.id": "test", "log_level": 0}
        )
        try:
            consumer.assign(
                [confluent_kafka.TopicPartition(message.topic(), message.partition(), message.offset())]
            )
            return consumer.consume(1, 30)[0]
        finally:
            consumer.close()

    def settle(self) -> None:
        """End everything, and see that it adds up."""

        async def close() -> None:
            for producer in self.made:
                await producer.close(5)

        self.run(close())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        for producer in self.made:
            assert producer._admission.throttle.enabled is False or adds_up(producer), producer.statistics()
        assert self.complaints == []


@pytest.fixture(params=["asyncio", "uvloop"])
def loops(request: pytest.FixtureRequest, bootstrap: str) -> Iterator[Loops]:
    """An event loop of each kind."""
    new_loop = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop
    made = Loops(bootstrap, new_loop())
    yield made
    made.settle()
