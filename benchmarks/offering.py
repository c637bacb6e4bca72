"""Offers an open or a tight loop to a client: the same code for both, each in a process of its own."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

from benchmarks.clients import state_of
from benchmarks.recorder import Recorder, Sample, clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.load import OpenLoop, TightLoop
    from benchmarks.outcome import Outcome

__all__ = ["WARM_UP_RECORDS", "Client", "offer_open", "offer_tight"]

# The client counts poll() timeouts in whole milliseconds: anything shorter would spin.
_SHORTEST_POLL = 0.001
_LONGEST_POLL = 0.05
_RETRY_POLL = 0.01

WARM_UP_RECORDS = 8
"""Records that each client sends before anything is measured."""


class Client:
    """The client under test and what its throttle_cb is to call.

    Args:
        make: Makes the client, given a throttle_cb.
        topic: Where the records go.
    """

    def __init__(self, make: Callable[[Callable[[Any], None]], Any], topic: str) -> None:
        self.topic = topic
        self.throttled: Callable[[Any], None] = lambda _event: None
        self.producer = make(self._take_throttle)

    def _take_throttle(self, event: Any) -> None:
        self.throttled(event)

    def warm_up(self, record_bytes: int) -> None:
        """Connect, and learn the topic's partitions, with records of the size that is to come."""
        for _ in range(WARM_UP_RECORDS):
            self.producer.produce(self.topic, bytes(record_bytes))
        if self.producer.flush(30):
            raise RuntimeError("the broker does not take the first records within 30 s")


def offer_open(client: Client, load: OpenLoop, begin: Callable[[float], None]) -> Outcome:
    """Send records at their intended times; late ones at once, as fast as the client takes them.

    Args:
        client: The client under test.
        load: What is offered.
        begin: Called with the time of the start, on `clock`.
    """
    producer, poll, topic, value = (
        client.producer,
        client.producer.poll,
        client.topic,
        bytes(load.record_bytes),
    )
    start = clock()
    recorder = Recorder(start, load.duration, state_of(producer))
    client.throttled = recorder.throttled
    begin(start)
    arrivals = load.arrivals()
    intended = start + next(arrivals)
    end = start + load.duration
    number = 0
    while (now := clock()) < end:
        recorder.tick(now)
        if intended > now:
            poll(min(max(intended - now, _SHORTEST_POLL), _LONGEST_POLL))
            continue
        number += 1
        if number % load.sample_every:
            _produce(producer, topic, value, recorder.report, recorder)
        else:
            _produce(producer, topic, value, Sample(recorder, intended), recorder)
        recorder.call_took(clock() - now)
        poll(0)
        intended = start + next(arrivals)
    return _finish(client, recorder, load)


def _produce(
    producer: Any, topic: str, value: bytes, report: Callable[[Any, Any], None] | None, recorder: Recorder
) -> None:
    """Produce one record; a client whose buffer is full is polled until it takes the record."""
    while not _taken(producer, topic, value, report):
        recorder.queue_full += 1
        producer.poll(_RETRY_POLL)
    recorder.accepted += 1


def _taken(producer: Any, topic: str, value: bytes, report: Callable[[Any, Any], None] | None) -> bool:
    try:
        producer.produce(topic, value, on_delivery=report)
    except BufferError:
        return False
    return True


def offer_tight(client: Client, load: TightLoop, begin: Callable[[float], None]) -> Outcome:
    """Produce without a pause; the delay of one record in each group is taken, the others have no callback.

    Args:
        client: The client under test.
        load: What is offered.
        begin: Called with the time of the start, on `clock`.
    """
    producer, topic, value = client.producer, client.topic, bytes(load.record_bytes)
    start = clock()
    recorder = Recorder(start, load.duration, state_of(producer), each=load.group)
    client.throttled = recorder.throttled
    begin(start)
    end = start + load.duration
    while (now := clock()) < end:
        recorder.tick(now)
        _produce(producer, topic, value, Sample(recorder, now), recorder)
        _produce_group(producer, topic, value, load.group - 1, recorder)
        producer.poll(0)
    return _finish(client, recorder, load)


def _produce_group(producer: Any, topic: str, value: bytes, records: int, recorder: Recorder) -> None:
    """Produce without callbacks; the count of what is left survives a full buffer."""
    left = repeat(None, records)
    while True:
        try:
            for _ in left:
                producer.produce(topic, value)
        except BufferError:
            recorder.queue_full += 1
            producer.poll(_RETRY_POLL)
            _produce(producer, topic, value, None, recorder)  # the one that was refused
            recorder.accepted -= 1
            continue
        recorder.accepted += records
        return


def _finish(client: Client, recorder: Recorder, load: OpenLoop | TightLoop) -> Outcome:
    producer = client.producer
    recorder.end_of_load(load.record_bytes, len(producer))
    abandoned = producer.flush(load.drain)
    outcome = recorder.outcome(abandoned)
    if abandoned:
        producer.purge()
        producer.flush(5)
    return outcome
