"""Reads what is in a topic, as a consumer without a group."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaError, TopicPartition

from kafka_throttle.brokers._errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from confluent_kafka import Message

__all__ = ["read_partition"]

_PORTION = 10_000


def read_partition(
    conf: Mapping[str, str], topic: str, partition: int, isolation_level: str, timeout: float
) -> Iterator[Message]:
    """Yield the messages of a partition from its beginning to its end.

    Args:
        conf: What a client needs to connect.
        topic: The topic.
        partition: The partition.
        isolation_level: "read_uncommitted" or "read_committed".
        timeout: Longest wait for the next message, in seconds.

    Raises:
        BrokerUnavailable: The partition could not be read to its end.
    """
    consumer = Consumer(
        {
            **conf,
            "group.id": uuid.uuid4().hex,
            "isolation.level": isolation_level,
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, partition, 0)])
        while True:
            # With more than one, consume() would wait for so many.
            messages = consumer.consume(1, timeout)
            messages += consumer.consume(_PORTION, 0) if messages else []
            for message in messages:
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - a public name
                    return
                else:
                    raise BrokerUnavailable(f"{topic} [{partition}] could not be read: {error.str()}")
            if not messages:
                raise BrokerUnavailable(
                    f"{topic} [{partition}]: nothing came in {timeout:g} s, and its end is not reached"
                )
    finally:
        consumer.close()
