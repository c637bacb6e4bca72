"""Callers that are tasks: cancelled, timed out, and in crowds."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from facade_drivers import DELIVERED, Offer

from kafka_throttle import Block, DeadLetter, DropNewest, DropOldest, Reject, Rejected, Sample, Spill

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_throttle import Policy

CROWD = 600


def test_who_is_cancelled_leaves_and_the_others_keep_their_turn(on_loop: Any, broker: Any) -> None:
    driver = on_loop(Block())
    broker.stall()
    driver.offer(b"first")
    waiting = [driver.begin(b"%d" % n) for n in range(6)]
    for offer in waiting[::2]:
        driver.withdraw(offer)
    assert driver.statistics().waiting == 3
    broker.resume()
    driver.until(lambda: all(offer.over for offer in waiting))
    assert driver.flush() == 0
    assert broker.values() == ["first", "1", "3", "5"]
    assert driver.places() == {"delivered": 4}


def test_who_is_cancelled_while_the_disk_is_full_leaves(on_loop: Any, broker: Any, tmp_path: Path) -> None:
    driver = on_loop(Spill(tmp_path, max_bytes="256 KiB", commit="record", then=Block()))
    broker.stall()
    while (last := driver.begin(b"%02d" % len(driver.offers) + bytes(20_000), b"key")).over:
        assert len(driver.offers) < 30
    behind = driver.begin(b"behind" + bytes(20_000), b"key")
    driver.withdraw(last)
    assert driver.statistics().waiting == 1
    broker.resume()
    driver.until(lambda: behind.over)
    assert driver.flush() == 0
    assert broker.values()[-1].startswith("behind")
    assert driver.places() == {"delivered": len(driver.offers)}


def test_a_timeout_ends_the_wait_and_nothing_is_left_of_it(on_loop: Any, broker: Any) -> None:
    driver = on_loop(Block())
    broker.stall()
    driver.offer(b"first")

    async def patiently() -> None:
        await asyncio.wait_for(driver.produce(Offer(driver.topics["kept"], b"late", None), {}), 0.01)

    with pytest.raises(asyncio.TimeoutError):
        driver.run(patiently())
    assert driver.statistics().waiting == 0
    broker.resume()
    driver.offer(b"second")
    assert driver.flush() == 0
    assert broker.values() == ["first", "second"]


def test_a_record_whose_future_is_cancelled_is_sent_all_the_same(on_loop: Any, broker: Any) -> None:
    driver = on_loop(Block(), limit=100)
    broker.stall()
    offers = [driver.offer(b"%d" % n) for n in range(20)]
    for offer in offers[::2]:
        driver.futures[offer].cancel()
    broker.resume()
    assert driver.flush() == 0
    assert broker.values() == [f"{n}" for n in range(20)]
    assert driver.places() == {"delivered": 20}
    assert {offer.told[0].kind for offer in offers[::2]} == {"cancelled"}
    for offer in offers[::2]:
        offer.told[:] = [DELIVERED]


def test_a_flush_that_is_cancelled_leaves_no_trace(on_loop: Any, broker: Any, tmp_path: Path) -> None:
    driver = on_loop(Spill(tmp_path))
    broker.stall()
    for n in range(3):
        driver.offer(b"%d" % n, b"key")

    async def impatiently() -> None:
        await asyncio.wait_for(driver.producer.flush(), 0.02)

    with pytest.raises(asyncio.TimeoutError):
        driver.run(impatiently())
    broker.resume()
    assert driver.flush() == 0
    assert broker.values() == ["0", "1", "2"]


def policies(directory: Path) -> dict[str, Policy]:
    return {
        "block": Block(),
        "impatient": Block(0.001),
        "reject": Reject(),
        "drop-newest": DropNewest(max_records=20),
        "drop-oldest": DropOldest(20),
        "sample": Sample(0.5, then=DropOldest(20)),
        "spill": Spill(directory / "spool"),
        "spill-always": Spill(directory / "spool", when="always", commit="record"),
        "dead-letter": DeadLetter(file=directory / "letters"),
    }


@pytest.mark.parametrize("name", policies(Path("anywhere")))
def test_each_of_a_crowd_has_one_outcome(on_loop: Any, broker: Any, tmp_path: Path, name: str) -> None:
    driver = on_loop(policies(tmp_path)[name], limit=10)
    crowd(driver, lambda task: None)
    assert driver.flush() == 0
    sent = broker.by_key()
    assert all(values == sorted(values, key=int) for values in sent.values())
    assert sum(map(len, sent.values())) == driver.places()["delivered"]


@pytest.mark.parametrize("name", ["block", "drop-oldest", "spill", "spill-always"])
def test_a_crowd_of_which_many_are_cancelled_loses_nothing_else(
    on_loop: Any, broker: Any, tmp_path: Path, name: str
) -> None:
    driver = on_loop(policies(tmp_path)[name], limit=10)
    draw = random.Random(name)

    def maybe_cancel(task: asyncio.Task[None]) -> None:
        if draw.random() < 0.5:
            driver.loop.call_later(draw.random() * 0.01, task.cancel)

    crowd(driver, maybe_cancel)
    assert driver.flush() == 0
    sent = {value for values in broker.by_key().values() for value in values}
    delivered = {offer.value.decode() for offer in driver.offers if DELIVERED in offer.told}
    assert delivered <= sent
    places = driver.places()
    # A record whose caller was cancelled may have been on its way to the disk.
    assert places["delivered"] == len(sent)
    assert len(driver.offers) <= places["delivered"] + places.get("shed", 0)


def crowd(driver: Any, begun: Callable[[asyncio.Task[None]], object]) -> None:
    """Offer many records at once."""

    async def offer_all() -> None:
        tasks = {}
        for n in range(CROWD):
            offer = driver.new(b"%d" % n, b"%d" % (n % 5))
            tasks[offer] = asyncio.ensure_future(driver.carry_out(offer))
            begun(tasks[offer])
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        for offer, task in tasks.items():
            if task.cancelled():
                driver.forget(offer)
            else:
                task.result()

    driver.run(offer_all())


def test_a_group_of_tasks_fails_by_the_rejection_of_one(on_loop: Any, broker: Any) -> None:
    driver = on_loop(Block(0.005))
    broker.stall()
    driver.offer(b"first")

    async def together() -> None:
        record = Offer(driver.topics["kept"], b"late", None)
        await asyncio.gather(*(driver.produce(record, {}) for _ in range(3)))

    with pytest.raises(Rejected) as caught:
        driver.run(together())
    assert caught.value.reason == "deadline"
    driver.until(lambda: driver.statistics().waiting == 0)
    assert driver.places() == {"in_flight": 1, "rejected": 3}
    for _ in range(3):  # they were offered beside the driver's books
        driver.new(b"late", None).rejected = "deadline"
    for offer in driver.offers:
        offer.over = True
