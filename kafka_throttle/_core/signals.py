"""Signals: each looks at one window and says whether something is wrong, with hysteresis and under a name.

A `Signal` is configuration (frozen, shared); `start()` gives the part that remembers. A signal that `congests` makes
the limit law back off once in that window; the others are seen in events and metrics, and tell a stall from overload.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from attrs import define, field, frozen

from kafka_throttle._fields import Configured, OptionalSeconds, configured, count, number, ratio, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kafka_throttle._core.window import WindowSample

__all__ = [
    "DEFAULT_SIGNALS",
    "SIGNALS",
    "BrokerThrottle",
    "BufferFill",
    "RecordErrorRate",
    "RequestImbalance",
    "Signal",
    "SignalReading",
    "StandingDelay",
    "Watcher",
]


@frozen
class SignalReading:
    """What a signal said about one window.

    Attributes:
        name: Name of the signal, as in events and metrics.
        value: What it measured, in its own unit.
        threshold: The value at which it is raised.
        raised: Whether it is raised now.
        congests: Whether the limit backs off while it is raised.
    """

    name: str
    value: float
    threshold: float
    raised: bool
    congests: bool


@configured
class Signal(Configured):
    """Base of the signals."""

    name: ClassVar[str]
    congests: ClassVar[bool] = True

    def start(self) -> Watcher:
        """Return the part that remembers whether the signal is raised."""
        return Watcher(self)

    @abstractmethod
    def measure(self, sample: WindowSample, base_delay: float) -> tuple[float, float, float]:
        """Return (value, threshold to raise, threshold below which it clears) for one window.

        Args:
            sample: The window.
            base_delay: The delay of a record that meets no queue, in seconds.
        """


@define
class Watcher:
    """Remembers one signal: raised at the high threshold, cleared below the low one.

    Attributes:
        signal: The configuration.
        raised: Whether it is raised.
    """

    signal: Signal
    raised: bool = field(default=False, init=False)

    def observe(self, sample: WindowSample, base_delay: float) -> SignalReading:
        """Look at one window and return what the signal says of it."""
        value, high, low = self.signal.measure(sample, base_delay)
        self.raised = value > low if self.raised else value >= high
        return SignalReading(self.signal.name, value, high, self.raised, self.signal.congests)


@configured
class StandingDelay(Signal):
    """A queue stands in front of the broker: most records wait longer than they have to.

    Raised when the median delay exceeds the base delay by the target. The target has to exceed what
    one batch takes on the link, which a multiple of the base delay follows; see `target`.

    Attributes:
        target: Standing delay above the base that is still calm, in seconds. None: the larger of 20 ms and two and a
            half times the base delay, at most 0.25 s.
    """

    name: ClassVar[str] = "standing-delay"
    target: OptionalSeconds = seconds(
        default=None,
        above=0,
        optional=True,
        doc="Delay above the base that is still calm; None: the larger of 20 ms and 2.5 times the base delay, at most 0.25 s.",
    )

    def measure(self, sample: WindowSample, base_delay: float) -> tuple[float, float, float]:
        """Return the standing delay in seconds, and base delay plus target."""
        if sample.stalled:
            return 0.0, 1.0, 1.0
        threshold = base_delay + self.tolerance(base_delay)
        return sample.standing_delay, threshold, threshold

    def tolerance(self, base_delay: float) -> float:
        """Return the delay above the base, in seconds, that is still calm."""
        return min(0.25, max(0.02, 2.5 * base_delay)) if self.target is None else self.target


@configured
class BufferFill(Signal):
    """The client's own buffer (Java: buffer-available-bytes) is nearly full.

    Attributes:
        high: Share of the buffer in use at which it is raised.
        low: Share below which it clears.
    """

    name: ClassVar[str] = "buffer-fill"
    high: float = ratio(
        default=0.9, above=0, doc="Share of the client's buffer in use at which it is raised."
    )
    low: float = ratio(default=0.7, doc="Share of the client's buffer in use below which it clears.")

    def _problems(self) -> Iterator[str]:
        if self.low > self.high:
            yield f"low: {self.low} is above high ({self.high}); allowed: up to high"

    def measure(self, sample: WindowSample, base_delay: float) -> tuple[float, float, float]:
        """Return the share in use, and 1 when the client raised BufferError in the window."""
        del base_delay
        return (1.0 if sample.client_full else sample.buffer_fill), self.high, self.low


@configured
class RecordErrorRate(Signal):
    """Records fail with errors that speak of congestion or outage (Java: record-error-rate).

    Attributes:
        high: Share of the reports of a window at which it is raised.
        low: Share below which it clears.
        minimum: Reports that a window needs to count at all.
    """

    name: ClassVar[str] = "record-error-rate"
    high: float = ratio(
        default=0.1, above=0, doc="Share of failed reports in a window at which it is raised."
    )
    low: float = ratio(default=0.02, doc="Share of failed reports in a window below which it clears.")
    minimum: int = count(default=10, minimum=1, doc="Reports that a window needs to be judged.")

    def _problems(self) -> Iterator[str]:
        if self.low > self.high:
            yield f"low: {self.low} is above high ({self.high}); allowed: up to high"

    def measure(self, sample: WindowSample, base_delay: float) -> tuple[float, float, float]:
        """Return the share of the reports that failed for now; permanent refusals are nobody's congestion."""
        del base_delay
        share = sample.transient / sample.acked if sample.acked >= self.minimum else 0.0
        return share, self.high, self.low


@configured
class RequestImbalance(Signal):
    """Requests go out and nothing comes back (Java: request-rate against response-rate).

    This is a stall (a leader election, a paused broker), not overload: it does not lower the limit.

    Attributes:
        after: Age of the oldest record in flight, without any report, at which it is raised, in windows.
    """

    name: ClassVar[str] = "request-imbalance"
    congests: ClassVar[bool] = False
    after: float = number(
        default=2.0, minimum=1.0, doc="Windows without any answer after which it is raised."
    )

    def measure(self, sample: WindowSample, base_delay: float) -> tuple[float, float, float]:
        """Return for how many windows the oldest record in flight has waited while nothing was reported."""
        del base_delay
        waited = sample.oldest / sample.duration if sample.stalled and sample.duration > 0 else 0.0
        return waited, self.after, 0.0


@configured
class BrokerThrottle(Signal):
    """A broker announced that it holds the client back because of a quota (Java: produce-throttle-time).

    The standing delay that follows lowers the limit; the throttle time itself tells a mute from a stall.
    """

    name: ClassVar[str] = "broker-throttle"
    congests: ClassVar[bool] = False

    def measure(self, sample: WindowSample, base_delay: float) -> tuple[float, float, float]:
        """Return the longest throttle time of the window in seconds."""
        del base_delay
        return sample.broker_throttle, 0.001, 0.0


DEFAULT_SIGNALS: tuple[Signal, ...] = (
    StandingDelay(),
    BufferFill(),
    RecordErrorRate(),
    RequestImbalance(),
    BrokerThrottle(),
)

SIGNALS: dict[str, type[Signal]] = {
    "standing_delay": StandingDelay,
    "buffer_fill": BufferFill,
    "record_error_rate": RecordErrorRate,
    "request_imbalance": RequestImbalance,
    "broker_throttle": BrokerThrottle,
}
