"""The topic sink: a client of its own, a bound on what waits for it, and a thread that collects its reports."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, Producer

from kafka_throttle._dead_letter.dialects import headers_of
from kafka_throttle.exceptions import DeadLetterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kafka_throttle._dead_letter.letter import Letter
    from kafka_throttle._dead_letter.sinks import Done

__all__ = ["TopicSink", "client_conf"]

_logger = logging.getLogger("kafka_throttle")

_POLL_SECONDS = 0.1
# Of an application that ends without close(): as long as an operator may wait for a process to go.
_EXIT_SECONDS = 10.0
# Between giving up what is pending and the reports that say so; the client makes them at once.
_PURGE_SECONDS = 5.0

# What belongs to the producer alone. User callbacks run in the user's poll() only, which this client never sees;
# without oauth_cb, though, it could not log in. Reports of errors only would leave every letter that arrives pending.
_NOT_SHARED = frozenset(
    {
        "acks",
        "delivery.report.only.error",
        "error_cb",
        "key.serializer",
        "logger",
        "on_delivery",
        "plugin.library.paths",
        "request.required.acks",
        "statistics.interval.ms",
        "stats_cb",
        "throttle",
        "throttle_cb",
        "transaction.timeout.ms",
        "transactional.id",
        "value.serializer",
    }
)


def client_conf(conf: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of the sink's client, made of the producer's.

    Args:
        conf: The producer's; it is left as it is.
    """
    kept = {k: v for k, v in conf.items() if k not in _NOT_SHARED and not k.startswith("throttle.")}
    kept["client.id"] = f"{conf.get('client.id', 'rdkafka')}-dead-letters"
    kept["acks"] = "all"
    return kept


class TopicSink:
    """Sends letters to a topic; the reports arrive in a thread of its own.

    The client and the thread come with the first letter. The thread ends with `close`, or with the main thread, then
    after it has waited a little for what is pending. The child of a fork can neither use the sink nor be held up by
    it.
    """

    def __init__(
        self,
        conf: Mapping[str, Any],
        topic: str,
        *,
        dialect: str = "native",
        max_records: int = 10_000,
        make_client: Callable[[dict[str, Any]], Any] = Producer,
    ) -> None:
        """Keep what is needed for the first letter.

        Args:
            conf: The producer's configuration; see `client_conf`.
            topic: The topic; ``{topic}`` stands for that of the letter.
            dialect: The convention for headers.
            max_records: Most letters that may be pending.
            make_client: Makes the client of a configuration.
        """
        self._conf = client_conf(conf)
        self._topic = topic
        self._dialect = dialect
        self._max_records = max_records
        self._make_client = make_client
        self._owner = os.getpid()
        self._changed = threading.Condition()
        self._client: Any = None
        self._thread: threading.Thread | None = None
        self._pending = 0
        self._closed = False
        self._ended = threading.Event()
        _sinks.add(self)

    def __repr__(self) -> str:
        return f"<TopicSink {self._topic!r}, {self._pending} pending{', closed' if self._closed else ''}>"

    @property
    def pending(self) -> int:
        """Letters written whose `done` was not called yet."""
        return self._pending

    def write(self, letter: Letter, done: Done) -> None:
        """Hand a letter to the client.

        Args:
            letter: The letter.
            done: Called in the sink's thread, with None when the brokers have the letter, else with a KafkaException.

        Raises:
            DeadLetterError: When the queue is full, the client refuses, or the sink is closed or belongs to the
                parent process.
        """
        topic = self._topic.replace("{topic}", letter.topic)
        try:
            headers = headers_of(letter, self._dialect)
        except UnicodeEncodeError as error:
            raise self._refusal(letter, str(error)) from None
        with self._changed:
            self._require_room(letter)
            self._pending += 1
            try:
                client = self._started()
                client.produce(
                    topic, letter.value, letter.key, headers=headers, on_delivery=self._report_to(done)
                )
            except (BufferError, KafkaException, RuntimeError, TypeError, ValueError) as error:
                self._pending -= 1
                raise self._refusal(letter, str(error)) from error

    def flush(self, timeout: float | None = None) -> int:
        """Wait until nothing is pending.

        Args:
            timeout: Longest wait in seconds, None for any.

        Returns:
            Letters that still are pending.
        """
        if os.getpid() != self._owner:
            return 0
        with self._changed:
            self._changed.wait_for(lambda: not self._pending, timeout)
            return self._pending

    def close(self, timeout: float | None = None) -> int:
        """Take nothing any more, flush, and end the thread; what is pending after the timeout is given up.

        A letter that is given up may have arrived all the same.

        Args:
            timeout: Longest wait for what is pending, in seconds, None for any.

        Returns:
            Letters that were given up.
        """
        with self._changed:
            self._closed = True
            client, thread = self._client, self._thread
        left = self.flush(timeout)
        if thread is not None:
            if left:
                client.purge()
                self.flush(_PURGE_SECONDS)
            self._ended.set()
            thread.join()
            self._client = None
        return left

    def _require_room(self, letter: Letter) -> None:
        if os.getpid() != self._owner:
            raise self._refusal(letter, "the sink belongs to the parent process")
        if self._closed:
            raise self._refusal(letter, "the sink is closed")
        if self._pending >= self._max_records:
            raise self._refusal(letter, f"{self._pending:,} wait already (max_records)")

    def _started(self) -> Any:
        if self._client is None:
            client = self._make_client(self._conf)
            thread = threading.Thread(
                target=self._collect, args=(client,), name="kafka_throttle-dead-letters", daemon=False
            )
            thread.start()
            self._client, self._thread = client, thread
        return self._client

    def _collect(self, client: Any) -> None:
        """Run the reports of the client until `close`, or until the application ends without it."""
        main = threading.main_thread()
        while main.is_alive() and not self._ended.is_set():
            client.poll(_POLL_SECONDS)
        until = time.monotonic() + _EXIT_SECONDS
        while self._pending and not self._ended.is_set() and time.monotonic() < until:
            client.poll(_POLL_SECONDS)

    def _report_to(self, done: Done) -> Callable[[Any, Any], None]:
        def report(error: Any, _message: Any) -> None:
            try:
                done(None if error is None else KafkaException(error))
            except Exception:  # whatever the caller's function raises must not end the thread of all letters
                _logger.exception("the report of a dead letter raised")
            finally:
                with self._changed:
                    self._pending -= 1
                    self._changed.notify_all()

        return report

    def _refusal(self, letter: Letter, reason: str) -> DeadLetterError:
        return DeadLetterError(
            f"the dead letter of topic {letter.topic!r} cannot go to {self._topic!r}: {reason}"
        )

    def _orphan(self) -> None:
        """Give up in a forked child, which has neither the client's threads nor ours."""
        self._changed = threading.Condition()
        client, self._client, self._thread = self._client, None, None
        self._closed, self._pending = True, 0
        if client is not None:
            _keep_for_ever(client)


_sinks: weakref.WeakSet[TopicSink] = weakref.WeakSet()


def _in_child() -> None:
    for sink in list(_sinks):
        sink._orphan()  # noqa: SLF001 (the same module)


def _keep_for_ever(client: Any) -> None:
    """Let a client outlive the interpreter: destroying it would wait for threads that were not forked."""
    import ctypes  # noqa: PLC0415 (4 ms that only a forked child has to pay)

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(client))


os.register_at_fork(after_in_child=_in_child)
