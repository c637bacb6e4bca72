"""One side of the demo with a blocking client: a thread that calls produce() and poll(), as many applications have."""

from __future__ import annotations

import threading
import time
from collections import deque
from functools import partial
from typing import Any

from kafka_throttle.cli.demo.figures import TICK, Plan, Result, Sample, quantile

__all__ = ["Side"]


class Side:
    """Offers records to one producer as planned, and keeps account.

    The offering thread is an application as many are: it calls produce(), then poll(0), and when it is refused it
    polls and tries again.

    Args:
        producer: The producer, bare or not.
        topic: Where the records go.
        plan: How many, how large, how long.
    """

    def __init__(self, producer: Any, topic: str, plan: Plan) -> None:
        self.stop = threading.Event()
        self._producer = producer
        self._topic = topic
        self._plan = plan
        self._value = bytes(plan.record_bytes)
        self._pending: deque[float] = deque()
        self._delays: list[float] = []
        self._fresh: list[float] = []
        self._recent: deque[list[float]] = deque(maxlen=round(1 / TICK))
        self._produced = self._delivered = self._failed = self._refusals = 0
        self._largest_queue = 0
        self._longest_call = 0.0
        self._call_began: float | None = None
        self._started = time.perf_counter()

    def offer(self) -> None:
        """Offer what is due, until the time is up or somebody says stop."""
        self._started = time.perf_counter()
        while not self.stop.is_set() and (elapsed := self._elapsed()) < self._plan.seconds:
            if self._produced >= elapsed * self._plan.rate:
                self._producer.poll(0.001)
                continue
            self._hand_over()
            self._producer.poll(0)

    def crowd(self) -> None:
        """Do nothing: threads are no crowd."""

    def drain(self, seconds: float, offered_for: float, at_end: tuple[int, int]) -> Result:
        """Give the client time to deliver what it still has, and return the account.

        Args:
            seconds: How much time.
            offered_for: How long records were offered, in seconds.
            at_end: Records delivered and records in the client at the end of that.
        """
        self._producer.flush(seconds)
        delivered, queue = at_end
        delays = sorted(self._delays)
        return Result(
            seconds=offered_for,
            produced=self._produced,
            delivered=delivered,
            goodput=delivered * self._plan.record_bytes / max(offered_for, 1e-9),
            delay_p50=quantile(delays, 0.5),
            delay_p99=quantile(delays, 0.99),
            delay_max=delays[-1] if delays else 0.0,
            largest_queue=self._largest_queue,
            queue_at_end=queue,
            failed=self._failed,
            undelivered=len(self._pending),
            refusals=self._refusals,
            longest_call=self._longest_call,
        )

    def standing(self) -> tuple[int, int]:
        """Return how many records are delivered and how many are in the client."""
        return self._delivered, len(self._pending)

    def sample(self) -> Sample:
        """Return how it stands; to be called once a tick."""
        fresh, self._fresh = self._fresh, []
        self._recent.append(fresh)
        p50, p99 = self._delays_now()
        now = time.perf_counter()
        began = self._call_began
        statistics = self._producer.statistics() if hasattr(self._producer, "statistics") else None
        return Sample(
            at=self._elapsed(),
            produced=self._produced,
            delivered=self._delivered,
            queue=len(self._pending),
            p50=p50,
            p99=p99,
            longest_call=max(self._longest_call, now - began if began is not None else 0.0),
            refusals=self._refusals,
            limit=statistics.limit_records if statistics else None,
            state=statistics.state if statistics else "",
        )

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started

    def _delays_now(self) -> tuple[float | None, float | None]:
        delays = sorted(delay for tick in self._recent for delay in tick)
        if delays:
            return quantile(delays, 0.5), quantile(delays, 0.99)
        try:
            age = time.perf_counter() - self._pending[0]
        except IndexError:  # nothing is in the client
            return None, None
        return age, age

    def _hand_over(self) -> None:
        self._call_began = began = time.perf_counter()
        while True:
            try:
                self._producer.produce(self._topic, self._value, on_delivery=partial(self._reported, began))
                break
            except BufferError:
                self._refusals += 1
                self._producer.poll(0.1)
                if self.stop.is_set():
                    self._call_began = None
                    return
        self._call_began = None
        self._longest_call = max(self._longest_call, time.perf_counter() - began)
        self._pending.append(began)
        self._produced += 1
        self._largest_queue = max(self._largest_queue, len(self._pending))

    def _reported(self, began: float, error: object, _message: object) -> None:
        self._pending.popleft()  # one partition: reports come in the order of the records
        if error is not None:
            self._failed += 1
            return
        delay = time.perf_counter() - began
        self._delivered += 1
        self._delays.append(delay)
        self._fresh.append(delay)
