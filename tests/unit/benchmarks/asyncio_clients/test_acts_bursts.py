"""Bursts deliver what they were asked for before they count."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.asyncio_clients.acts import ACTS

if TYPE_CHECKING:
    from benchmarks.asyncio_clients.clients import Client


class Batch:
    """Takes three records."""

    def __init__(self) -> None:
        self.records = 0

    def append(self, *, key: Any, value: bytes, timestamp: Any) -> object | None:
        if self.records == 3:
            return None
        self.records += 1
        return object()


class BatchingProducer:
    def __init__(self) -> None:
        self.sent: list[tuple[int, int]] = []

    async def partitions_for(self, topic: str) -> set[int]:
        return {1, 0}

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[None]:
        self.sent.append((batch.records, partition))
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


@pytest.mark.parametrize("act", ["sends", "produces"])
def test_each_burst_has_all_its_records_and_a_rate(client: Client, act: str) -> None:
    found = asyncio.run(ACTS[act](client, records=7, bursts=3))
    assert (client.producer.submitted, len(found["rates"])) == (21, 3)


def test_a_burst_whose_records_fail_has_no_rate(client: Client) -> None:
    client.producer.outcome = ValueError
    with pytest.raises(ValueError, match="1"):
        asyncio.run(ACTS["sends"](client, records=7, bursts=1))


def test_batches_are_filled_and_go_to_all_partitions_in_turn(client: Client) -> None:
    client.producer = producer = BatchingProducer()
    asyncio.run(ACTS["batches"](client, records=8, bursts=1))
    assert producer.sent == [(3, 0), (3, 1), (3, 0)]


@pytest.mark.parametrize(("seconds", "expected"), [(60.0, 4), (0.0, 0)])
def test_single_records_end_with_their_number_or_their_time(
    client: Client, seconds: float, expected: int
) -> None:
    found = asyncio.run(ACTS["one_by_one"](client, records=4, seconds=seconds))
    assert len(found["delays"]) == expected
