"""Short bursts of one task: the calls, and the wait for the deliveries."""

from __future__ import annotations

import asyncio
import gc
from itertools import repeat
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable, Callable

    from benchmarks.asyncio_clients.clients import Client

    Burst = Callable[[Client, int, bytes], Awaitable[int]]

__all__ = ["batches", "one_by_one", "produces", "sends"]

_PORTION = 1000


async def sends(client: Client, records: int, bursts: int, record_bytes: int = 100) -> dict[str, Any]:
    """Return the records per second of bursts in which records are submitted one after the other."""
    return await _timed(_send, client, records, bursts, record_bytes)


async def produces(
    client: Client, records: int, bursts: int, record_bytes: int = 100, flush: bool = True
) -> dict[str, Any]:
    """Return the same with a flush() before the futures are awaited, which the bare AIOProducer is in need of."""
    return await _timed(_send_and_flush if flush else _send, client, records, bursts, record_bytes)


async def batches(client: Client, records: int, bursts: int, record_bytes: int = 100) -> dict[str, Any]:
    """Return the records per second of bursts in which the application makes the batches, as large as they may be."""
    return await _timed(_send_batches, client, records, bursts, record_bytes)


async def one_by_one(client: Client, records: int, seconds: float, record_bytes: int = 100) -> dict[str, Any]:
    """Return the seconds from each call to its delivery, where the next record waits for that of the last.

    Args:
        client: The client under test.
        records: How many at most.
        seconds: After how long no other is sent.
        record_bytes: Size of each value.
    """
    value = bytes(record_bytes)
    delays: list[float] = []
    end = perf_counter() + seconds
    while len(delays) < records and (begin := perf_counter()) < end:
        await (await client.submit(client.topic, value))
        delays.append(perf_counter() - begin)
    return {"delays": delays}


async def _timed(
    burst: Burst, client: Client, records: int, bursts: int, record_bytes: int
) -> dict[str, Any]:
    value = bytes(record_bytes)
    rates = []
    for _ in range(bursts):
        gc.collect()  # what the last burst has left is not the doing of this one
        begin = perf_counter()
        sent = await burst(client, records, value)
        rates.append(round(sent / (perf_counter() - begin), 1))
    return {"rates": rates}


async def _submitted(client: Client, records: int, value: bytes) -> list[Future[Any]]:
    submit, topic = client.submit, client.topic
    futures: list[Future[Any]] = []
    for _ in repeat(None, records):
        futures.append(await submit(topic, value))  # noqa: PERF401 - a comprehension would be a coroutine in between
    return futures


async def _delivered(futures: list[Future[Any]]) -> None:
    for first in range(0, len(futures), _PORTION):
        await asyncio.gather(*futures[first : first + _PORTION])


async def _send(client: Client, records: int, value: bytes) -> int:
    await _delivered(await _submitted(client, records, value))
    return records


async def _send_and_flush(client: Client, records: int, value: bytes) -> int:
    futures = await _submitted(client, records, value)
    await client.producer.flush()
    await _delivered(futures)
    return records


async def _send_batches(client: Client, records: int, value: bytes) -> int:
    producer, topic = client.producer, client.topic
    partitions = sorted(await producer.partitions_for(topic))
    futures: list[Future[Any]] = []
    sent = 0
    while sent < records:
        batch = producer.create_batch()
        while batch.append(key=None, value=value, timestamp=None) is not None:
            sent += 1
        futures.append(
            await producer.send_batch(batch, topic, partition=partitions[len(futures) % len(partitions)])
        )
    await _delivered(futures)
    return sent
