"""Letters in a topic; the committed offsets of a consumer group say which were sent back already."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from kafka_throttle._dead_letter.dialects import letter_of
from kafka_throttle.cli.dead_letters.source import Found
from kafka_throttle.exceptions import DeadLetterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["TopicSource"]

_ANSWER_SECONDS = 15.0
_NO_GROUP = "kafka-throttle-show"


class TopicSource:
    """The letters of a topic from where a group stands, or the beginning, to where it ended when this was made."""

    def __init__(self, conf: Mapping[str, str], topic: str, group: str | None) -> None:
        """Connect, and find out where to begin and to end.

        Raises:
            DeadLetterError: When that fails.
        """
        self.name = f"topic {topic} at {conf['bootstrap.servers']}"
        self._topic = topic
        self._next: dict[int, int] = {}
        self._blocked: set[int] = set()
        self._again = 0
        fixed = {
            "group.id": group or _NO_GROUP,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
        with self._mapped():
            self._consumer = Consumer({"log_level": 0, **conf, **fixed})
        try:
            with self._mapped():
                self._begin = self._where_to_begin(group)
                self._end = {p: self._watermarks(p)[1] for p in self._begin}
        except BaseException:
            self._consumer.close()
            raise
        self.size = sum(max(0, self._end[p] - at) for p, at in self._begin.items())

    def count(self) -> int:
        """Return how many messages there are, about: compaction and transactions leave gaps."""
        return self.size

    def read(self) -> Iterator[Found]:
        """Yield the messages, in order per partition.

        Raises:
            DeadLetterError: When the brokers stop to answer.
        """
        left = {partition for partition, at in self._begin.items() if at < self._end[partition]}
        with self._mapped():
            self._consumer.assign([TopicPartition(self._topic, p, self._begin[p]) for p in sorted(left)])
            while left:
                message = self._consumer.poll(_ANSWER_SECONDS)
                if message is None:
                    raise DeadLetterError(f"{self.name}: no answer for {_ANSWER_SECONDS:g} s")
                partition, offset = _place(message)
                ended = self._is_end(message)
                if not ended and partition in left:
                    yield _found(message)
                if ended or offset >= self._end[partition] - 1:
                    left.discard(partition)

    def claim(self) -> None:
        """Nothing: the offsets of the group are all that there is to be had."""

    def settle(self, found: Found, *, delivered: bool) -> None:
        """Note what became of a letter; what is no letter is passed over, and stays in the topic like all else."""
        partition, offset = found.mark
        if found.letter is not None and not delivered:
            self._blocked.add(partition)
        elif partition not in self._blocked:
            self._next[partition] = offset + 1
        elif delivered:
            self._again += 1

    def save(self) -> None:
        """Commit how far each partition was delivered without a gap.

        Raises:
            DeadLetterError: When the brokers refuse.
        """
        if self._next:
            offsets = [TopicPartition(self._topic, p, offset) for p, offset in self._next.items()]
            with self._mapped():
                for committed in self._consumer.commit(offsets=offsets, asynchronous=False) or ():
                    if committed.error is not None:
                        raise KafkaException(committed.error)
            self._next.clear()

    def close(self) -> int:
        """Save, and disconnect.

        Returns:
            Letters that were delivered behind one that was not, and will come again.
        """
        try:
            self.save()
        finally:
            self._consumer.close()
        return self._again

    def _where_to_begin(self, group: str | None) -> dict[int, int]:
        found = self._consumer.list_topics(self._topic, timeout=_ANSWER_SECONDS).topics[self._topic]
        if found.error is not None:
            raise KafkaException(found.error)
        begin = {p: self._watermarks(p)[0] for p in found.partitions}
        if group is not None:
            partitions = [TopicPartition(self._topic, p) for p in begin]
            for committed in self._consumer.committed(partitions, timeout=_ANSWER_SECONDS):
                begin[committed.partition] = max(begin[committed.partition], committed.offset)
        return begin

    def _watermarks(self, partition: int) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(
            TopicPartition(self._topic, partition), timeout=_ANSWER_SECONDS
        )
        return low, high

    def _is_end(self, message: Message) -> bool:
        error: Any = message.error()
        if error is None:
            return False
        if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 (the client's name for it)
            raise KafkaException(error)
        return True

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            words = error.args[0].str() if isinstance(error.args[0], KafkaError) else str(error)
            raise DeadLetterError(f"{self.name}: {words}") from error


def _place(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    assert partition is not None  # noqa: S101 (None is for messages that are still to be produced)
    assert offset is not None  # noqa: S101 (the same)
    return partition, offset


def _found(message: Message) -> Found:
    partition, offset = _place(message)
    place = f"{message.topic()}, partition {partition}, offset {offset}"
    try:
        headers: Any = message.headers()  # a consumer's are a list of names and bytes
        letter = letter_of(headers, message.key(), message.value())
    except DeadLetterError as error:
        return Found(place, None, str(error), 1, (partition, offset))
    return Found(place, letter, "", 1, (partition, offset))
