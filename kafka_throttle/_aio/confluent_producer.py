"""`AIOProducer`: confluent_kafka's asyncio class with a gate in front, and without its batches.

From produce() to the outcome of a record:

1. ``produce`` makes the record's future and its `Outcome`, and calls the gate (``_gates/gate.py``): below the edge the
   record goes straight to librdkafka.
2. At the edge the gate returns what the caller has to await: a place in the line of `TaskAdmission`, or what the topic's
   rule does with the record (`TaskAdmission.at_edge`).
3. librdkafka sends, and rings when there are reports; the loop polls (``_aio/polling.py``), and each report resolves its
   future there.
4. What waits in librdkafka (flush, close, transactions) is the blocking facade's own method, in a thread.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException
from confluent_kafka.aio import AIOProducer as StockProducer

from kafka_throttle import config
from kafka_throttle._adapters.confluent import as_exception
from kafka_throttle._adapters.instrumented import STOCK
from kafka_throttle._aio.callbacks import Callbacks
from kafka_throttle._aio.calls import Calls
from kafka_throttle._aio.client import LoopClient
from kafka_throttle._aio.flushing import TaskFlushing
from kafka_throttle._aio.outcome import Outcome
from kafka_throttle._aio.polling import make_poller

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from kafka_throttle._aio.polling import Poller
    from kafka_throttle._throttle import Throttle
    from kafka_throttle.statistics import Statistics

__all__ = ["AIOProducer"]


class AIOProducer(StockProducer):
    """confluent_kafka.aio.AIOProducer with admission control: prompt futures, bounded delay and memory.

    Everything that works with confluent_kafka's class works here:

        async with AIOProducer({"bootstrap.servers": "localhost:9092"}) as producer:
            delivery = await producer.produce("orders", b"...", key=b"42", headers={"a": b"1"})
            message = await delivery

    What differs: produce() takes all that the blocking class's produce() takes, waits (at most 60 s, as the Java client
    does) while Kafka takes less than is offered, and then raises `Rejected`; callbacks run on the loop, and are functions
    or coroutine functions; flush(), drain() and close() take a timeout and end. See `Throttle` for other policies.

    Args:
        producer_conf: The client's configuration; ``throttle.*`` keys configure the facade.
        max_workers: Threads for calls that wait in the client.
        executor: An executor for them, which is the application's to shut down; None: one of the producer's own.
        batch_size: Without meaning: records are gathered by librdkafka alone (``linger.ms``, ``batch.size``).
        buffer_timeout: Without meaning, too.
        throttle: The facade's configuration; None: from `producer_conf` and the environment, else the defaults.

    Raises:
        ConfigurationError: The facade's configuration cannot be used; all problems are named at once.
        KafkaException: The client refuses its own configuration.
        SpoolError: A spool's directory cannot be used.
    """

    _poller: Poller

    def __init__(
        self,
        producer_conf: dict[str, Any],
        max_workers: int = 4,
        executor: Executor | None = None,
        batch_size: int = 1000,
        buffer_timeout: float = 1.0,
        *,
        throttle: Throttle | None = None,
    ) -> None:
        del batch_size, buffer_timeout
        if not isinstance(producer_conf, dict):
            raise TypeError(f"producer_conf: expected a dict, got {producer_conf!r}")
        self._loop = asyncio.get_running_loop()
        self._closing: asyncio.Task[None] | None = None
        conf, resolved = config.resolve(throttle, producer_conf, os.environ)
        self._callbacks = Callbacks(self._loop, conf)
        self._client = client = LoopClient(conf, resolved, self._loop)
        self._admission, self._deferred, self._hand_over = client.admission, client.deferred, client.hand_over
        self._poller = make_poller(client, self._loop)
        self._calls = Calls(client, self._poller, self._loop, executor, max_workers)
        self._flushing = TaskFlushing(self._admission, self._loop, self._calls.flush)
        self.executor = self._calls.executor
        self._is_closed = False

    async def produce(
        self,
        topic: str,
        value: Any = None,
        key: Any = None,
        partition: int = -1,
        callback: Callable[[Any, Any], object] | None = None,
        on_delivery: Callable[[Any, Any], object] | None = None,
        timestamp: int = 0,
        headers: Any = None,
    ) -> asyncio.Future[Any]:
        """Hand one record to the client when there is room, else do what its rule says: by default, wait.

        Returns:
            The future of its delivery, with the message or a KafkaException. It raises `Shed` when the record's rule gave it up,
            and resolves to `Spilled` when it was put on disk.

        Raises:
            Rejected: There is no room and the rule's patience is at its end; it is a BufferError.
            RuntimeError: The producer is closed.
        """
        if self._is_closed:
            self._refuse_closed()
        report = on_delivery if callback is None else callback
        report = self._callbacks.default if report is None else self._callbacks.of_record(report)
        future = self._loop.create_future()
        outcome = Outcome(future, self._deferred, as_exception, report)
        if self._admission.shedding is not None:
            outcome.waits = self._admission.resolves_late(topic)
        try:
            if headers is None and timestamp == 0:
                waiting = self._hand_over(topic, value, key, partition, outcome)
            else:
                options = (
                    {"timestamp": timestamp}
                    if headers is None
                    else {"timestamp": timestamp, "headers": headers}
                )
                waiting = self._hand_over(topic, value, key, partition, outcome, **options)
            if waiting is not None:
                await waiting
        except KafkaException as error:  # the client refuses this record: that is its outcome
            future.set_exception(error)
        return future

    # ---- what serves callbacks

    async def poll(self, timeout: float = 0) -> int:
        """Wait until callbacks have run; the loop sees to that by itself.

        Args:
            timeout: Longest wait in seconds; below 0: for ever.

        Returns:
            Events that were served meanwhile.
        """
        self._refuse_closed()
        served = await self._poller.wait(None if timeout < 0 else timeout)
        await self._calls.told()
        return served

    async def flush(self, timeout: float = -1) -> int:
        """Wait until everything that was accepted before is delivered, or on disk and not moving.

        Args:
            timeout: Longest wait in seconds; below 0: as long as records move, and for as long as the client would keep
                one.

        Returns:
            Records that are left.
        """
        self._refuse_closed()
        return await self._flushing.flush(None if timeout < 0 else timeout)

    async def drain(self, timeout: float = -1) -> int:
        """Refuse new records, and wait until everything is delivered that was accepted.

        produce() raises `Rejected` with reason ``"draining"`` from now on, whatever comes of it.

        Args:
            timeout: As for flush().

        Returns:
            Records that are left, in the client, held or on disk.
        """
        self._refuse_closed()
        self._admission.drain()
        return await self.flush(timeout)

    async def purge(self, *args: Any, **kwargs: Any) -> None:
        """Give up what the client has, and what is held in memory: see the client's purge. What is on disk stays."""
        await self._call(self._client.purge, *args, **kwargs)

    async def _call(self, blocking_task: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._refuse_closed()
        return await self._calls.make(blocking_task, *args, **kwargs)

    async def commit_transaction(self, *args: Any) -> None:
        """Send what is left, and commit: see the client's commit_transaction."""
        await self.flush(*args)
        await self._calls.make_polling(self._client.commit_transaction, *args)

    async def abort_transaction(self, *args: Any) -> None:
        """Send what is left, and abort: see the client's abort_transaction."""
        await self.flush(*args)
        await self._calls.make_polling(self._client.abort_transaction, *args)

    # ---- the end

    async def close(self, timeout: float | None = None) -> None:
        """Flush, and close the client. Every future is resolved then; to close once more does nothing.

        Args:
            timeout: Longest wait in seconds for what was accepted; what is left in the client then is given up, and what
                is on disk stays there. None: as flush() does without one.

        Raises:
            SpoolError: Something could not be put on disk; the client is closed all the same.
        """
        if self._closing is None:
            self._is_closed = True
            self._closing = self._loop.create_task(self._close(timeout))
            await asyncio.shield(self._closing)
        else:
            await asyncio.wait({self._closing})

    async def _close(self, timeout: float | None) -> None:
        try:
            await self._flushing.flush_to_close(timeout)
        finally:
            await self._admission.leave()
            try:
                await self._calls.end()
            finally:
                self._poller.stop()
                self._deferred.run()

    def _refuse_closed(self) -> None:
        if self._is_closed:
            raise RuntimeError("Producer has been closed")

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __del__(self) -> None:
        if not getattr(self, "_is_closed", True):
            self._calls.forget()

    def __len__(self) -> int:
        return 0 if self._is_closed else len(self._client) + len(self._admission.line)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return repr(self._client).replace("LoopClient", type(self).__name__, 1)

    def statistics(self) -> Statistics:
        """Return an immutable snapshot: the ledger, the limit, the signals, and the client's figures.

        Raises:
            RuntimeError: The facade is switched off (``enabled=False``), so that nothing is counted.
        """
        return self._client.statistics()


def _in_thread(name: str) -> Any:
    """Return a method that makes a call of the client that waits and serves no callbacks."""

    async def method(self: AIOProducer, *args: Any, **kwargs: Any) -> Any:
        return await self._call(getattr(self._client, name), *args, **kwargs)

    method.__name__ = name
    method.__qualname__ = f"AIOProducer.{name}"
    method.__doc__ = getattr(STOCK, name).__doc__
    return method


for _name in (
    "list_topics",
    "cluster_id",
    "init_transactions",
    "begin_transaction",
    "send_offsets_to_transaction",
    "set_sasl_credentials",
):
    if hasattr(STOCK, _name):
        setattr(AIOProducer, _name, _in_thread(_name))
