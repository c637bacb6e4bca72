"""The Prometheus collector: names, labels, merging, and counters that only grow."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from kafka_throttle import Producer, Statistics, Throttle
from kafka_throttle.instrumentation import prometheus
from kafka_throttle.instrumentation.prometheus import METRICS, ThrottleCollector, reference
from kafka_throttle.statistics import Loss

Samples = dict[tuple[str, ...], float]


class FakeAdmission:
    """What the collector reads of a producer."""

    def __init__(self, client_id: str = "app", state: str = "open", **figures: Any) -> None:
        self.throttle = Throttle()
        self.figures = {"client_id": client_id, "state": state, "gate": "pure", "errors": {}, **figures}
        self.reads = 0

    def statistics(self) -> Statistics:
        self.reads += 1
        return Statistics(**self.figures)


@pytest.fixture
def producers(monkeypatch: pytest.MonkeyPatch) -> list[FakeAdmission]:
    alive: list[FakeAdmission] = []
    monkeypatch.setattr(prometheus, "live", lambda: list(alive))
    return alive


def samples(collector: ThrottleCollector) -> Samples:
    """Return name and label values of each sample, without the prefix, and its value; no series may come twice."""
    found = [
        ((sample.name.removeprefix("kafka_throttle_"), *sample.labels.values()), sample.value)
        for family in collector.collect()
        for sample in family.samples
    ]
    assert len(found) == len(dict(found))
    return dict(found)


def text(collector: ThrottleCollector) -> str:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


def busy() -> FakeAdmission:
    lost = Loss(
        topic="clicks",
        policy="DropOldest",
        reason="max_age",
        count=3,
        bytes=30,
        first=1.0,
        last=2.0,
        approved_by="me",
    )
    return FakeAdmission(
        offered=13, delivered=6, failed=1, rejected=2, shed=3, errors={"MSG_SIZE_TOO_LARGE": 1},
        losses={("clicks", "max_age"): lost}, spool_max_bytes=1 << 30,
    )  # fmt: skip


def test_a_real_producer_shows_up_under_its_client_id() -> None:
    producer = Producer({"bootstrap.servers": "127.0.0.1:1", "client.id": "orders-app", "log_level": 0})

    shown = samples(ThrottleCollector())

    assert shown["producers", "orders-app", "open"] == 1
    assert shown["buffer_total_bytes", "orders-app"] == producer.statistics().buffer_total_bytes


def test_the_text_format_reads_back_with_the_names_types_and_labels_of_the_table(
    producers: list[FakeAdmission],
) -> None:
    producers.append(busy())

    families = {family.name: family for family in parse(text(ThrottleCollector()))}

    expected = {m.name: (m.type, set(m.labels)) for m in METRICS}
    found = {
        sample.name: (family.type, set(sample.labels))
        for family in families.values()
        for sample in family.samples
    }
    assert expected == found


def test_the_openmetrics_format_reads_back(producers: list[FakeAdmission]) -> None:
    producers.append(busy())
    registry = CollectorRegistry()
    registry.register(ThrottleCollector())

    families = list(parse_openmetrics(generate_openmetrics(registry).decode()))

    assert {m.name.removesuffix("_total") for m in METRICS} == {family.name for family in families}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_to_complain_about(producers: list[FakeAdmission]) -> None:
    producers.append(busy())

    check = subprocess.run(
        ["promtool", "check", "metrics"],
        check=False,
        input=text(ThrottleCollector()),
        capture_output=True,
        text=True,
    )

    assert (check.returncode, check.stdout + check.stderr) == (0, "")


def test_registering_reads_no_statistics(producers: list[FakeAdmission]) -> None:
    producers.append(busy())

    CollectorRegistry(auto_describe=True).register(ThrottleCollector())

    assert producers[0].reads == 0


def test_two_collectors_in_one_registry_are_refused() -> None:
    registry = CollectorRegistry()
    registry.register(ThrottleCollector())

    with pytest.raises(ValueError, match="Duplicated timeseries"):
        registry.register(ThrottleCollector())


def test_outcomes_and_errors_are_labels(producers: list[FakeAdmission]) -> None:
    producers.append(busy())

    shown = samples(ThrottleCollector())

    outcomes = {key[2]: value for key, value in shown.items() if key[0] == "records_total"}
    assert outcomes == {
        "dead_lettered": 0,
        "delivered": 6,
        "failed": 1,
        "rejected": 2,
        "shed": 3,
        "unknown": 0,
    }
    assert shown["errors_total", "app", "MSG_SIZE_TOO_LARGE"] == 1


def test_every_signal_has_a_value_raised_or_not(producers: list[FakeAdmission]) -> None:
    producers.append(FakeAdmission(signals=("standing-delay",)))

    shown = samples(ThrottleCollector())

    values = {key[2]: value for key, value in shown.items() if key[0] == "signal_raised"}
    assert {signal.name: float(signal.name == "standing-delay") for signal in Throttle().signals} == values


def test_producers_that_share_a_client_id_are_one_series(producers: list[FakeAdmission]) -> None:
    producers.append(FakeAdmission(delivered=3, in_flight=5, saturation=0.2, standing_delay=0.4))
    producers.append(
        FakeAdmission(delivered=4, in_flight=6, saturation=0.9, standing_delay=0.1, state="throttling")
    )

    shown = samples(ThrottleCollector())

    assert shown["records_total", "app", "delivered"] == 3 + 4
    assert shown["in_flight_records", "app"] == 5 + 6
    assert shown["saturation_ratio", "app"] == 0.9
    assert shown["standing_delay_seconds", "app"] == 0.4
    assert [shown["producers", "app", state] for state in ("open", "throttling", "closed")] == [1, 1, 0]


def test_counters_do_not_fall_when_a_producer_goes(producers: list[FakeAdmission]) -> None:
    collector = ThrottleCollector()
    producers += [FakeAdmission(delivered=100, in_flight=7), FakeAdmission(delivered=1, in_flight=1)]
    samples(collector)

    del producers[0]
    shown = samples(collector)

    assert shown["records_total", "app", "delivered"] == 101
    assert shown["in_flight_records", "app"] == 1


def test_counters_outlive_the_last_producer_and_its_gauges_do_not(producers: list[FakeAdmission]) -> None:
    collector = ThrottleCollector()
    producers.append(FakeAdmission(delivered=100, in_flight=7))
    samples(collector)

    producers.clear()
    gone = samples(collector)
    producers.append(FakeAdmission(delivered=1))

    assert gone["records_total", "app", "delivered"] == 100
    assert ("in_flight_records", "app") not in gone
    assert samples(collector)["records_total", "app", "delivered"] == 101


def test_only_so_many_departed_client_ids_are_remembered(
    producers: list[FakeAdmission], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "_REMEMBERED", 2)
    collector = ThrottleCollector()
    for name in ("a", "b", "c"):
        producers[:] = [FakeAdmission(name, delivered=1)]
        samples(collector)
    producers.clear()

    shown = samples(collector)

    assert {"b", "c"} == {key[1] for key in shown}


def test_the_reference_table_has_a_row_for_each_metric() -> None:
    rows = reference().splitlines()

    assert len(METRICS) + 2 == len(rows)
    assert (
        "| `kafka_throttle_limit_records` | gauge | records | `client_id` | Records that may be in flight. |"
        in rows
    )


def test_names_are_prefixed_and_only_counters_end_in_total() -> None:
    assert [m.name for m in METRICS if not m.name.startswith("kafka_throttle_")] == []
    assert [m.name for m in METRICS if m.name.endswith("_total") != (m.type == "counter")] == []


def test_importing_the_package_loads_no_exporter() -> None:
    script = "import sys, kafka_throttle; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
