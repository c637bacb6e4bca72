"""The asyncio clients under test, as a table: the acts treat all of them alike."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from attrs import define, frozen

if TYPE_CHECKING:
    from asyncio import Future, Task
    from collections.abc import Awaitable, Callable, Mapping

    Submit = Callable[[str, bytes], Awaitable[Future[Any]]]

__all__ = ["KINDS", "SIDES", "WARM_UP_RECORDS", "Client", "Kind", "open_client"]

SIDES = ("bare", "facade")

WARM_UP_RECORDS = 8
"""Records that each client sends before anything is measured."""


@frozen
class Kind:
    """A client, and the facade in its place.

    Attributes:
        bare: Where the bare client's class is, as ``module:name``.
        facade: Where the facade's class is; it is imported in the facade's own process only.
        make: Takes a class, bootstrap, client id, settings in the client's own words, and more keyword arguments.
        submit: Name of the coroutine method that takes a record and returns the future of its delivery.
        start: Name of the coroutine method that connects; None: the constructor does.
        stop: Name of the coroutine method that ends it.
        abandon: Name of the coroutine method that gives up what is buffered, so that stop() ends; None: it ends anyway.
    """

    bare: str
    facade: str
    make: Callable[[Any, str, str, Mapping[str, Any], Mapping[str, Any]], Any]
    submit: str
    start: str | None
    stop: str
    abandon: str | None


def _make_with_keywords(
    cls: Any, bootstrap: str, client_id: str, settings: Mapping[str, Any], more: Mapping[str, Any]
) -> Any:
    return cls(bootstrap_servers=bootstrap, client_id=client_id, acks="all", **settings, **more)


def _make_with_dict(
    cls: Any, bootstrap: str, client_id: str, settings: Mapping[str, Any], more: Mapping[str, Any]
) -> Any:
    config = {"bootstrap.servers": bootstrap, "client.id": client_id, "acks": "all", **settings}
    return cls(config, **more)


KINDS = {
    "AIOKafkaProducer": Kind(
        bare="aiokafka:AIOKafkaProducer",
        facade="kafka_throttle.aio:AIOKafkaProducer",
        make=_make_with_keywords,
        submit="send",
        start="start",
        stop="stop",
        abandon=None,
    ),
    "AIOProducer": Kind(
        bare="confluent_kafka.aio:AIOProducer",
        facade="kafka_throttle.aio:AIOProducer",
        make=_make_with_dict,
        submit="produce",
        start=None,
        stop="close",
        abandon="purge",
    ),
}
"""By the name of the class."""


@define
class Client:
    """A connected client and the topic that it writes to.

    Attributes:
        kind: Which one it is.
        producer: It.
        topic: Where the records go.
        submit: Its method that takes a topic and a value, and returns the future of the delivery.
        waiting: Tasks that an act has left waiting.
    """

    kind: Kind
    producer: Any
    topic: str
    submit: Submit
    waiting: tuple[Task[None], ...] = ()

    async def warm_up(self) -> None:
        """Learn the topic's partitions with some records."""
        futures = [await self.submit(self.topic, b"first") for _ in range(WARM_UP_RECORDS)]
        for future in futures:
            await future

    async def abandon(self) -> None:
        """Give up what is buffered."""
        if self.kind.abandon is not None:
            await getattr(self.producer, self.kind.abandon)()

    async def stop(self) -> None:
        """Deliver what is buffered, and end."""
        await getattr(self.producer, self.kind.stop)()


async def open_client(
    name: str,
    side: str,
    bootstrap: str,
    topic: str,
    settings: Mapping[str, Any],
    throttle: Mapping[str, Any],
) -> Client:
    """Return a connected client.

    Args:
        name: A key of `KINDS`.
        side: One of `SIDES`.
        bootstrap: The broker's address.
        topic: Where the records go; the client's id, too.
        settings: Settings in the client's own words.
        throttle: The facade's configuration as a mapping; for the bare client it does not count.
    """
    kind = KINDS[name]
    more = {} if side == "bare" else {"throttle": _loaded(throttle)}
    producer = kind.make(resolve_name(getattr(kind, side)), bootstrap, topic, settings, more)
    if kind.start is not None:
        await getattr(producer, kind.start)()
    return Client(kind, producer, topic, getattr(producer, kind.submit))


def _loaded(throttle: Mapping[str, Any]) -> Any:
    from kafka_throttle.config import load  # noqa: PLC0415 - the bare client's process must not have it

    return load(throttle)
