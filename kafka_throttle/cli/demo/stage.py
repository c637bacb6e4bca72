"""Where the demo plays: a Kafka, and what keeps it from taking everything."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from attrs import Factory, frozen

from kafka_throttle.brokers import (
    BrokerUnavailable,
    ExternalKafka,
    KafkaCluster,
    LocalKafka,
    MockKafka,
    bootstrap_from_environment,
)
from kafka_throttle.cli.demo.figures import SIDES, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Choice", "Stage", "set_stage"]

# The mock has no quotas. Requests of a tenth of a second's worth, one at a time, with a round trip of a tenth of a
# second come to the same capacity.
_MOCK_ROUND_TRIP = 0.1


@frozen
class Choice:
    """Which Kafka was asked for.

    Attributes:
        bootstrap: Addresses of an existing cluster, or None.
        settings: What clients need for it besides.
        set_quota: Whether quotas may be set on it.
        mock: Whether the mock cluster was asked for.
    """

    bootstrap: str | None = None
    settings: Mapping[str, str] = Factory(dict)
    set_quota: bool = False
    mock: bool = False


@frozen(kw_only=True)
class Stage:
    """A Kafka that is ready.

    Attributes:
        kind: "local", "existing" or "mock".
        name: What it is, in words.
        constraint: What keeps it from taking everything, in a sentence.
        settings: Settings of the two clients, by side.
        topics: Their topics, by side.
        limit: Begins to keep it from taking everything.
        lift: Ends that.
    """

    kind: str
    name: str
    constraint: str
    settings: Mapping[str, dict[str, Any]]
    topics: Mapping[str, str]
    limit: Callable[[], None]
    lift: Callable[[], None]


@contextmanager
def set_stage(choice: Choice, client: str, plan: Plan, say: Callable[[str], None]) -> Iterator[Stage]:
    """Start a Kafka that can be limited as planned, and end it afterwards.

    An existing cluster that was named must answer; without one it is a local Kafka, and where that cannot be had, the
    mock, with a line that says so and why.

    Args:
        choice: Which Kafka was asked for.
        client: The package of the bare client.
        plan: What it should take.
        say: Told, in a line each, what is going on.

    Raises:
        BrokerUnavailable: The cluster that was asked for does not answer.
        ConfigurationError: A setting for it has no counterpart in the client.
    """
    cluster = _start(choice, say)
    try:
        topics = {side: f"kafka-throttle-demo-{side.replace('_', '-')}-{uuid4().hex[:8]}" for side in SIDES}
        for topic in topics.values():
            cluster.create_topic(topic)
        conf = cluster.client_config()
        common = {side: _settings(client, conf, topics[side]) for side in SIDES}
        yield _stage(cluster, client, common, topics, plan, choice)
    finally:
        cluster.stop()


def _start(choice: Choice, say: Callable[[str], None]) -> KafkaCluster:
    bootstrap = choice.bootstrap or (None if choice.mock else bootstrap_from_environment())
    cluster: KafkaCluster
    if bootstrap:
        cluster = ExternalKafka(bootstrap, choice.settings)
    elif choice.mock:
        cluster = MockKafka()
    else:
        cluster = LocalKafka(log=say)
        try:
            cluster.start()
        except BrokerUnavailable as error:
            reason = next(iter(str(error).splitlines()), "no reason given").rstrip(".")
            say(
                f"No real Kafka here ({reason}): going on with a mock cluster, good to look at, not for figures."
            )
            cluster = MockKafka()
    cluster.start()
    return cluster


def _settings(client: str, conf: Mapping[str, Any], client_id: str) -> dict[str, Any]:
    """Return the settings of one side's client."""
    settings = {**conf, "client.id": client_id}
    if client != "aiokafka":
        return settings
    from kafka_throttle._adapters.aiokafka_settings import kwargs_of  # noqa: PLC0415 - an extra

    return kwargs_of(settings)


def _stage(
    cluster: KafkaCluster,
    client: str,
    settings: Mapping[str, dict[str, Any]],
    topics: Mapping[str, str],
    plan: Plan,
    choice: Choice,
) -> Stage:
    if isinstance(cluster, MockKafka):
        return _mock_stage(cluster, client, settings, topics, plan)
    kind = "existing" if isinstance(cluster, ExternalKafka) else "local"
    name = f"the cluster at {cluster.bootstrap}" if kind == "existing" else "Apache Kafka on this machine"
    capacity = f"{plan.capacity / 1e6:g} MB/s"
    limits = kind == "local" or choice.set_quota
    constraint = (
        f"A client quota lets each side write {capacity}."
        if limits
        else f"No quota is set on this cluster: it takes what it can. (--set-quota lets the demo limit itself to {capacity}.)"
    )
    return Stage(
        kind=kind,
        name=name,
        constraint=constraint,
        settings=settings,
        topics=topics,
        limit=(lambda: _set_quotas(cluster, topics, plan.capacity)) if limits else _leave_alone,
        lift=(lambda: _set_quotas(cluster, topics, None)) if limits else _leave_alone,
    )


def _mock_stage(
    cluster: MockKafka,
    client: str,
    settings: Mapping[str, dict[str, Any]],
    topics: Mapping[str, str],
    plan: Plan,
) -> Stage:
    batch = max(1, round(plan.capacity * _MOCK_ROUND_TRIP / plan.record_bytes))
    narrow = (
        {"max_batch_size": batch * plan.record_bytes}  # it has one request at a time on its way anyhow
        if client == "aiokafka"
        else {"max.in.flight.requests.per.connection": 1, "batch.num.messages": batch}
    )
    return Stage(
        kind="mock",
        name="librdkafka's mock cluster",
        constraint=f"It has no quotas: a slow network ({_MOCK_ROUND_TRIP * 1000:g} ms, one request of {batch} records at a "
        f"time) limits each side to about {plan.capacity / 1e6:g} MB/s.",
        settings={side: {**settings[side], **narrow} for side in SIDES},
        topics=topics,
        limit=lambda: cluster.set_rtt(_MOCK_ROUND_TRIP),
        lift=lambda: cluster.set_rtt(0),
    )


def _set_quotas(cluster: KafkaCluster, topics: Mapping[str, str], bytes_per_second: float | None) -> None:
    for client_id in topics.values():
        cluster.set_producer_quota(client_id, bytes_per_second)


def _leave_alone() -> None:
    """Leave the cluster as it is."""
