"""What became of the records: two meters with one protocol.

`InterceptedAcks` counts inside librdkafka, on its own threads, through interceptors (``_acks.c``): exact for every
record, with or without a callback, at no cost for Python. `ReportedAcks` is the fallback in pure Python: the gate's
stand-ins count each report, which makes the client build a Message for every record.
"""

from __future__ import annotations

import importlib
import json
import threading
from collections import deque
from contextlib import contextmanager, suppress
from itertools import repeat
from typing import TYPE_CHECKING, Any, Protocol

from confluent_kafka import cimpl

from kafka_throttle._adapters.confluent import count_transient
from kafka_throttle._adapters.tally import Tally
from kafka_throttle._core.window import Delays, Reading
from kafka_throttle._gates.gate import COMPILED, PureGate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kafka_throttle._gates.gate import Gate

__all__ = ["Counts", "InterceptedAcks", "Meter", "ReportedAcks", "make_meter"]

# The order of _acks.bind().
_FUNCTIONS = (
    "rd_kafka_conf_interceptor_add_on_new",
    "rd_kafka_interceptor_add_on_acknowledgement",
    "rd_kafka_interceptor_add_on_request_sent",
    "rd_kafka_interceptor_add_on_response_received",
    "rd_kafka_interceptor_add_on_destroy",
    "rd_kafka_message_latency",
    "rd_kafka_message_status",
    "rd_kafka_queue_get_main",
    "rd_kafka_queue_io_event_enable",
    "rd_kafka_queue_destroy",
)
_WANTED_SAMPLES = 2000.0
_PLUGINS = "plugin.library.paths"


class Counts(Protocol):
    """What has become of the records of one client."""

    def brief(self, gate: Gate) -> Reading:
        """Return the counters that every visit to the slow path needs."""
        ...

    def reading(self, gate: Gate) -> Reading:
        """Return all counters."""
        ...

    def errors(self) -> dict[int, int]:
        """Return how many records failed with which error code."""
        ...

    def begin_window(self, records_per_second: float) -> None:
        """Choose how many delays to measure, and forget the least round trip."""


class Meter(Counts, Protocol):
    """Counts what becomes of the records of one client."""

    def prepare(self, conf: dict[str, Any], gate: Gate) -> None:
        """Change the client's configuration so that the meter is told."""

    def constructing(self) -> Any:
        """Return a context manager that goes around the client's constructor."""


class InterceptedAcks:
    """Counts by interceptors inside librdkafka."""

    def __init__(self, acks: Any) -> None:
        self.counter = acks.AckCounter()
        self._path = acks.__file__

    def prepare(self, conf: dict[str, Any], gate: Gate) -> None:  # noqa: ARG002 - see Meter
        """Have librdkafka load the interceptors."""
        others = conf.get(_PLUGINS)
        conf[_PLUGINS] = f"{others};{self._path}" if others else self._path

    @contextmanager
    def constructing(self) -> Iterator[None]:
        """Count for the client that this thread constructs here."""
        self.counter.arm()
        try:
            yield
        finally:
            self.counter.disarm()

    def ring(self, fd: int) -> bool:
        """Have librdkafka write a byte to a descriptor whenever poll() has something to do again; -1: no more.

        Returns:
            Whether the client lives.
        """
        lives: bool = self.counter.ring(fd)
        return lives

    def brief(self, gate: Gate) -> Reading:
        """Return the counters that every visit to the slow path needs."""
        # Reports first: a record admitted in between must not look reported before it was admitted.
        acked, acked_bytes = self.counter.acked()
        return Reading(gate.ticket, gate.bytes, acked, acked_bytes, client_full=gate.client_full)  # type: ignore[attr-defined]

    def reading(self, gate: Gate) -> Reading:
        """Return all counters."""
        acked, acked_bytes, failed, failed_bytes, unknown, unknown_bytes = self.counter.outcomes()
        requests, responses, response_time = self.counter.requests()
        counts, total, samples = self.counter.delays()
        return Reading(
            admitted=gate.ticket,
            admitted_bytes=gate.bytes,  # type: ignore[attr-defined]
            acked=acked,
            acked_bytes=acked_bytes,
            failed=failed,
            failed_bytes=failed_bytes,
            unknown=unknown,
            unknown_bytes=unknown_bytes,
            transient=count_transient(self.errors()) if failed or unknown else 0,
            requests=requests,
            responses=responses,
            response_time=response_time * 1e-6,
            least_round_trip=self.counter.least_round_trip() * 1e-6,
            delays=Delays(counts, total * 1e-6, samples),
            client_full=gate.client_full,
        )

    def errors(self) -> dict[int, int]:
        """Return how many records failed with which error code."""
        errors: dict[int, int] = self.counter.errors()
        return errors

    def begin_window(self, records_per_second: float) -> None:
        """Measure about 2 000 delays a second, at low rates every one, and forget the least round trip."""
        self.counter.begin_window(max(0, int(records_per_second / _WANTED_SAMPLES).bit_length()))


class ReportedAcks:
    """Counts by the gate's stand-ins, one Python call per report.

    The client does not tell Python whether a timed-out record was written: it counts as unknown. Requests and
    responses come from librdkafka's statistics, twice a second or at the user's interval.
    """

    def __init__(self) -> None:
        self._acked = self._acked_bytes = 0
        self._tally = Tally()
        self._every = 1
        self._sizes: deque[int] = deque()
        self._unmeasured: Iterator[None] = repeat(None, 0)
        self._last: dict[str, tuple[int, int]] = {}
        # Reentrant: a signal handler may ask for the statistics in the middle of a report.
        self._counting = threading.RLock()

    def prepare(self, conf: dict[str, Any], gate: Gate) -> None:
        """Have every record reported, and the statistics told."""
        self._have_reports(conf, gate)
        theirs: Callable[[str], Any] | None = conf.get("stats_cb")
        if "stats_cb" in conf and not callable(theirs):
            return  # the client says so
        if str(conf.get("statistics.interval.ms", 0)).strip() == "0":
            conf["statistics.interval.ms"] = 500
            theirs = None  # without an interval the client would not have called it

        def take_statistics(text: str) -> Any:
            self.take_statistics(text)
            return theirs(text) if theirs else None

        conf["stats_cb"] = gate.guard(take_statistics)

    @staticmethod
    def _have_reports(conf: dict[str, Any], gate: Gate) -> None:
        if "on_delivery" not in conf or callable(conf["on_delivery"]):
            conf["on_delivery"] = gate.report(conf.get("on_delivery"))
        if conf.get("delivery.report.only.error") is True and isinstance(gate, PureGate):
            # The client would keep the successes to itself, and every record has to be counted.
            conf["delivery.report.only.error"] = False
            gate.only_errors = True

    @contextmanager
    def constructing(self) -> Iterator[None]:
        """Do nothing: the client needs no preparation but its configuration."""
        yield

    def close(self, gate: Gate) -> None:
        """Count as unknown what was not reported: a callback that raises ends the reports of a client that closes."""
        with self._counting:
            brief = self.brief(gate)
            self._tally.unknown += brief.admitted - brief.acked
            self._tally.unknown_bytes += brief.admitted_bytes - brief.acked_bytes
            self._acked, self._acked_bytes = brief.admitted, brief.admitted_bytes

    def count_report(self, error: Any, message: Any) -> None:
        """Count one delivery report."""
        key = message.key()
        # Appending is atomic under the GIL, and many times cheaper than a lock; `_take_in` adds up.
        self._sizes.append(len(message) + len(key) if key else len(message))
        if error is None:
            for _ in self._unmeasured:  # no loop: it takes one of those whose delay is not measured
                return
        self._look_at(error, message)

    def _look_at(self, error: Any, message: Any) -> None:
        with self._counting:
            if error is not None:
                self._tally.count_failure(error.code(), 1, len(message) + len(message.key() or b""))
                return
            self._unmeasured = repeat(None, self._every - 1)
            self._tally.count_delay(message.latency() or 0.0)

    def _take_in(self) -> tuple[int, int]:
        """Add up what was reported, and return all records and bytes so far."""
        with self._counting:
            sizes: list[int] = []
            with suppress(IndexError):  # not a count of steps: a signal handler may take some in, too
                while True:
                    sizes.append(self._sizes.popleft())
            self._acked += len(sizes)
            self._acked_bytes += sum(sizes)
            return self._acked, self._acked_bytes

    def take_statistics(self, text: str) -> None:
        """Take requests, responses and round trips from one of librdkafka's statistics."""
        for name, broker in json.loads(text).get("brokers", {}).items():
            requests, responses = broker.get("req", {}).get("Produce", 0), broker.get("rx", 0)
            before = self._last.get(name, (0, 0))
            self._last[name] = requests, responses
            # The counters fall when a connection is made anew.
            self._tally.requests += max(0, requests - before[0])
            gained = max(0, responses - before[1])
            self._tally.responses += gained
            self._tally.response_time += gained * broker.get("rtt", {}).get("avg", 0) * 1e-6

    def brief(self, gate: Gate) -> Reading:
        """Return the counters that every visit to the slow path needs."""
        acked, acked_bytes = self._take_in()
        admitted = gate.ticket
        mean = acked_bytes / acked if acked else 0.0
        return Reading(
            admitted,
            acked_bytes + int((admitted - acked) * mean),
            acked,
            acked_bytes,
            client_full=gate.client_full,
        )

    def reading(self, gate: Gate) -> Reading:
        """Return all counters."""
        with self._counting:
            return self._tally.reading(self.brief(gate))

    def errors(self) -> dict[int, int]:
        """Return how many records failed with which error code."""
        return dict(self._tally.errors)

    def begin_window(self, records_per_second: float) -> None:
        """Measure about 2 000 delays a second, at low rates every one, and forget the least round trip."""
        self._every = max(1, int(records_per_second / _WANTED_SAMPLES))


def _bound_interceptors() -> Any:
    """Return the interceptor module, bound to the client's librdkafka, or None where that is not possible."""
    if not COMPILED:
        return None
    try:
        import ctypes  # noqa: PLC0415 - 4 ms that the pure fallback need not pay

        acks: Any = importlib.import_module("kafka_throttle._adapters._acks")
        # dlsym() on the client's own module searches the librdkafka that it is linked with, wherever that is.
        client = ctypes.CDLL(cimpl.__file__)
        addresses = [ctypes.cast(getattr(client, name), ctypes.c_void_p).value for name in _FUNCTIONS]
    except (ImportError, OSError, AttributeError):
        return None
    acks.bind(*addresses)
    return acks


_interceptors: Any = ...


def interceptors() -> Any:
    """Return the interceptor module, or None where counting has to be done in Python."""
    global _interceptors  # noqa: PLW0603 - found out once, at the first producer
    if _interceptors is ...:
        _interceptors = _bound_interceptors()
    return _interceptors


def make_meter() -> InterceptedAcks | ReportedAcks:
    """Return the best meter that there is."""
    acks = interceptors()
    return InterceptedAcks(acks) if acks else ReportedAcks()
