"""Brings up the Kafka of a scenario, with the proxy in front where the path is limited."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from attrs import frozen
from confluent_kafka.admin import AdminClient

from benchmarks.child import Child
from kafka_throttle.brokers import LocalKafka

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.scenario import Cluster, Link, Step

__all__ = ["Broker", "running_broker"]

# What was measured is of no use afterwards: a tight loop writes gigabytes.
_SERVER_PROPERTIES = {"log.segment.delete.delay.ms": "1000"}


@frozen
class Broker:
    """A running Kafka and the path to it.

    Attributes:
        kafka: The cluster.
        cluster: What the scenario asked for.
        proxy: The limited path, or None.
    """

    kafka: LocalKafka
    cluster: Cluster
    proxy: Child | None

    def prepare(self, topic: str, client_id: str) -> None:
        """Create the topic of one client, and put path and quota as they are at the start."""
        self._shape(None)
        self.kafka.create_topic(topic, self.cluster.partitions, config=self.cluster.topic_config)
        if self.cluster.quota is not None:
            self.kafka.set_producer_quota(client_id, self.cluster.quota)
        self._shape(self.cluster.link)

    def perform(self, step: Step, client_id: str) -> None:
        """Do a step of the scenario."""
        if step.action == "quota":
            self.kafka.set_producer_quota(client_id, step.value)
        elif step.action == "link":
            assert self.proxy is not None
            assert self.cluster.link is not None
            self.proxy.ask({"bytes_per_second": step.value, "round_trip": self.cluster.link.round_trip})
        else:
            {
                "pause": self.kafka.pause,
                "resume": self.kafka.resume,
                "kill": self.kafka.kill,
                "start": self.kafka.start,
            }[step.action](int(step.value))

    def carried(self) -> int:
        """Return the bytes that the limited path has carried to the broker; 0 without one."""
        return int(self.proxy.ask({})["carried"]) if self.proxy else 0

    def written(self, topic: str) -> int:
        """Return the records that a topic has got."""
        self._shape(None)
        return sum(self.kafka.end_offsets(topic).values())

    def forget(self, topic: str) -> None:
        """Delete a topic."""
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
        admin.delete_topics([topic])[topic].result(30)

    def _shape(self, link: Link | None) -> None:
        if self.proxy is not None:
            rate, round_trip = (link.bytes_per_second, link.round_trip) if link else (None, 0.0)
            self.proxy.ask({"bytes_per_second": rate, "round_trip": round_trip})


@contextmanager
def running_broker(cluster: Cluster) -> Iterator[Broker]:
    """Start the Kafka of a scenario, for the length of a with block."""
    with ExitStack() as stack:
        properties = {**_SERVER_PROPERTIES, **cluster.server_properties}
        proxy = None
        if cluster.link is not None:
            proxy = stack.enter_context(Child("benchmarks.proxy"))
            # Clients bootstrap directly and are then sent to the address that the broker advertises.
            properties["advertised.listeners"] = f"BROKER://127.0.0.1:{proxy.answer()['port']}"
        kafka = LocalKafka(cluster.nodes, server_properties=properties, log=_say)
        if proxy is None:
            yield Broker(stack.enter_context(kafka), cluster, None)
            return
        stack.callback(kafka.stop)
        _start_behind(kafka, proxy)
        yield Broker(kafka, cluster, proxy)


def _start_behind(kafka: LocalKafka, proxy: Child) -> None:
    kafka.start()
    proxy.ask({"upstream": int(kafka.bootstrap.rsplit(":", 1)[1])})


def _say(line: str) -> None:
    print(line, flush=True)
