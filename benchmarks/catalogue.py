"""All scenarios: what is offered, on what capacity, and what must be reached."""

from __future__ import annotations

from benchmarks import measures as m
from benchmarks.load import Bursts, OpenLoop, TightLoop
from benchmarks.scenario import BARE, FACADE, Bar, Cluster, Figure, Link, Scenario, Step, Variant

__all__ = ["SCENARIOS", "SHORT_LOG"]

_MB = 1_000_000
_PURE = Variant("facade", "facade", gate="pure")
_CONFIG: dict[str, str | int | float | bool] = {"acks": "all"}
# On a limited path the kernel would take megabytes off the client's hands, and hide the queue from it.
_PATH_CONFIG = {**_CONFIG, "socket.send.buffer.bytes": 65_536}


def _higher(must: float, aim: float) -> Bar:
    return Bar(must, aim, "higher")


def _lower(must: float, aim: float) -> Bar:
    return Bar(must, aim, "lower")


def _none_lost() -> tuple[Figure, ...]:
    return (Figure("records lost", m.lost, _lower(0, 0)), Figure("records failed", m.failed, _lower(0, 0)))


# ---- produce() itself


def _speed(name: str, title: str, load: Bursts, bar: Bar, facade: Variant = FACADE) -> Scenario:
    figures = (
        Figure("speed of produce() against bare", m.burst_speed("bare", "facade"), bar),
        Figure("smallest limit / burst", m.room_for_burst("facade")),
    )
    return Scenario(name, title, load, figures, variants=(BARE, facade))


_SPEED = (
    _speed("produce", "produce(), open state", Bursts("plain"), _higher(0.90, 0.95)),
    _speed(
        "produce-pure", "produce(), open state, pure-Python gate", Bursts("plain"), _higher(0.70, 0.75), _PURE
    ),
    _speed(
        "produce-reported",
        "produce() with on_delivery on every call, polling included",
        Bursts("reported"),
        _higher(0.85, 0.95),
    ),
    _speed(
        "produce-reported-pure",
        "produce() with on_delivery on every call, polling included, pure-Python gate",
        Bursts("reported"),
        _higher(0.70, 0.80),
        _PURE,
    ),
    _speed(
        "produce-threads",
        "produce() from 16 threads at once",
        Bursts("threads", records=4000),
        _higher(0.85, 0.95),
    ),
    Scenario(
        "produce-rules",
        "produce() with 1 000 rules and 10 000 topics seen, against one rule",
        Bursts("plain", topics=10_000),
        (
            Figure(
                "speed of produce() against one rule",
                m.burst_speed("one rule", "many rules"),
                _higher(0.95, 1.0),
            ),
            Figure("smallest limit / burst", m.room_for_burst("many rules")),
        ),
        variants=(
            Variant("one rule", "facade", limit=10_000),
            Variant("many rules", "facade", rules=1000, limit=10_000),
        ),
        # Creating a topic takes the broker files; small ones, so that ten thousand fit.
        cluster=Cluster(server_properties={"num.partitions": "1", "log.index.size.max.bytes": "4096"}),
        rounds=1,
    ),
    Scenario(
        "produce-policies",
        "produce() with a rule for every policy, against one rule",
        Bursts("plain"),
        (
            Figure(
                "speed of produce() against one rule",
                m.burst_speed("one rule", "all policies"),
                _higher(0.97, 1.0),
            ),
            Figure("smallest limit / burst", m.room_for_burst("all policies")),
        ),
        variants=(
            Variant("one rule", "facade", limit=10_000),
            Variant("all policies", "facade", policies=True, limit=10_000),
        ),
        rounds=1,
    ),
)

# ---- a healthy broker, as fast as it can


# A tight loop writes gigabytes. On a healthy broker the log is cut before the disk has to write it; else the disk's
# pauses are what is measured, and they hit one client or the other. Kafka would not begin with that for 30 s.
SHORT_LOG = Cluster(
    topic_config={"segment.bytes": str(64 << 20), "retention.bytes": str(128 << 20)},
    server_properties={
        "log.initial.task.delay.ms": "500",
        "log.retention.check.interval.ms": "1000",
        "log.segment.delete.delay.ms": "500",
    },
)
"""A cluster that takes gigabytes without ever writing them to the disk."""


def _tight(name: str, record_bytes: int, rate: Bar, p99: Bar) -> Scenario:
    return Scenario(
        name,
        f"tight loop on a healthy broker, {record_bytes} B records",
        TightLoop(record_bytes, duration=8),
        (
            Figure("delivered records/s against bare", m.rate_ratio, rate),
            Figure("p99 delay against bare", m.delay_ratio(), p99),
            Figure("p99 delay, bare", m.delay("bare"), unit="s"),
            Figure("p99 delay", m.delay("facade"), unit="s"),
            Figure("records lost", m.lost, _lower(0, 0)),
        ),
        cluster=SHORT_LOG,
        config=_CONFIG,
        rounds=7,
        quick_scale=0.25,
    )


_TIGHT = (
    _tight("tight-1k", 1024, _higher(1.0, 1.2), _lower(0.15, 0.05)),
    _tight("tight-100", 100, _higher(0.97, 1.05), _lower(0.7, 0.35)),
)

# ---- more offered than there is capacity

_PATH = Link(2 * _MB, round_trip=0.02)
_TWICE_PATH = OpenLoop(4_000, 1_000, duration=60)
_TWICE_QUOTA = OpenLoop(2_000, 1_000, duration=60)

_OVERLOAD = (
    Scenario(
        "path",
        "a path of 2 MB/s and 20 ms round trip, 4 MB/s offered",
        _TWICE_PATH,
        (
            Figure("goodput / capacity", m.goodput("facade", 2 * _MB), _higher(0.97, 0.99)),
            Figure("p99 delay", m.delay("facade"), _lower(0.25, 0.1), "s"),
            Figure("goodput / capacity, bare", m.goodput("bare", 2 * _MB)),
            Figure("p99 delay, bare", m.delay("bare"), unit="s"),
            Figure("bytes on the wire / capacity", m.link_use("facade", 2 * _MB)),
            *_none_lost(),
        ),
        cluster=Cluster(link=_PATH),
        config=_PATH_CONFIG,
    ),
    Scenario(
        "quota",
        "a broker quota of 1 MB/s, 2 MB/s offered",
        _TWICE_QUOTA,
        (
            Figure("delivered / quota", m.goodput("facade", _MB), _higher(0.97, 1.0)),
            Figure("p99 delay, second half", m.delay("facade", "second half"), _lower(0.2, 0.05), "s"),
            Figure("delivered / quota, bare", m.goodput("bare", _MB)),
            Figure("p99 delay, second half, bare", m.delay("bare", "second half"), unit="s"),
            *_none_lost(),
        ),
        cluster=Cluster(quota=_MB),
        config=_CONFIG,
    ),
    Scenario(
        "memory",
        "resident memory at four times the capacity of a path of 2 MB/s, 1 KiB records",
        OpenLoop(8_000, 1_024, duration=60, sample_every=10),
        (
            Figure("growth of resident memory", m.memory_growth("facade"), _lower(0.02, 0.01)),
            Figure("growth of resident memory, bare", m.memory_growth("bare")),
        ),
        cluster=Cluster(link=_PATH),
        config=_PATH_CONFIG,
        rounds=1,
    ),
)

# ---- capacity that changes

_STEPS = (
    Scenario(
        "path-steps",
        "a path of 2 MB/s, halved, then doubled, 4 MB/s offered",
        OpenLoop(4_000, 1_000, duration=45),
        (
            Figure(
                "p99 delay back after the halving", m.delay_back("facade", "halved", 0.25), _lower(2, 1), "s"
            ),
            Figure(
                "p99 delay back after the doubling",
                m.delay_back("facade", "doubled", 0.25),
                _lower(2, 1),
                "s",
            ),
            Figure(
                "goodput back after the halving", m.goodput_back("facade", "halved", _MB), _lower(5, 2), "s"
            ),
            Figure(
                "goodput back after the doubling",
                m.goodput_back("facade", "doubled", 2 * _MB),
                _lower(5, 2),
                "s",
            ),
            Figure(
                "p99 delay back after the doubling, bare", m.delay_back("bare", "doubled", 0.25), unit="s"
            ),
            *_none_lost(),
        ),
        cluster=Cluster(link=_PATH),
        steps=(Step("halved", 15, "link", _MB), Step("doubled", 30, "link", 2 * _MB)),
        config=_PATH_CONFIG,
    ),
    Scenario(
        "quota-steps",
        "a broker quota of 1 MB/s, halved, then doubled, 2 MB/s offered",
        OpenLoop(2_000, 1_000, duration=75),
        (
            Figure("records caught inside / limit", m.caught_inside("facade", "halved"), _lower(1, 1)),
            Figure(
                "goodput of the 5 s after the doubling",
                m.goodput_after("facade", "doubled", 5, _MB),
                _higher(0.9, 0.97),
            ),
            Figure("p99 delay, second half", m.delay("facade", "second half"), unit="s"),
            Figure("p99 delay, second half, bare", m.delay("bare", "second half"), unit="s"),
            *_none_lost(),
        ),
        cluster=Cluster(quota=_MB),
        steps=(Step("halved", 25, "quota", _MB / 2), Step("doubled", 50, "quota", _MB)),
        config=_CONFIG,
    ),
)

# ---- brokers that stall or die

_FAULTS = (
    Scenario(
        "pause",
        "the broker stopped (SIGSTOP) for 5 s at 20 000 records/s",
        OpenLoop(20_000, 100, duration=20, sample_every=10),
        (
            Figure(
                "p99 delay back after the resumption",
                m.delay_back("facade", "resumed", 0.1),
                _lower(2, 1),
                "s",
            ),
            Figure(
                "p99 delay back after the resumption, bare", m.delay_back("bare", "resumed", 0.1), unit="s"
            ),
            Figure("longest produce() call", m.longest_call("facade"), unit="s"),
            *_none_lost(),
        ),
        steps=(Step("paused", 5, "pause"), Step("resumed", 10, "resume")),
        config=_CONFIG,
    ),
    Scenario(
        "failover",
        "one of three nodes killed at 2 000 records/s, back 14 s later",
        OpenLoop(2_000, 1_000, duration=40, drain=30),
        (
            Figure("longest produce() call", m.longest_call("facade"), _lower(0.5, 0.1), "s"),
            Figure("longest produce() call, bare", m.longest_call("bare"), unit="s"),
            Figure(
                "delivered in the 10 s after the kill against bare",
                m.delivered_ratio_after("killed", 10),
                _higher(0.95, 0.99),
            ),
            *_none_lost(),
        ),
        # With Kafka's 9 s until a silent node is given up, neither client delivers anything in the 10 s.
        cluster=Cluster(
            nodes=3,
            partitions=6,
            topic_config={"min.insync.replicas": "2"},
            server_properties={"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"},
        ),
        steps=(Step("killed", 10, "kill", 1), Step("back", 24, "start", 1)),
        config=_CONFIG,
    ),
)

# ---- nothing wrong at all

_LIGHT = (
    Scenario(
        "light",
        "light load with idle gaps and bursts of 200, a tenth of a path of 2 MB/s",
        OpenLoop(2_000, 100, duration=30, on=2.0, off=1.0, burst=200),
        (
            Figure("added p99 delay", m.more_delay(), _lower(0.05, 0.0)),
            Figure("added median delay", m.more_delay("p50")),
            Figure("p99 delay, bare", m.delay("bare"), unit="s"),
        ),
        cluster=Cluster(link=_PATH),
        config=_PATH_CONFIG,
        rounds=7,
    ),
)

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario for scenario in (*_SPEED, *_TIGHT, *_OVERLOAD, *_STEPS, *_FAULTS, *_LIGHT)
}
"""Scenarios by name, in the order of the table."""
