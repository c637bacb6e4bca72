"""Prometheus metrics of all live producers of this process, read when they are scraped and never per record.

    from prometheus_client import REGISTRY
    from kafka_throttle.instrumentation.prometheus import ThrottleCollector

    REGISTRY.register(ThrottleCollector())

Producers are told apart by their client.id. Those that share one are one series: counts, amounts and rates are added,
and of delays and of saturation the largest counts. A counter keeps what a producer had counted when it was last
scraped, after the producer is gone, so that it only grows.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from kafka_throttle._registry import live
from kafka_throttle.instrumentation._metrics import METRICS, Metric, Observation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import Metric as Family

    from kafka_throttle._admission import Admission

__all__ = ["METRICS", "Metric", "ThrottleCollector", "reference"]

# Client ids without a live producer whose counters are still shown; random ids must not fill the memory.
_REMEMBERED = 256

# The values of a metric's labels, client_id first, and the value.
_Series = dict[tuple[str, ...], float]


class ThrottleCollector(Collector):
    """Collects the statistics of all live producers; register it once with a registry of prometheus_client."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[weakref.ref[Admission], Observation] = {}
        self._departed: OrderedDict[str, list[_Series]] = OrderedDict()

    def describe(self) -> Iterator[Family]:
        """Yield the metrics without values, so that registering reads no statistics."""
        return (_family(metric) for metric in METRICS)

    def collect(self) -> Iterator[Family]:
        """Yield the metrics with the values of this moment."""
        with self._lock:
            observations = self._observe()
            merged = [_merge(metric, observations) for metric in METRICS]
            self._add_departed(merged)
        return (_filled(metric, series) for metric, series in zip(METRICS, merged, strict=True))

    def _observe(self) -> list[Observation]:
        now = {weakref.ref(a): _observation(a) for a in live()}
        gone = [seen for producer, seen in self._last.items() if producer() is None]
        self._last = now
        for seen in gone:
            self._keep(seen)
        return list(now.values())

    def _keep(self, gone: Observation) -> None:
        """Add a departed producer's counts to what is kept for its client id."""
        client_id = gone.statistics.client_id
        kept = self._departed.setdefault(client_id, [{} for _ in METRICS])
        self._departed.move_to_end(client_id)
        for metric, series in zip(METRICS, kept, strict=True):
            if metric.type == "counter":
                _add(series, _merge(metric, [gone]))
        if len(self._departed) > _REMEMBERED:
            self._departed.popitem(last=False)

    def _add_departed(self, merged: list[_Series]) -> None:
        for kept in self._departed.values():
            for series, counts in zip(merged, kept, strict=True):
                _add(series, counts)


def _observation(admission: Admission) -> Observation:
    return Observation(admission.statistics(), tuple(signal.name for signal in admission.throttle.signals))


def _merge(metric: Metric, observations: Iterable[Observation]) -> _Series:
    series: _Series = {}
    adds = metric.merge == "sum"
    for seen in observations:
        client_id = seen.statistics.client_id
        for labels, value in metric.read(seen):
            key = (client_id, *labels)
            before = series.get(key)
            if before is not None:
                value = before + value if adds else max(before, value)  # noqa: PLW2901 - the merged value
            series[key] = value
    return series


def _add(series: _Series, counts: _Series) -> None:
    for key, value in counts.items():
        series[key] = series.get(key, 0) + value


def _family(metric: Metric) -> Family:
    if metric.type == "counter":
        return CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)


def _filled(metric: Metric, series: _Series) -> Family:
    family = _family(metric)
    family.samples = [
        Sample(metric.name, _labelled(metric.labels, key), value) for key, value in series.items()
    ]
    return family


@lru_cache(maxsize=10_000)  # most of the cost of a scrape; nobody changes the labels of a sample
def _labelled(names: tuple[str, ...], values: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(names, values, strict=True))


def reference() -> str:
    """Return the table of all metrics in Markdown, from the definitions that the collector uses."""
    rows = [
        f"| `{m.name}` | {m.type} | {m.unit} | {', '.join(f'`{label}`' for label in m.labels)} | {m.help} |"
        for m in METRICS
    ]
    return "\n".join(["| name | type | unit | labels | what it says |", "|---|---|---|---|---|", *rows])
