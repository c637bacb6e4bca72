"""Sends what is in a spool, in order, and removes a record only when Kafka has confirmed it.

Order. One client sends the records in the order of their sequences, idempotently: within a partition, and so within
a key, they arrive in that order. A record that Kafka refuses must not be overtaken by those behind it. So the client is
told to stop at the first gap (``enable.gapless.guarantee``), and records never time out one by one
(``message.timeout.ms`` is 0): when nothing gets through for a while, the whole replay gives up. With `skip_failed` a
refused record stays where it is, and those behind it do overtake it.

Memory. Records are read in small portions, and no more are with the client than `WINDOW_RECORDS` and `WINDOW_BYTES` allow.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import frozen
from confluent_kafka import KafkaError, KafkaException

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_throttle._spool import Spool, SpooledRecord

__all__ = ["OWN_SETTINGS", "WINDOW_BYTES", "WINDOW_RECORDS", "Failure", "Sender", "own_settings"]

WINDOW_RECORDS = 20_000
WINDOW_BYTES = 32 << 20
# Records of one look into the spool: with the largest that Kafka takes by default still only some megabytes.
_PORTION = 32
_TICK = 0.05
# Seconds: a pace is kept on the average of so much, for no wait is exact.
_BURST = 0.1
# Seconds for what is on its way when the replay ends early.
_LAST_WAIT = 10.0
_KEPT_FAILURES = 20

OWN_SETTINGS = {
    "acks": "all",
    "enable.idempotence": "true",
    "message.timeout.ms": "0",
    "transactional.id": None,
    "enable.gapless.guarantee": None,
}
"""Settings that a replay decides: on them order and completeness depend. None: not set."""

_ALIASES = {"request.required.acks": "acks", "delivery.timeout.ms": "message.timeout.ms"}


def own_settings(given: dict[str, str], *, skip_failed: bool) -> tuple[dict[str, str], list[str]]:
    """Return the settings for a replay, and those of `given` that it does not use, as ``key=value``."""
    own = {name: value for name, value in OWN_SETTINGS.items() if value is not None}
    if not skip_failed:
        own["enable.gapless.guarantee"] = "true"
    kept, unused = {}, []
    for name, value in given.items():
        canonical = _ALIASES.get(name, name)
        if canonical not in OWN_SETTINGS:
            kept[name] = value
        elif not _same(canonical, value, own.get(canonical)):
            unused.append(f"{name}={value}")
    return {**kept, **own}, unused


def _same(name: str, value: str, own: str | None) -> bool:
    return value == own or (name == "acks" and value == "-1")


@frozen
class Failure:
    """A record that Kafka refused.

    Attributes:
        sequence: Its sequence in the spool.
        topic: Its topic.
        reason: What the client said.
    """

    sequence: int
    topic: str
    reason: str


class Sender:
    """One replay of one spool. The caller owns the spool and the client.

    Attributes:
        sent: Records that were confirmed, and are out of the spool.
        failures: The first records that were refused.
        failed: How many were refused.
        gave_up: Whether nothing got through for too long.
        fatal: Why the client cannot go on, or None.
    """

    def __init__(
        self,
        spool: Spool,
        client: Any,
        *,
        stopping: Callable[[], bool],
        rate: float | None = None,
        header: str | None = None,
        skip_failed: bool = False,
        patience: float = 60.0,
        progress: Callable[[int, int], None] = lambda _done, _of: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with nothing sent.

        Args:
            spool: Where the records are.
            client: A producer with `own_settings`.
            stopping: Whether to end early; asked for each record.
            rate: The most records a second; None for no limit.
            header: Name of the header that gets the record's id; None for none.
            skip_failed: Go on after a record that was refused.
            patience: Seconds without a delivery report after which to give up.
            progress: Called with the records that are sent and their number.
            clock: Seconds.
        """
        self.sent = 0
        self.failures: list[Failure] = []
        self.failed = 0
        self.gave_up = False
        self.fatal: str | None = None
        self._spool = spool
        self._client = client
        self._stopping = stopping
        self._rate = rate
        self._header = header
        self._skip_failed = skip_failed
        self._patience = patience
        self._progress = progress
        self._clock = clock
        self._total = 0
        self._in_flight = 0
        self._in_flight_bytes = 0
        self._confirmed: list[int] = []
        self._broken = False
        self._heard_at = 0.0
        self._next_at = 0.0

    def run(self) -> None:
        """Send everything, or stop early: told to, refused without `skip_failed`, or nothing gets through.

        What the client has not confirmed at the end stays in the spool.

        Raises:
            SpoolError: When the spool cannot be read.
        """
        self._total = self._spool.records
        self._heard_at = self._clock()
        try:
            while not self._ends:
                if self._in_flight >= WINDOW_RECORDS or self._in_flight_bytes >= WINDOW_BYTES:
                    self._listen(_TICK)
                    continue
                records = self._spool.read(_PORTION)
                if not records and not self._in_flight:
                    break
                for record in records:
                    self._send(record)
                self._listen(0 if records else _TICK)
        finally:
            self._settle()

    @property
    def _ends(self) -> bool:
        return self._broken or self.fatal is not None or self.gave_up or self._stopping()

    def _send(self, record: SpooledRecord) -> None:
        self._keep_pace()
        headers = record.headers
        if self._header is not None:
            headers = (*(headers or ()), (self._header, record.record_id))
        size = record.payload_bytes
        while not self._ends:
            try:
                self._client.produce(
                    record.topic,
                    record.value,
                    record.key,
                    record.partition,
                    partial(self._report, record.sequence, record.topic, size),
                    timestamp=record.timestamp,
                    headers=None if headers is None else list(headers),
                )
            except BufferError:
                self._listen(_TICK)
            except KafkaException as error:
                self._refused(record.sequence, record.topic, error.args[0])
                return
            else:
                self._in_flight += 1
                self._in_flight_bytes += size
                return

    def _keep_pace(self) -> None:
        if self._rate is None:
            return
        while not self._ends and (ahead := self._next_at - self._clock()) > 0:
            self._listen(min(ahead, _TICK))
        self._next_at = max(self._next_at, self._clock() - _BURST) + 1 / self._rate

    def _report(self, sequence: int, topic: str, size: int, error: KafkaError | None, _message: Any) -> None:
        self._in_flight -= 1
        self._in_flight_bytes -= size
        if error is None:
            self._heard_at = self._clock()
            self._confirmed.append(sequence)
        elif error.code() not in {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}:  # noqa: SLF001 - public
            self._refused(sequence, topic, error)

    def _refused(self, sequence: int, topic: str, error: KafkaError) -> None:
        self._heard_at = self._clock()
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001 - as above
            self._break(error)
            return
        if self._skip_failed or not self._broken:
            self.failed += 1
            if len(self.failures) < _KEPT_FAILURES:
                self.failures.append(Failure(sequence, topic, error.str()))
        # Without skip_failed all that fails behind the first record fails because of it.
        self._broken = self._broken or not self._skip_failed

    def _break(self, error: KafkaError) -> None:
        self.fatal = self.fatal or error.str()

    def _poll(self, seconds: float) -> None:
        try:
            self._client.poll(seconds)
        except (
            KafkaException
        ) as error:  # the client raises its fatal errors here, and goes on with its reports
            self._break(error.args[0])

    def _listen(self, seconds: float) -> None:
        """Serve delivery reports for up to so many seconds, and take what was confirmed out of the spool."""
        self._poll(seconds)
        now = self._clock()
        if not self._in_flight:
            self._heard_at = now
        elif now - self._heard_at > self._patience:
            self.gave_up = True
        self._acknowledge()

    def _acknowledge(self) -> None:
        confirmed, self._confirmed = self._confirmed, []
        if confirmed:
            self.sent += self._spool.acknowledge(confirmed)
            self._progress(self.sent, self._total)

    def _settle(self) -> None:
        """Wait for what is on its way, and take the rest back from the client: it stays in the spool."""
        hurried = self.gave_up or self._stopping()
        if self._in_flight and hurried:
            self._client.purge(in_queue=True, in_flight=False)
        deadline = self._clock() + (0.0 if self.gave_up else _LAST_WAIT)
        while self._in_flight and self._clock() < deadline:
            self._poll(_TICK)
        if self._in_flight:
            self._client.purge(in_queue=True, in_flight=True)
            self._poll(0)
        self._acknowledge()
