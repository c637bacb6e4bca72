"""The examples do what they say, on real Kafka."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import signal
import subprocess
import sys
import uuid
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from kafka_throttle import DropOldest, Fixed, Rule, Spill, Throttle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

    from fastapi import FastAPI

    from kafka_throttle.brokers import KafkaCluster

pytestmark = pytest.mark.integration

EXAMPLES = Path(__file__).parents[2] / "examples"
# One record at a time: on any machine many requests at once are more than Kafka takes.
NARROW = Fixed(1)


def environment(kafka: KafkaCluster) -> dict[str, str]:
    return {**os.environ, "KAFKA_THROTTLE_BOOTSTRAP": kafka.bootstrap}


def test_the_plain_script_says_what_became_of_every_record(local_kafka: KafkaCluster) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "plain_asyncio.py"],
        env=environment(local_kafka),
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )

    *topics, ledger = done.stdout.splitlines()
    counts = {
        line.partition(":")[0]: [int(count) for count in re.findall(r"\d+(?= [dsgn])", line)]
        for line in topics
    }
    assert {topic: sum(seen) for topic, seen in counts.items()} == dict.fromkeys(
        ("example-orders", "example-clicks", "example-mails"), 2_000
    )
    assert "example-mails: 2000 delivered" in topics
    offered, _, places = ledger.partition(" offered = ")
    assert int(offered) == sum(int(count) for count in re.findall(r"\d+", places)) == 6_000


def test_the_faststream_app_publishes_through_the_facade(local_kafka: KafkaCluster) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "error", EXAMPLES / "faststream_app.py"],
        env=environment(local_kafka),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = list(iter(process.stderr.readline, "INFO:invoices:1000 orders\n"))
        process.send_signal(signal.SIGINT)
        said += process.stderr

    assert process.returncode == 0
    # 1 000 orders, as many invoices, and 10 times news.
    assert "INFO:invoices:At the end: 2010 delivered\n" in said


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # FastAPI looks the annotations up there
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client,
    ):
        yield client


async def post_all(client: httpx.AsyncClient, topic: str, events: int) -> list[httpx.Response]:
    """Post so many events at once."""
    return await asyncio.gather(*(client.post(f"/events/{topic}", content=b"{}") for _ in range(events)))


def statuses(responses: list[httpx.Response]) -> set[int]:
    return {response.status_code for response in responses}


@pytest.fixture
def ingest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.chdir(tmp_path)  # where its spool is
    return load("fastapi_ingest")


@pytest.fixture
def topic(local_kafka: KafkaCluster) -> str:
    name = f"t-{uuid.uuid4().hex[:12]}"
    local_kafka.create_topic(name)
    return name


def test_the_web_service_takes_events(local_kafka: KafkaCluster, ingest: ModuleType, topic: str) -> None:
    async def run() -> tuple[list[httpx.Response], dict[str, Any]]:
        async with client_of(ingest.create_app(local_kafka.bootstrap)) as client:
            return await post_all(client, topic, 20), (await client.get("/health")).json()

    responses, health = asyncio.run(run())

    assert [(r.status_code, r.json()) for r in responses] == [(202, {"event": "delivered"})] * 20
    assert sum(local_kafka.end_offsets(topic).values()) == 20
    assert (health["status"], health["in_flight"], health["losses"]) == ("ok", 0, [])


def test_what_finds_no_room_in_time_is_answered_with_503_and_a_time(
    local_kafka: KafkaCluster, ingest: ModuleType, topic: str
) -> None:
    throttle = ingest.THROTTLE.evolve(limit=NARROW)

    async def run() -> tuple[list[httpx.Response], dict[str, Any]]:
        async with client_of(ingest.create_app(local_kafka.bootstrap, throttle)) as client:
            return await post_all(client, topic, 2_000), (await client.get("/health")).json()

    responses, health = asyncio.run(run())

    refused = [r for r in responses if r.status_code == 503]
    assert statuses(responses) == {202, 503}
    assert {(r.json()["error"], int(r.headers["retry-after"]) >= 1) for r in refused} == {("deadline", True)}
    assert sum(local_kafka.end_offsets(topic).values()) == len(responses) - len(refused)
    assert health["status"] == "busy"


def test_what_is_given_up_is_answered_with_429_and_stands_in_the_health(
    local_kafka: KafkaCluster, ingest: ModuleType, topic: str
) -> None:
    latest = Rule(topic, DropOldest(10), loss_approved_by="this test")

    async def run() -> tuple[list[httpx.Response], dict[str, Any]]:
        throttle = Throttle(rules=[latest], limit=NARROW)
        async with client_of(ingest.create_app(local_kafka.bootstrap, throttle)) as client:
            return await post_all(client, topic, 500), (await client.get("/health")).json()

    responses, health = asyncio.run(run())

    shed = [r for r in responses if r.status_code == 429]
    assert statuses(responses) == {202, 429}
    assert {(r.json()["error"], r.headers["retry-after"]) for r in shed} == {("DropOldest: max_records", "1")}
    assert health["losses"] == [
        {"topic": topic, "reason": "max_records", "count": len(shed), "approved_by": "this test"}
    ]


def test_what_goes_to_disk_is_answered_when_it_is_there(
    local_kafka: KafkaCluster, ingest: ModuleType, topic: str
) -> None:
    throttle = Throttle(rules=[Rule(topic, Spill("orders-spool"))], limit=NARROW)

    async def run() -> list[httpx.Response]:
        async with client_of(ingest.create_app(local_kafka.bootstrap, throttle)) as client:
            return await post_all(client, topic, 200)

    responses = asyncio.run(run())

    assert Counter(r.status_code for r in responses) == {202: 200}
    assert {r.json()["event"] for r in responses} == {"delivered", "on disk"}
    # The end of the service waits for what is on disk.
    assert sum(local_kafka.end_offsets(topic).values()) == 200


def test_an_event_that_kafka_refuses_is_answered_with_502(
    local_kafka: KafkaCluster, ingest: ModuleType, topic: str
) -> None:
    async def run() -> httpx.Response:
        async with client_of(ingest.create_app(local_kafka.bootstrap)) as client:
            return await client.post(f"/events/{topic}", content=bytes(2_000_000))

    response = asyncio.run(run())

    assert (response.status_code, response.json()) == (502, {"error": "MessageSizeTooLargeError"})
