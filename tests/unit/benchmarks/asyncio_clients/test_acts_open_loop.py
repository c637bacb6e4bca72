"""An open loop offers what is due, whatever the client does, and takes down all of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from benchmarks.asyncio_clients.acts import ACTS
from benchmarks.load import OpenLoop, load_to_dict

if TYPE_CHECKING:
    from benchmarks.asyncio_clients.clients import Client

LOAD = load_to_dict(OpenLoop(rate=1, record_bytes=10, duration=0.01, burst=6, drain=0.01))


def offered(client: Client) -> dict[str, Any]:
    return asyncio.run(ACTS["offer"](client, load=LOAD))["outcome"]


def test_every_record_is_delivered_or_failed(client: Client) -> None:
    client.producer.outcome = lambda number: ValueError(number) if number % 3 == 0 else number
    outcome = offered(client)
    found = {name: outcome[name] for name in ("accepted", "failed", "errors", "abandoned")}
    assert found == {"accepted": 7, "failed": 2, "errors": {"ValueError": 2}, "abandoned": 0}
    assert outcome["delays"]["whole"]["count"] == 5


def test_who_still_waits_for_admission_at_the_end_is_cancelled_and_counts_as_nothing(closed: Client) -> None:
    outcome = offered(closed)
    assert (outcome["accepted"], outcome["failed"], outcome["abandoned"]) == (0, 0, 0)


def test_what_is_not_delivered_in_time_is_given_up(client: Client) -> None:
    client.producer.outcome = lambda number: None
    assert (offered(client)["abandoned"], client.producer.abandoned) == (7, True)
