"""`python -m benchmarks.shedding`: the policies on real Kafka, in overload, in an outage, and under kill -9."""

from __future__ import annotations

import math
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.broker import running_broker
from benchmarks.collected import Collected
from benchmarks.report import markdown
from benchmarks.results import save_result
from benchmarks.scenario import Bar, Cluster, Link
from kafka_throttle import Block, DropOldest, Policy, Producer, Rule, Spill, Throttle
from kafka_throttle.brokers import LocalKafka

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from confluent_kafka import Message

RESULTS = Path(__file__).with_name("results")

BARS = {
    "always against overload, 100 B": Bar(0.3, 0.6, "higher"),
    "always against overload, 1 KiB": Bar(0.3, 0.6, "higher"),
    "outage: records lost": Bar(0, 0, "lower"),
    "outage: order violations": Bar(0, 0, "lower"),
    "outage: live p99 while draining against normal": Bar(2, 1.2, "lower"),
    "drop-oldest: oldest held / max_age": Bar(1, 1, "lower"),
    "drop-oldest: delivered / capacity": Bar(0.97, 0.99, "higher"),
    "drop-oldest: records missing from the ledger": Bar(0, 0, "lower"),
    "kill -9: records lost for which produce() had returned": Bar(0, 0, "lower"),
    "kill -9: order violations": Bar(0, 0, "lower"),
}


@contextmanager
def producing(bootstrap: str, policy: Policy, **conf: Any) -> Iterator[Producer]:
    """Make a producer with a policy for every topic but "live", whose callers wait."""
    rules = [Rule("live", Block()), Rule("*", policy, loss_approved_by="a benchmark")]
    producer = Producer(
        {"bootstrap.servers": bootstrap, "acks": "all", **conf}, throttle=Throttle(rules=rules)
    )
    try:
        yield producer
    finally:
        producer.close(timeout=5)


def violations(messages: Iterator[Message]) -> tuple[set[int], int]:
    """Return the numbers that were read, and how many came for the first time after a later one of their key."""
    seen: set[int] = set()
    last: dict[bytes | None, int] = {}
    wrong = 0
    for message in messages:
        key, number = message.key(), int(message.value()[:10])
        if number not in seen:
            seen.add(number)
            wrong += number < last.get(key, -1)
            last[key] = max(number, last.get(key, -1))
    return seen, wrong


# ---- write-ahead against spilling in overload only


def tight(producer: Producer, topic: str, size: int, seconds: float) -> float:
    """Return the records per second until everything is delivered."""
    value = b"v" * size
    start = time.perf_counter()
    count = 0
    while time.perf_counter() - start < seconds:
        for _ in range(64):
            producer.produce(topic, value)
        count += 64
        producer.poll(0)
    left = producer.flush(60)
    return (count - left) / (time.perf_counter() - start)


def measure_always(findings: Collected, scratch: Path, scale: float) -> None:
    with LocalKafka(server_properties={"log.retention.check.interval.ms": "1000"}) as kafka:
        for size, name in ((100, "100 B"), (1024, "1 KiB")):
            rates = {}
            for when in ("overload", "always"):
                topic = f"{when}-{size}-{time.monotonic_ns()}"
                kafka.create_topic(
                    topic, 4, config={"retention.bytes": str(128 << 20), "segment.bytes": str(64 << 20)}
                )
                directory = scratch / topic
                with producing(kafka.bootstrap, Spill(directory, when=when)) as producer:
                    tight(producer, topic, size, 1.0 * scale)
                    rates[when] = tight(producer, topic, size, 8.0 * scale)
                shutil.rmtree(directory)
                findings.add(f"{when}, {name}", rates[when], "records/s")
            findings.add(f"always against overload, {name}", rates["always"] / rates["overload"])


# ---- an outage


def offer(
    producer: Producer, topic: str, rate: float, seconds: float, first: int, keys: str, delays: list[float]
) -> int:
    """Offer numbered records at a rate and return the number after the last."""
    start = time.perf_counter()
    number = first
    while (elapsed := time.perf_counter() - start) < seconds:
        while number - first < elapsed * rate:
            began = time.perf_counter()
            producer.produce(
                topic,
                b"%010d" % number + b"." * 90,
                f"{keys}{number % 1000}",
                on_delivery=lambda _error, _message, began=began: delays.append(time.perf_counter() - began),
            )
            number += 1
        producer.poll(0.001)
    return number


def p99(delays: list[float]) -> float:
    return sorted(delays)[int(0.99 * (len(delays) - 1))] if delays else math.nan


def measure_outage(findings: Collected, scratch: Path, scale: float) -> None:
    rate, down = 5_000, 60 * scale
    with (
        LocalKafka() as kafka,
        producing(kafka.bootstrap, Spill(scratch / "outage"), log_level=0) as producer,
    ):
        for topic in ("outage", "live"):
            kafka.create_topic(topic, 4)
        normal: list[float] = []
        offer(producer, "live", rate, 5 * scale, 0, "l", [])
        known = offer(producer, "live", rate, 15 * scale, 10_000_000, "l", normal)
        number = offer(producer, "outage", rate, 5 * scale, 0, "o", [])
        kafka.kill(0)
        number = offer(producer, "outage", rate, down, number, "o", [])
        backlog = producer.statistics().spooled
        kafka.start(0)
        back = time.perf_counter()
        while producer.statistics().spooled >= backlog > 0:  # until the client sees that the broker is back
            producer.poll(0.01)
        begun = time.perf_counter()
        live: list[float] = []
        while producer.statistics().spooled:
            known = offer(producer, "live", rate, 0.25, known, "l", live)
        drained = time.perf_counter()
        producer.flush()
        seen, wrong = violations(kafka.messages("outage"))
        findings.add("outage: backlog on disk", backlog, "records")
        findings.add("outage: records lost", number - len(seen))
        findings.add("outage: order violations", wrong)
        findings.add("outage: time from the broker's return to the first replay", begun - back, "s")
        findings.add("outage: time to drain with live traffic", drained - begun, "s")
        findings.add("outage: live p99, normal", p99(normal), "s")
        findings.add("outage: live p99 while draining", p99(live), "s")
        findings.add("outage: live p99 while draining against normal", p99(live) / p99(normal))


# ---- the oldest give way


def measure_drop_oldest(findings: Collected, scratch: Path, scale: float) -> None:
    del scratch
    capacity, age = 2_000_000, 1.0
    policy = DropOldest(max_records=100_000, max_age=age)
    with running_broker(Cluster(link=Link(capacity, round_trip=0.02))) as broker:
        topic, conf = "oldest", {"socket.send.buffer.bytes": 65_536, "client.id": "oldest"}
        broker.prepare(topic, "oldest")
        with producing(broker.kafka.bootstrap, policy, **conf) as producer:
            oldest, offered, reported = 0.0, 0, [0, 0]

            def report(error: Any, _message: Any) -> None:
                reported[error is not None] += 1

            start = time.perf_counter()
            seconds = 60 * scale
            while (elapsed := time.perf_counter() - start) < seconds:
                while offered < elapsed * 4_000:
                    producer.produce(topic, b"v" * 1_000, on_delivery=report)
                    offered += 1
                producer.poll(0.002)
                oldest = max(oldest, producer.statistics().oldest_held)
            delivered = producer.statistics().delivered
            took = time.perf_counter() - start
            producer.flush(30)
            now = producer.statistics()
            findings.add("drop-oldest: oldest held / max_age", oldest / age)
            findings.add("drop-oldest: delivered / capacity", delivered * 1_000 / took / capacity)
            missing = abs(offered - sum(now.places().values())) + abs(offered - sum(reported))
            findings.add("drop-oldest: records missing from the ledger", missing)
            findings.add("drop-oldest: shed", now.shed, "records")


# ---- kill -9


VICTIM = """
import os, sys
from kafka_throttle import Producer, Rule, Spill, Throttle
bootstrap, directory, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
rule = Rule("*", Spill(directory, when="always", commit="record"))
producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"}, throttle=Throttle(rules=[rule]))
number = first
while True:
    producer.produce("killed", b"%010d" % number, b"k%d" % (number % 20))
    os.write(1, b"%010d\\n" % number)
    number += 1
    if number % 50 == 0:
        producer.poll(0)
"""


def measure_kills(findings: Collected, scratch: Path, scale: float) -> None:
    times = max(3, int(200 * scale))
    chance = random.Random(1)
    returned: set[int] = set()
    directory = scratch / "killed"
    with LocalKafka() as kafka:
        kafka.create_topic("killed", 4)
        for number in range(times):
            arguments = [kafka.bootstrap, str(directory), str(number * 1_000_000)]
            with (scratch / "returned").open("wb") as out:
                child = subprocess.Popen([sys.executable, "-c", VICTIM, *arguments], stdout=out)
                time.sleep(chance.uniform(0.4, 1.0))
                child.kill()
                child.wait()
            returned |= {
                int(line) for line in (scratch / "returned").read_bytes().split(b"\n") if len(line) == 10
            }
        with producing(kafka.bootstrap, Spill(directory)) as producer:
            left = producer.flush(60)
        seen, wrong = violations(kafka.messages("killed"))
    findings.add("kill -9: kills", times)
    findings.add("kill -9: records for which produce() had returned", len(returned))
    findings.add("kill -9: records lost for which produce() had returned", len(returned - seen) + left)
    findings.add("kill -9: order violations", wrong)


PARTS: dict[str, tuple[str, Callable[[Collected, Path, float], None]]] = {
    "spill-always": ("Write-ahead against spilling in overload only, on a healthy broker", measure_always),
    "spill-outage": ("The broker away for 60 s at 5 000 records/s, then back", measure_outage),
    "drop-oldest": ("DropOldest at twice the capacity of a path of 2 MB/s", measure_drop_oldest),
    "spill-kills": ("kill -9 at random moments, when='always' and commit='record'", measure_kills),
}


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice([*PARTS]))
@click.option("--rounds", type=click.IntRange(1), default=1, show_default=True)
@click.option("--quick", is_flag=True, help="A smoke run of a few seconds: its figures mean nothing.")
@click.option(
    "--scratch", type=click.Path(file_okay=False, path_type=Path), help="A directory on the disk to measure."
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where the results go.")
def main(parts: tuple[str, ...], rounds: int, quick: bool, scratch: Path | None, out: Path | None) -> None:
    """Measure the policies on real Kafka."""
    results = []
    for part in parts or PARTS:
        title, measure = PARTS[part]
        findings = Collected(BARS)
        for number in range(rounds):
            click.echo(f"{part}, round {number + 1} of {rounds}")
            with tempfile.TemporaryDirectory(dir=scratch) as temporary:
                measure(findings, Path(temporary), 0.02 if quick else 1.0)
        command = f"python -m benchmarks.shedding {part} --rounds {rounds}"
        results.append(findings.result(part, title, command, {"rounds": rounds}, quick=quick))
        if out or not quick:
            save_result(results[-1], out or RESULTS)
    click.echo(markdown(results))


if __name__ == "__main__":
    main()
