"""Records that wait, are refused or are given up: the same on every facade."""

from __future__ import annotations

from typing import Any

import pytest
from facade_drivers import DELIVERED, shed

from kafka_throttle import Block, DropNewest, DropOldest, Reject, Rule, Sample

# ---- in order, and once


def test_everything_is_delivered_once_and_in_the_order_of_its_key(make: Any, broker: Any) -> None:
    driver = make(Block(), limit=10)
    for n in range(300):
        driver.offer(b"%d" % n, b"%d" % (n % 3))
    assert driver.flush() == 0
    assert broker.by_key() == {f"{k}": [f"{n}" for n in range(300) if n % 3 == k] for k in range(3)}
    assert set(map(tuple, driver.told().values())) == {(DELIVERED,)}
    assert driver.places() == {"delivered": 300}


# ---- Block and Reject


def test_block_refuses_when_its_patience_is_at_its_end(make: Any, broker: Any) -> None:
    driver = make(Block(0.02))
    broker.stall()
    first, second = driver.offer(b"1"), driver.offer(b"2")
    assert (first.rejected, second.rejected) == (None, "deadline")
    assert (first.told, second.told) == ([], [])
    assert driver.places() == {"in_flight": 1, "rejected": 1}


def test_block_lets_those_who_wait_go_in_their_order_when_there_is_room(make: Any, broker: Any) -> None:
    driver = make(Block())
    broker.stall()
    driver.offer(b"first")
    waiting = [driver.begin(b"%d" % n) for n in range(10)]
    assert driver.statistics().waiting == 10
    assert not any(offer.over for offer in waiting)
    broker.resume()
    driver.until(lambda: all(offer.over for offer in waiting))
    assert driver.flush() == 0
    assert broker.values() == ["first", *map(str, range(10))]
    assert set(map(tuple, driver.told().values())) == {(DELIVERED,)}


def test_some_give_up_and_the_others_keep_their_turn(make: Any, broker: Any) -> None:
    rules = [Rule("kept*", Block()), Rule("other*", Block(0.02))]
    driver = make(rules=rules)
    broker.stall()
    driver.offer(b"first")
    waiting = [driver.begin(b"%d" % n, topic="other" if n % 2 else "kept") for n in range(6)]
    driver.until(lambda: all(offer.over for offer in waiting[1::2]))
    broker.resume()
    driver.until(lambda: all(offer.over for offer in waiting))
    assert driver.flush() == 0
    assert [offer.rejected for offer in waiting] == [None, "deadline"] * 3
    assert broker.values() == ["first", "0", "2", "4"]
    assert driver.places() == {"delivered": 4, "rejected": 3}


def test_reject_refuses_at_once(make: Any, broker: Any) -> None:
    driver = make(Reject())
    broker.stall()
    offers = [driver.offer(b"%d" % n, b"key") for n in range(3)]
    assert [offer.rejected for offer in offers] == [None, "limit", "limit"]
    assert driver.places() == {"in_flight": 1, "rejected": 2}
    assert driver.statistics().rejected_bytes == 8


# ---- what is given up


def test_the_newest_gives_way(make: Any, broker: Any) -> None:
    driver = make(DropNewest())
    broker.stall()
    for n in range(3):
        driver.offer(b"%d" % n)
    driver.serve()
    assert driver.told() == {
        "0": [], "1": shed("DropNewest", "limit"), "2": shed("DropNewest", "limit"),
    }  # fmt: skip
    assert driver.places() == {"in_flight": 1, "shed": 2}
    ((key, loss),) = driver.statistics().losses.items()
    assert (key, loss.policy, loss.count) == ((broker.topics["kept"], "limit"), "DropNewest", 2)


def test_some_are_held_before_the_newest_gives_way(make: Any, broker: Any) -> None:
    driver = make(DropNewest(max_records=3))
    broker.stall()
    for n in range(6):
        driver.offer(b"%d" % n)
    driver.serve()
    assert driver.places() == {"in_flight": 1, "held": 3, "shed": 2}
    broker.resume()
    assert driver.flush() == 0
    assert broker.values() == ["0", "1", "2", "3"]
    assert [told for told in driver.told().values() if told != [DELIVERED]] == 2 * [
        shed("DropNewest", "limit")
    ]


@pytest.mark.parametrize(
    ("policy", "reason", "kept"),
    [
        (DropOldest(3), "max_records", 3),
        (DropOldest(100, max_bytes=20), "max_bytes", 2),
    ],
    ids=["records", "bytes"],
)
def test_the_oldest_give_way(make: Any, broker: Any, policy: DropOldest, reason: str, kept: int) -> None:
    driver = make(policy)
    broker.stall()
    names = [f"value-{n:04}" for n in range(8)]
    for name in names:
        driver.offer(name.encode())
    driver.serve()
    gone = names[1 : 8 - kept]
    assert driver.told() == {name: shed("DropOldest", reason) if name in gone else [] for name in names}
    assert driver.places() == {"in_flight": 1, "held": kept, "shed": 7 - kept}
    broker.resume()
    assert driver.flush() == 0
    assert broker.values() == [names[0], *names[8 - kept :]]


def test_what_is_too_old_gives_way_while_nobody_offers(make: Any, broker: Any) -> None:
    driver = make(DropOldest(100, max_age=0.03))
    broker.stall()
    offers = [driver.offer(b"%d" % n) for n in range(4)]
    driver.until(lambda: all(offer.told for offer in offers[1:]))
    assert [offer.told for offer in offers[1:]] == 3 * [shed("DropOldest", "max_age")]
    assert driver.places() == {"in_flight": 1, "shed": 3}


def test_a_sample_keeps_whole_keys_and_their_order(make: Any, broker: Any) -> None:
    driver = make(Sample(0.5, then=DropOldest(1000)))
    broker.stall()
    driver.offer(b"first", b"first")
    for n in range(200):
        driver.offer(b"%d" % n, b"key-%d" % (n % 20))
    driver.serve()
    gone = {offer.key for offer in driver.offers if offer.told}
    assert {tuple(offer.told) for offer in driver.offers if offer.key in gone} == {
        (("shed", "Sample", "sampled"),)
    }
    assert 2 <= len(gone) <= 18
    broker.resume()
    assert driver.flush() == 0
    found = broker.by_key()
    assert set(found) == {f"key-{n}" for n in range(20) if b"key-%d" % n not in gone} | {"first"}
    assert all(values == sorted(values, key=int) for key, values in found.items() if key != "first")
    assert driver.places() == {"delivered": 1 + 10 * (20 - len(gone)), "shed": 10 * len(gone)}


# ---- criticality


def three_classes(policy: Any) -> list[Rule]:
    classes = {"kept*": "critical", "other*": "normal", "third*": "sheddable"}
    return [
        Rule(topics, policy, criticality=criticality, loss_approved_by="data team, OPS-123")  # type: ignore[arg-type]
        for topics, criticality in classes.items()
    ]


def test_what_matters_less_has_less_of_the_room(make: Any, broker: Any) -> None:
    driver = make(rules=three_classes(Reject()), limit=100)
    admitted: list[dict[str, int]] = []
    # Classes make a difference once room has become scarce.
    while not admitted or not admitted[-1]["kept"] > admitted[-1]["other"] > admitted[-1]["third"] > 0:
        assert len(admitted) < 10
        admitted.append(dict.fromkeys(("kept", "other", "third"), 0))
        broker.stall()
        for n in range(100):
            for topic in ("third", "other", "kept"):
                admitted[-1][topic] += driver.offer(b"%d" % n, topic=topic).rejected is None
        broker.resume()
        assert driver.flush() == 0
    delivered = sum(sum(each.values()) for each in admitted)
    assert driver.places() == {"delivered": delivered, "rejected": 300 * len(admitted) - delivered}


def test_what_matters_more_goes_first_among_those_who_wait(make: Any, broker: Any) -> None:
    driver = make(rules=three_classes(Block()), limit=10)
    broker.stall()
    for n in range(10):
        driver.offer(b"first %d" % n)
    went: list[str] = []
    waiting = {
        topic: [driver.begin(b"%d" % n, topic=topic) for n in range(3)]
        for topic in ("third", "other", "kept")
    }
    broker.resume()

    def note() -> bool:
        for topic, offers in waiting.items():
            went.extend(topic for _ in range(sum(offer.over for offer in offers) - went.count(topic)))
        return len(went) == 9

    driver.until(note)
    assert driver.flush() == 0
    assert went.index("kept") < went.index("third")
    assert [broker.values(topic) for topic in ("other", "third")] == 2 * [["0", "1", "2"]]
    assert broker.values() == [*(f"first {n}" for n in range(10)), "0", "1", "2"]
