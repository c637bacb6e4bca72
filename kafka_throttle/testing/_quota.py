"""A broker's quota on a client, by Kafka's own arithmetic."""

from __future__ import annotations

from collections import deque

from attrs import define, field

__all__ = ["BrokerQuota"]

# quota.window.num and quota.window.size.seconds at their defaults.
_SAMPLES = 11
_SAMPLE = 1.0
_LONGEST_MUTE = 1.0


@define
class BrokerQuota:
    """Measures a client's rate as Kafka's `Rate` does, and says for how long its connection is muted.

    The rate is what came in the last 10 to 11 seconds, divided by at least 10: a fresh client has credit. A request
    that takes it above the quota mutes the connection for ``(rate - quota) / quota x window``, a second at most.

    Attributes:
        bytes_per_second: The quota.
    """

    bytes_per_second: float
    _samples: deque[list[float]] = field(factory=deque, init=False)

    def note(self, now: float, size: int) -> float:
        """Take in a request of `size` bytes and return the seconds for which the connection is muted after it."""
        samples = self._samples
        while samples and samples[0][0] <= now - _SAMPLES * _SAMPLE:
            samples.popleft()
        if not samples or now - samples[-1][0] >= _SAMPLE:
            samples.append([now, 0.0])
        samples[-1][1] += size
        window = max((_SAMPLES - 1) * _SAMPLE, now - samples[0][0])
        rate = sum(total for _, total in samples) / window
        return min(_LONGEST_MUTE, max(0.0, (rate / self.bytes_per_second - 1) * window))
