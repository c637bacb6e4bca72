"""A web service that takes events and answers for them: 202, or "come again" while Kafka takes less than is offered.

    python examples/fastapi_ingest.py
    curl -i -d '{"page": "/basket"}' localhost:8000/events/clicks
    curl -i localhost:8000/health

It uses the Kafka that KAFKA_THROTTLE_BOOTSTRAP names, else it starts one: pip install '.[aiokafka,local]' fastapi uvicorn.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any

import uvicorn
from aiokafka.errors import KafkaError
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from kafka_throttle import Block, DropOldest, Rejected, Rule, Shed, Spill, Throttle
from kafka_throttle.aio import AIOKafkaProducer, Spilled
from kafka_throttle.brokers import ExternalKafka, LocalKafka, bootstrap_from_environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

THROTTLE = Throttle(
    rules=[
        # An order is in Kafka, or on disk on the way there, before it is answered for; when the disk is full, 503.
        Rule("orders", Spill("orders-spool", max_bytes="1 GiB", then=Block(timeout="1 s"))),
        # Of clicks the latest 1 000 wait in memory; an older one is given up and answered with 429.
        Rule("clicks", DropOldest(1_000), loss_approved_by="web team, OPS-123"),
        # A short wait lets a burst pass, and costs a task next to nothing; then 503.
        Rule("*", Block(timeout="500 ms")),
    ]
)


def create_app(bootstrap: str, throttle: Throttle = THROTTLE) -> FastAPI:
    """Return the service for a cluster."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, client_id="ingest", throttle=throttle)
        await producer.start()
        app.state.producer = producer
        try:
            yield
        finally:
            await producer.stop(timeout=20)  # less than what the orchestrator waits before it kills

    app = FastAPI(title="Ingest", lifespan=lifespan)
    app.post("/events/{topic}", status_code=202)(ingest)
    app.get("/health")(health)
    app.exception_handler(Rejected)(come_again)
    app.exception_handler(Shed)(given_up)
    app.exception_handler(KafkaError)(not_delivered)
    return app


def producer_of(request: Request) -> AIOKafkaProducer:
    """Return the producer of the service."""
    return request.app.state.producer  # type: ignore[no-any-return]


Producer = Annotated[AIOKafkaProducer, Depends(producer_of)]


async def ingest(topic: str, request: Request, producer: Producer) -> dict[str, str]:
    """Take an event: 202 says that it is in Kafka, or on disk on the way there."""
    outcome = await producer.send(topic, await request.body())
    return {"event": "on disk" if isinstance(await outcome, Spilled) else "delivered"}


async def come_again(_request: Request, rejected: Rejected) -> JSONResponse:
    """Answer that there is no room: 503, and when another try is sensible."""
    if rejected.reason == "too_large":
        return JSONResponse({"error": rejected.reason}, 413)
    return JSONResponse({"error": rejected.reason}, 503, {"Retry-After": seconds(rejected.retry_after)})


async def given_up(_request: Request, shed: Shed) -> JSONResponse:
    """Answer that there are too many of this kind: 429."""
    return JSONResponse({"error": f"{shed.policy}: {shed.reason}"}, 429, {"Retry-After": seconds(None)})


async def not_delivered(_request: Request, error: KafkaError) -> JSONResponse:
    """Answer that the delivery failed; after a timeout the event may be in Kafka all the same."""
    return JSONResponse({"error": type(error).__name__}, 502)


def seconds(after: float | None) -> str:
    """Return the value of a Retry-After header, which has whole seconds."""
    return str(max(1, ceil(after or 1)))


async def health(producer: Producer) -> dict[str, Any]:
    """Say how it stands; to be busy is no reason to be restarted, so that this is a 200 all the same."""
    now = producer.statistics()
    return {
        "status": "ok" if now.state == "open" else "busy",
        "state": now.state,
        "saturation": round(now.saturation, 3),
        "waiting": now.waiting,
        "in_flight": now.in_flight,
        "held": now.held,
        "spooled": now.spooled,
        "losses": [
            {"topic": loss.topic, "reason": loss.reason, "count": loss.count, "approved_by": loss.approved_by}
            for loss in now.losses.values()
        ],
    }


def main() -> None:
    """Find a Kafka, and serve until Ctrl-C."""
    existing = bootstrap_from_environment()
    with ExternalKafka(existing) if existing else LocalKafka() as kafka:
        uvicorn.run(create_app(kafka.bootstrap))


if __name__ == "__main__":
    main()
