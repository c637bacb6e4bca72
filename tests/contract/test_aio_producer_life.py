"""`AIOProducer`: flush, purge, drain, close, transactions; what rules keep or give up; and producers that are forgotten."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from confluent_kafka import KafkaError, KafkaException

from kafka_throttle import (
    AIMD,
    Block,
    ConfigurationError,
    DeadLetter,
    DropNewest,
    DropOldest,
    Fixed,
    Rejected,
    Rule,
    Sample,
    Shed,
    Spill,
    Throttle,
)
from kafka_throttle._dead_letter.lines import letter_in
from kafka_throttle.aio import AIOProducer, Spilled
from kafka_throttle.instrumentation.prometheus import ThrottleCollector

if TYPE_CHECKING:
    from pathlib import Path

    from kafka_throttle import Policy

NOWHERE = "127.0.0.1:1"
APPROVED = "data team, OPS-123"


def rule(policy: Policy, limit: int = 1, on_failure: Any = None) -> Throttle:
    """Return a configuration with a policy that acts at the first record beyond the limit."""
    rules = [Rule("*", policy, on_failure=on_failure, loss_approved_by=APPROVED)]
    return Throttle(rules=rules, limit=Fixed(limit), burst=0)


def codes(futures: list[asyncio.Future[Any]]) -> list[int]:
    """Return the client's codes of what futures raise."""
    errors = [future.exception() for future in futures]
    assert all(isinstance(error, KafkaException) for error in errors)
    return [error.args[0].code() for error in errors if error is not None]


# ---- flush, drain, purge


@pytest.mark.parametrize("linger", [1, 300])
def test_flush_delivers_everything(loops: Any, linger: int) -> None:
    async def main() -> None:
        async with loops.producer(**{"linger.ms": linger}) as producer:
            futures = [await producer.produce("topic", b"%d" % n) for n in range(500)]
            assert await producer.flush() == 0
            assert [future.result().value() for future in futures] == [b"%d" % n for n in range(500)]
            assert await producer.flush(0) == 0

    loops.run(main())


def test_flush_does_not_wait_for_a_long_linger(loops: Any) -> None:
    async def main() -> None:
        async with loops.producer(**{"linger.ms": 50_000}) as producer:
            await producer.produce("topic", b"v")
            assert await producer.flush(20) == 0

    loops.run(main())


def test_flush_waits_for_those_who_wait_for_room(loops: Any) -> None:
    async def main() -> None:
        async with loops.producer(throttle=rule(Block())) as producer:
            tasks = [asyncio.ensure_future(producer.produce("topic", b"%d" % n)) for n in range(20)]
            await asyncio.sleep(0)
            assert await producer.flush() == 0
            assert [task.result().result().value() for task in tasks] == [b"%d" % n for n in range(20)]

    loops.run(main())


def test_flush_says_what_is_left_when_its_time_is_up(loops: Any) -> None:
    async def main() -> None:
        producer = loops.producer(bootstrap=NOWHERE, throttle=rule(Block()))
        first = await producer.produce("topic", b"1")
        waiting = asyncio.ensure_future(producer.produce("topic", b"2"))
        await asyncio.sleep(0)
        assert await producer.flush(0.05) == 2
        waiting.cancel()
        await producer.close(0)
        assert codes([first]) == [KafkaError._PURGE_QUEUE]

    loops.run(main())


def test_a_flush_that_nobody_waits_for_any_more_lets_its_thread_go(loops: Any) -> None:
    async def main() -> None:
        producer = loops.producer(bootstrap=NOWHERE, **{"linger.ms": 1000})
        future = await producer.produce("topic", b"1")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(producer.flush(), 0.05)
        await producer.close(0)
        assert codes([future]) == [KafkaError._PURGE_QUEUE]

    loops.run(main())


def test_many_may_flush_at_once(loops: Any) -> None:
    async def main() -> None:
        async with loops.producer(**{"linger.ms": 100}) as producer:

            async def one(n: int) -> int:
                await producer.produce("topic", b"%d" % n)
                return await producer.flush(20)

            assert await asyncio.gather(*map(one, range(20))) == [0] * 20

    loops.run(main())


def test_drain_refuses_what_comes_and_delivers_what_was_accepted(loops: Any) -> None:
    async def main() -> None:
        async with loops.producer() as producer:
            future = await producer.produce("topic", b"v")
            assert await producer.drain(10) == 0
            assert future.result().value() == b"v"
            with pytest.raises(Rejected) as caught:
                await producer.produce("topic", b"v")
            assert (caught.value.reason, producer.statistics().state) == ("draining", "draining")

    loops.run(main())


def test_purge_fails_what_was_not_delivered(loops: Any) -> None:
    async def main() -> None:
        producer = loops.producer(bootstrap=NOWHERE)
        futures = [await producer.produce("topic", b"v") for _ in range(3)]
        assert await producer.purge() is None
        await asyncio.wait(futures)
        assert codes(futures) == [KafkaError._PURGE_QUEUE] * 3
        assert len(producer) == 0

    loops.run(main())


# ---- close


def test_close_delivers_what_was_accepted(loops: Any) -> None:
    async def main() -> None:
        producer = loops.producer(throttle=rule(Block(), limit=2), **{"linger.ms": 20})
        tasks = [asyncio.ensure_future(producer.produce("topic", b"%d" % n)) for n in range(10)]
        await asyncio.sleep(0)
        await producer.close()
        assert [task.result().result().value() for task in tasks] == [b"%d" % n for n in range(10)]
        assert (producer.statistics().state, producer.statistics().delivered, len(producer)) == (
            "closed",
            10,
            0,
        )

    loops.run(main())


CALLS = {
    "produce": lambda p: p.produce("topic", b"v"),
    "poll": lambda p: p.poll(0),
    "flush": lambda p: p.flush(0),
    "drain": lambda p: p.drain(0),
    "purge": lambda p: p.purge(),
    "list_topics": lambda p: p.list_topics(timeout=1),
    "init_transactions": lambda p: p.init_transactions(1),
    "begin_transaction": lambda p: p.begin_transaction(),
    "commit_transaction": lambda p: p.commit_transaction(),
    "abort_transaction": lambda p: p.abort_transaction(),
    "set_sasl_credentials": lambda p: p.set_sasl_credentials("a", "b"),
}


@pytest.mark.parametrize("call", [pytest.param(call, id=name) for name, call in CALLS.items()])
def test_after_close_every_call_is_refused(loops: Any, call: Any) -> None:
    async def main() -> None:
        producer = loops.producer()
        await producer.close()
        with pytest.raises(RuntimeError, match=r"^Producer has been closed$"):
            await call(producer)

    loops.run(main())


def test_closing_once_more_does_nothing(loops: Any) -> None:
    async def main() -> None:
        producer = loops.producer()
        await producer.produce("topic", b"v")
        await asyncio.gather(producer.close(), producer.close(), producer.close(1))
        await producer.close()
        async with producer as same:
            assert same is producer
        assert producer.statistics().delivered == 1

    loops.run(main())


def test_close_in_an_outage_ends_and_leaves_no_future_pending(loops: Any) -> None:
    async def main() -> None:
        producer = loops.producer(bootstrap=NOWHERE, throttle=rule(Block(), limit=5))
        futures = [await producer.produce("topic", b"v") for _ in range(5)]
        waiting = [asyncio.ensure_future(producer.produce("topic", b"v")) for _ in range(5)]
        await asyncio.sleep(0)
        await producer.close(0.05)
        assert codes(futures) == [KafkaError._PURGE_QUEUE] * 5
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert [error.reason for error in errors] == ["closed"] * 5
        now = producer.statistics()
        assert (now.state, now.failed, now.rejected, now.waiting) == ("closed", 5, 5, 0)

    loops.run(main())


def test_close_does_not_wait_for_somebody_else_who_waits_in_the_client(loops: Any) -> None:
    async def main() -> None:
        producer = loops.producer(bootstrap=NOWHERE)
        future = await producer.produce("topic", b"v")
        listing = asyncio.ensure_future(producer.list_topics(timeout=4))
        await asyncio.sleep(0)
        await producer.close(0.05)
        assert (codes([future]), listing.done()) == ([KafkaError._PURGE_QUEUE], False)
        with pytest.raises(KafkaException, match="metadata"):
            await listing
        await loops.until(lambda: producer.statistics().state == "closed")

    loops.run(main())


def test_a_close_that_nobody_waits_for_any_more_goes_on(loops: Any) -> None:
    async def main() -> None:
        producer = loops.producer(**{"linger.ms": 50})
        future = await producer.produce("topic", b"v")
        closing = asyncio.ensure_future(producer.close())
        await asyncio.sleep(0)
        closing.cancel()
        await producer.close()
        assert (closing.cancelled(), future.result().value()) == (True, b"v")

    loops.run(main())


def test_close_ends_every_thread_of_its_own(loops: Any) -> None:
    def mine() -> list[str]:
        return [thread.name for thread in threading.enumerate() if "of-threads" in thread.name]

    async def main() -> None:
        producer = loops.producer(**{"client.id": "of-threads", "linger.ms": 100})
        await producer.produce("topic", b"v")
        await producer.list_topics("topic", 10)
        await producer.flush()
        assert len(mine()) >= 2
        await producer.close()
        await loops.until(lambda: not mine())

    loops.run(main())


def test_an_executor_of_the_application_is_left_to_it(loops: Any) -> None:
    async def main() -> None:
        with ThreadPoolExecutor(1, thread_name_prefix="of-the-test") as executor:
            async with loops.producer(executor=executor) as producer:
                assert producer.executor is executor
                assert "topic" in (await producer.list_topics("topic", 10)).topics
            assert executor.submit(threading.current_thread).result().name == "of-the-test_0"

    loops.run(main())


def test_with_closes_when_its_body_raises(loops: Any) -> None:
    async def main() -> None:
        async def raising() -> None:
            async with producer:
                futures.append(await producer.produce("topic", b"v"))
                raise ValueError("of the body")

        futures: list[Any] = []
        producer = loops.producer()
        with pytest.raises(ValueError, match="of the body"):
            await raising()
        assert (futures[0].result().value(), producer.statistics().state) == (b"v", "closed")

    loops.run(main())


# ---- forgotten


@pytest.mark.parametrize("records", [0, 1])
def test_a_producer_that_is_forgotten_delivers_what_it_has_and_goes(loops: Any, records: int) -> None:
    async def main() -> None:
        producer = AIOProducer({"bootstrap.servers": loops.bootstrap, "linger.ms": 20, "log_level": 0})
        futures = [await producer.produce("topic", b"v") for _ in range(records)]
        gone, client = weakref.ref(producer), weakref.ref(producer._client)
        del producer
        assert gone() is None
        assert [(await future).value() for future in futures] == [b"v"] * records
        # The pure twin's producer refers to itself.
        await loops.until(lambda: gc.collect() >= 0 and client() is None)

    loops.run(main())


def test_a_producer_whose_loop_is_closed_goes_without_a_word(bootstrap: str) -> None:
    made: list[AIOProducer] = []

    async def main() -> None:
        made.append(AIOProducer({"bootstrap.servers": bootstrap, "log_level": 0}))
        await (await made[0].produce("topic", b"v"))

    asyncio.run(main())
    client = weakref.ref(made[0]._client)
    opened = psutil.Process().num_fds()
    made.clear()
    for thread in threading.enumerate():
        if "forgotten" in thread.name:
            thread.join()
    gc.collect()
    assert (client(), psutil.Process().num_fds() < opened) == (None, True)


# ---- transactions


def test_a_transaction_is_committed_or_aborted(loops: Any) -> None:
    async def main() -> None:
        async with loops.producer(**{"transactional.id": "of-a-test"}) as producer:
            await producer.init_transactions(20)
            await producer.begin_transaction()
            futures = [await producer.produce("topic", b"%d" % n) for n in range(10)]
            await producer.commit_transaction(20)
            assert [future.result().value() for future in futures] == [b"%d" % n for n in range(10)]
            await producer.begin_transaction()
            future = await producer.produce("topic", b"v")
            await producer.abort_transaction(20)
            assert (
                future.result().value() == b"v"
            )  # written, and not seen by those who read what is committed

    loops.run(main())


def test_a_record_outside_of_a_transaction_fails_in_its_future(loops: Any) -> None:
    async def main() -> None:
        async with loops.producer(**{"transactional.id": "of-another-test"}) as producer:
            await producer.init_transactions(20)
            future = await producer.produce("topic", b"v")
            assert codes([future]) == [KafkaError._STATE]
            with pytest.raises(KafkaException):
                await producer.commit_transaction(20)

    loops.run(main())


def test_transactions_need_an_id(loops: Any) -> None:
    async def main() -> None:
        async with loops.producer() as producer:
            with pytest.raises(KafkaException, match="transactional"):
                await producer.init_transactions(1)

    loops.run(main())


# ---- what rules keep or give up


@pytest.mark.parametrize(
    ("policy", "limit", "reason"),
    [
        (DropNewest(), 1, "limit"),
        (DropOldest(max_records=1), 1, "max_records"),
        (Sample(1e-9), 1, "sampled"),
    ],
)
def test_a_shed_record_fails_with_policy_and_reason(loops: Any, policy: Any, limit: int, reason: str) -> None:
    told: list[Any] = []

    async def main() -> None:
        producer = loops.producer(bootstrap=NOWHERE, throttle=rule(policy, limit))
        futures = [
            await producer.produce("topic", b"%d" % n, on_delivery=lambda e, m: told.append(m.value()))
            for n in range(3)
        ]
        await asyncio.wait(futures[1:2])
        error = futures[1].exception()
        assert isinstance(error, Shed)
        assert isinstance(error, KafkaException)
        assert (error.policy, error.reason, error.topic) == (type(policy).__name__, reason, "topic")
        assert error.args[0].code() == KafkaError._QUEUE_FULL
        assert producer.statistics().shed == 3 - limit - (reason == "max_records")
        await producer.close(0)
        assert [future.done() for future in futures] == [True] * 3
        assert sorted(told) == [b"0", b"1", b"2"]
        codes(futures)

    loops.run(main())


def test_nobody_has_to_look_at_what_was_shed(loops: Any) -> None:
    async def main() -> None:
        async with loops.producer(throttle=rule(DropNewest(), limit=1)) as producer:
            for _ in range(100):
                await producer.produce("topic", b"v")
        gc.collect()  # the loop is told nothing of futures whose exception nobody has seen

    loops.run(main())


SPILLED = [(commit, when) for commit in ("group", "record") for when in ("overload", "always")]


@pytest.mark.parametrize(("commit", "when"), SPILLED)
def test_a_record_on_disk_is_told_when_it_is_safe_there(
    loops: Any, tmp_path: Path, commit: Any, when: Any
) -> None:
    told: list[Any] = []

    async def main() -> None:
        policy = Spill(str(tmp_path / "spool"), commit=commit, when=when)
        async with loops.producer(throttle=rule(policy)) as producer:
            futures = [
                await producer.produce(
                    "topic", b"%d" % n, partition=0, on_delivery=lambda e, m: told.append(m.value())
                )
                for n in range(50)
            ]
            results = await asyncio.gather(*futures)
            spilled = [result for result in results if isinstance(result, Spilled)]
            assert {(each.topic, each.directory) for each in spilled} == {("topic", str(tmp_path / "spool"))}
            assert len(spilled) == 50 if when == "always" else len(spilled) > 0
            assert await producer.flush() == 0
            assert producer.statistics().delivered == 50

    loops.run(main())
    assert told == [b"%d" % n for n in range(50)]


@pytest.mark.parametrize(("commit", "when"), SPILLED)
def test_a_record_on_disk_may_wait_for_its_delivery(
    loops: Any, tmp_path: Path, commit: Any, when: Any
) -> None:
    async def main() -> None:
        policy = Spill(str(tmp_path / "spool"), commit=commit, when=when, resolve="delivery")
        async with loops.producer(throttle=rule(policy)) as producer:
            futures = [await producer.produce("topic", b"%d" % n) for n in range(50)]
            messages = await asyncio.gather(*futures)
            assert [message.value() for message in messages] == [b"%d" % n for n in range(50)]

    loops.run(main())


@pytest.mark.parametrize("commit", ["group", "record"])
def test_a_record_that_stays_on_disk_says_so_when_its_producer_is_closed(
    loops: Any, tmp_path: Path, commit: Any
) -> None:
    async def main() -> None:
        throttle = rule(Spill(str(tmp_path / "spool"), commit=commit, resolve="delivery"))
        producer = loops.producer(bootstrap=NOWHERE, throttle=throttle)
        futures = [await producer.produce("topic", b"%d" % n) for n in range(20)]
        await producer.close(0.1)
        assert codes(futures[:1]) == [KafkaError._PURGE_QUEUE]
        assert [type(future.result()) for future in futures[1:]] == [Spilled] * 19
        async with loops.producer(throttle=throttle) as heir:
            assert await heir.flush() == 0
            assert heir.statistics().delivered == 19

    loops.run(main())


def test_what_cannot_go_to_the_disk_waits_or_is_refused(loops: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async def fill() -> None:
            while True:
                futures.append(await producer.produce("topic", bytes(10_000)))

        policy = Spill(str(tmp_path / "spool"), commit="record", max_bytes="256 KiB", then=Block(0.05))
        producer = loops.producer(bootstrap=NOWHERE, throttle=rule(policy))
        futures: list[Any] = []
        with pytest.raises(Rejected) as caught:
            await fill()
        assert caught.value.reason == "deadline"
        await producer.close(0)
        assert codes(futures[:1]) == [KafkaError._PURGE_QUEUE]
        assert {type(future.result()) for future in futures[1:]} == {Spilled}

    loops.run(main())


def test_a_failed_delivery_may_go_to_the_dead_letters(loops: Any, tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "letters.jsonl"
        throttle = rule(Block(), limit=10, on_failure=DeadLetter(file=str(file)))
        producer = loops.producer(bootstrap=NOWHERE, throttle=throttle)
        futures = [await producer.produce("topic", b"%d" % n) for n in range(3)]
        await producer.close(0)
        assert codes(futures) == [KafkaError._PURGE_QUEUE] * 3
        letters = [letter_in(line) for line in file.read_bytes().splitlines()]
        assert [letter.value for letter in letters] == [b"0", b"1", b"2"]
        assert producer.statistics().dead_lettered == 3

    loops.run(main())


def test_a_failed_delivery_may_go_to_the_disk(loops: Any, tmp_path: Path) -> None:
    async def main() -> None:
        throttle = rule(Block(), limit=10, on_failure=Spill(str(tmp_path / "spool"), commit="record"))
        producer = loops.producer(bootstrap=NOWHERE, throttle=throttle)
        futures = [await producer.produce("topic", b"%d" % n) for n in range(3)]
        await producer.close(0)
        assert [type(future.result()) for future in futures] == [Spilled] * 3
        assert producer.statistics().spooled == 3

    loops.run(main())


def test_a_rule_that_loses_needs_an_approval(loops: Any) -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError, match="loss_approved_by"):
            loops.producer(throttle=Throttle(rules=[Rule("*", DropNewest())]))

    loops.run(main())


# ---- the rest


def test_other_calls_of_the_client_work(loops: Any) -> None:
    async def main() -> None:
        async with loops.producer() as producer:
            assert set((await producer.list_topics("topic", timeout=10)).topics) == {"topic"}
            assert await producer.set_sasl_credentials("user", "secret") is None
            if hasattr(producer, "cluster_id"):
                assert isinstance(await producer.cluster_id(10), str)

    loops.run(main())


@pytest.mark.parametrize("how", ["throttle", "environment"])
def test_switched_off_it_hands_everything_to_the_client(loops: Any, monkeypatch: Any, how: str) -> None:
    async def main() -> None:
        if how == "environment":
            monkeypatch.setenv("KAFKA_THROTTLE_ENABLED", "0")
        throttle = Throttle(enabled=how == "environment", limit=Fixed(1), burst=0)
        async with loops.producer(throttle=throttle) as producer:
            futures = [await producer.produce("topic", b"%d" % n) for n in range(200)]
            assert len(await asyncio.gather(*futures)) == 200
            assert repr(producer) == "<AIOProducer not throttled>"
            with pytest.raises(RuntimeError, match="switched off"):
                producer.statistics()

    loops.run(main())


def test_switched_off_a_full_client_raises_what_it_raises(loops: Any) -> None:
    async def main() -> None:
        producer = loops.producer(
            bootstrap=NOWHERE, throttle=Throttle(enabled=False), **{"queue.buffering.max.messages": 2}
        )
        futures = [await producer.produce("topic", b"v") for _ in range(2)]
        with pytest.raises(BufferError, match="Queue full"):
            await producer.produce("topic", b"v")
        await producer.close(0)
        assert codes(futures) == [KafkaError._PURGE_QUEUE] * 2

    loops.run(main())


def test_its_figures_are_collected(loops: Any) -> None:
    async def main() -> None:
        async with loops.producer(**{"client.id": "of-asyncio"}) as producer:
            await producer.produce("topic", b"v")
            await producer.flush()
            samples = {
                sample.labels.get("client_id")
                for metric in ThrottleCollector().collect()
                for sample in metric.samples
            }
            assert "of-asyncio" in samples

    loops.run(main())


def test_it_has_a_length_and_is_true(loops: Any) -> None:
    async def main() -> None:
        producer = loops.producer(bootstrap=NOWHERE, throttle=Throttle(limit=AIMD()))
        future = await producer.produce("topic", b"v")
        assert (len(producer) >= 1, bool(producer)) == (True, True)
        assert "AIOProducer" in repr(producer)
        await producer.close(0)
        assert (len(producer), codes([future])) == (0, [KafkaError._PURGE_QUEUE])

    loops.run(main())
