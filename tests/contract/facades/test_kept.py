"""Records that are kept on disk or become dead letters: the same on every facade."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from facade_drivers import DELIVERED, ON_DISK, shed

from kafka_throttle import Block, DeadLetter, DropOldest, Spill
from kafka_throttle._dead_letter.lines import letter_in

if TYPE_CHECKING:
    from pathlib import Path


# ---- what is kept on disk


@pytest.mark.parametrize("resolve", ["commit", "delivery"])
@pytest.mark.parametrize("commit", ["group", "record"])
@pytest.mark.parametrize("when", ["overload", "always"])
def test_what_is_on_disk_is_sent_in_order_when_the_broker_is_back(
    make: Any, broker: Any, tmp_path: Path, when: str, commit: str, resolve: str
) -> None:
    driver = make(Spill(tmp_path, when=when, commit=commit, resolve=resolve), limit=5)
    broker.stall()
    for n in range(60):
        driver.offer(b"%d" % n, b"%d" % (n % 3))
    driver.until(lambda: driver.statistics().spooled + driver.statistics().in_flight == 60)
    told = driver.tells_commit and resolve == "commit"
    if told:
        direct = 0 if when == "always" else 5
        driver.until(lambda: sum(map(len, driver.told().values())) == 60 - direct)
        assert [each for each in driver.told().values() if each] == (60 - direct) * [[ON_DISK]]
    else:
        assert not any(driver.told().values())
    broker.resume()
    assert driver.flush() == 0
    assert broker.by_key() == {f"{k}": [f"{n}" for n in range(60) if n % 3 == k] for k in range(3)}
    assert driver.places() == {"delivered": 60}
    if not told:
        assert list(driver.told().values()) == 60 * [[DELIVERED]]


def full_spool(directory: Path, **settings: Any) -> Spill:
    return Spill(directory, max_bytes="256 KiB", commit="record", **settings)


def test_block_decides_when_the_disk_is_full(make: Any, broker: Any, tmp_path: Path) -> None:
    driver = make(full_spool(tmp_path, then=Block(0.001)))
    broker.stall()
    offers = [driver.offer(b"%02d" % n + bytes(20_000), b"key") for n in range(30)]
    rejected = [offer.rejected for offer in offers]
    first = rejected.index("deadline")
    assert rejected == [None] * first + ["deadline"] * (30 - first)
    assert driver.places() == {"in_flight": 1, "spooled": first - 1, "rejected": 30 - first}
    broker.resume()
    assert driver.flush() == 0
    assert [value[:2] for value in broker.values()] == [f"{n:02}" for n in range(first)]


def test_who_waits_for_the_disk_goes_when_it_has_room(make: Any, broker: Any, tmp_path: Path) -> None:
    driver = make(full_spool(tmp_path, then=Block()))
    broker.stall()
    driver.offer(b"first", b"key")
    while (offer := driver.begin(b"%02d" % len(driver.offers) + bytes(20_000), b"key")).over:
        assert len(driver.offers) < 30
    others = [driver.begin(b"%02d" % len(driver.offers) + bytes(20_000), b"key") for _ in range(3)]
    assert not any(other.over for other in others)
    broker.resume()
    driver.until(lambda: all(each.over for each in (offer, *others)))
    assert driver.flush() == 0
    assert [value[:2] for value in broker.values()][1:] == [f"{n:02}" for n in range(1, len(driver.offers))]
    assert driver.places() == {"delivered": len(driver.offers)}


def test_older_ones_give_way_when_the_disk_is_full(make: Any, broker: Any, tmp_path: Path) -> None:
    driver = make(full_spool(tmp_path, then=DropOldest(2)))
    broker.stall()
    for n in range(30):
        driver.offer(b"%02d" % n + bytes(20_000), b"key")
    places = driver.places()
    assert places == {"in_flight": 1, "spooled": places["spooled"], "held": 2, "shed": 27 - places["spooled"]}
    broker.resume()
    assert driver.flush() == 0
    sent = [value[:2] for value in broker.values()]
    assert sent == [*(f"{n:02}" for n in range(places["spooled"] + 1)), "28", "29"]


def test_the_next_owner_of_the_directory_sends_what_is_left(make: Any, broker: Any, tmp_path: Path) -> None:
    first = make(Spill(tmp_path, when="always"), limit=5)
    broker.stall()
    for n in range(20):
        first.offer(b"%d" % n, b"key", headers=[("n", b"%d" % n)])
    first.close(0.0)
    assert first.statistics().spooled == 20
    broker.resume()
    second = make(Spill(tmp_path), limit=5)
    assert second.flush() == 0
    assert second.places() == {"delivered": 20}
    assert broker.values()[-20:] == [f"{n}" for n in range(20)]


# ---- dead letters


def test_a_record_without_room_becomes_a_dead_letter_in_a_file(
    make: Any, broker: Any, tmp_path: Path
) -> None:
    file = tmp_path / "letters"
    driver = make(DeadLetter(file=file))
    broker.stall()
    driver.offer(b"0")
    driver.offer(b"1", b"key", headers=[("h", b"x")])
    driver.until(lambda: driver.offers[1].told)
    assert driver.told() == {"0": [], "1": shed("DeadLetter", "limit")}
    (letter,) = map(letter_in, file.read_bytes().splitlines())
    assert (letter.topic, letter.key, letter.value) == (broker.topics["kept"], b"key", b"1")
    assert (letter.headers, letter.reason) == ((("h", b"x"),), "limit")
    assert driver.places() == {"in_flight": 1, "dead_lettered": 1}


def test_a_record_without_room_becomes_a_dead_letter_in_a_topic(make: Any, broker: Any) -> None:
    driver = make(DeadLetter(broker.topics["other"], client={"bootstrap.servers": broker.cluster.bootstrap}))
    broker.stall()
    offers = [driver.offer(b"%d" % n, b"key") for n in range(4)]
    broker.resume()
    assert driver.flush() == 0
    driver.until(lambda: all(offer.told for offer in offers))
    assert driver.told() == {"0": [DELIVERED], **{f"{n}": shed("DeadLetter", "limit") for n in (1, 2, 3)}}
    assert (broker.values(), broker.values("other")) == (["0"], ["1", "2", "3"])
    assert driver.places() == {"delivered": 1, "dead_lettered": 3}


def test_a_dead_letter_that_cannot_be_written_goes_on(make: Any, broker: Any, tmp_path: Path) -> None:
    file = tmp_path / "letters"
    driver = make(DeadLetter(file=file, max_bytes="1 KiB", files=1, then=DropOldest(2)))
    broker.stall()
    for n in range(20):
        driver.offer(b"%02d" % n * 50)
    letters = len(file.read_bytes().splitlines())
    assert driver.places() == {
        "in_flight": 1, "dead_lettered": letters, "held": 2, "shed": 17 - letters
    }  # fmt: skip
    broker.resume()
    assert driver.flush() == 0
    assert [value[:2] for value in broker.values()] == ["00", "18", "19"]


# ---- deliveries that fail


def test_a_failed_delivery_is_told_as_it_was(make: Any, broker: Any) -> None:
    driver = make(Block())
    broker.refuse("INVALID_REQUIRED_ACKS")
    driver.offer(b"refused")
    assert driver.flush() == 0
    driver.offer(b"fine")
    assert driver.flush() == 0
    assert driver.told() == {
        "refused": [("failed", "", "INVALID_REQUIRED_ACKS")], "fine": [DELIVERED]
    }  # fmt: skip
    assert driver.places() == {"failed": 1, "delivered": 1}
    assert driver.statistics().errors == {"INVALID_REQUIRED_ACKS": 1}


def test_a_failed_delivery_becomes_a_dead_letter(make: Any, broker: Any, tmp_path: Path) -> None:
    file = tmp_path / "letters"
    driver = make(Block(), limit=100, on_failure=DeadLetter(file=file))
    broker.refuse("INVALID_REQUIRED_ACKS")
    driver.offer(b"refused", b"key")
    assert driver.flush() == 0
    driver.until(lambda: driver.statistics().dead_lettered)
    assert driver.told() == {"refused": [("failed", "", "INVALID_REQUIRED_ACKS")]}
    (letter,) = map(letter_in, file.read_bytes().splitlines())
    assert (letter.value, letter.error_name, letter.attempts) == (b"refused", "INVALID_REQUIRED_ACKS", 1)
    assert driver.places() == {"dead_lettered": 1}


@pytest.mark.parametrize("resolve", ["commit", "delivery"])
def test_a_failed_delivery_is_spilled_and_sent_again(
    make: Any, broker: Any, tmp_path: Path, resolve: str
) -> None:
    driver = make(Block(), limit=100, on_failure=Spill(tmp_path, resolve=resolve), patience=0.1)
    broker.stall("NOT_COORDINATOR")  # with which librdkafka does not try again
    offers = [driver.offer(b"%d" % n, b"key") for n in range(3)]
    driver.until(lambda: sum(driver.statistics().errors.values()) >= 3)
    broker.resume()
    assert driver.flush() == 0
    assert sorted(broker.values()) == ["0", "1", "2"]  # those that were sent may overtake one that has failed
    told = ON_DISK if driver.tells_commit and resolve == "commit" else DELIVERED
    driver.until(lambda: all(offer.told for offer in offers))
    assert list(driver.told().values()) == 3 * [[told]]
    assert driver.places() == {"delivered": 3}


def test_what_the_broker_refuses_for_good_is_never_sent_again(make: Any, broker: Any, tmp_path: Path) -> None:
    driver = make(Block(), limit=100, on_failure=Spill(tmp_path))
    broker.refuse("INVALID_REQUIRED_ACKS")
    driver.offer(b"refused")
    assert driver.flush() == 0
    assert driver.told() == {"refused": [("failed", "", "INVALID_REQUIRED_ACKS")]}
    assert driver.places() == {"failed": 1}
