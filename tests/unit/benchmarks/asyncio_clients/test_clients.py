"""Bare and facade are made alike, and differ in a class and in what configures the facade."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from benchmarks.asyncio_clients.clients import KINDS, open_client
from kafka_throttle import Throttle


class Recording:
    """Keeps what it was made with, and whether it was started."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.made_with = (arguments, keywords)
        self.started = False

    async def start(self) -> None:
        self.started = True

    async def send(self, topic: str, value: bytes) -> asyncio.Future[Any]:
        raise NotImplementedError

    produce = send


@pytest.fixture(autouse=True)
def recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.asyncio_clients.clients.resolve_name", lambda _name: Recording)


def opened(name: str, side: str, settings: dict[str, Any], throttle: dict[str, Any]) -> Recording:
    client = asyncio.run(open_client(name, side, "localhost:1", "orders", settings, throttle))
    assert isinstance(client.producer, Recording)
    return client.producer


def test_aiokafkas_settings_are_keywords_and_it_is_started() -> None:
    producer = opened("AIOKafkaProducer", "bare", {"linger_ms": 5}, {"burst": 0})
    keywords = {"bootstrap_servers": "localhost:1", "client_id": "orders", "acks": "all", "linger_ms": 5}
    assert (producer.made_with, producer.started) == (((), keywords), True)


def test_confluents_settings_are_a_dict_and_its_constructor_connects() -> None:
    producer = opened("AIOProducer", "bare", {"linger.ms": 5}, {})
    config = {"bootstrap.servers": "localhost:1", "client.id": "orders", "acks": "all", "linger.ms": 5}
    assert (producer.made_with, producer.started) == (((config,), {}), False)


@pytest.mark.parametrize("name", KINDS)
def test_only_the_facade_gets_a_throttle(name: str) -> None:
    made = {side: opened(name, side, {}, {"burst": 0}).made_with[1] for side in ("bare", "facade")}
    assert made["bare"] | {"throttle": Throttle(burst=0)} == made["facade"]
