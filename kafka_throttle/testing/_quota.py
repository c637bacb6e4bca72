"""A broker's quota on a client, by Kafka's own arithmetic."""

from __future__ import annotations

from collections import deque

from attrs import define, field

__all__ = ["BrokerQuota"]

# quota.window.num and quota.window.size.seconds at their defaults.
_SAMPLES = 11
_SAMPLE = 1.0


@define
class _Sample:
    start: float
    last: float
    size: float = 0.0


@define
class BrokerQuota:
    """Measures a client's rate as Kafka's `Rate` does, and says for how long its connection is muted.

    A sample takes in what comes in a second, and counts until eleven seconds after the last of it. The rate is the sum
    of the samples over the time since the oldest began, at least ten seconds and the part of one that has begun: a
    fresh client has credit. A request that takes it above the quota mutes the connection for
    ``(rate - quota) / quota x that time``. Kafka bounds the mutes of its request quotas, not those of bytes.

    Attributes:
        bytes_per_second: The quota.
    """

    bytes_per_second: float
    _samples: deque[_Sample] = field(factory=deque, init=False)

    def note(self, now: float, size: int) -> float:
        """Take in a request of `size` bytes and return the seconds for which the connection is muted after it."""
        samples = self._samples
        if not samples or now - samples[-1].start >= _SAMPLE:
            samples.append(_Sample(now, now))
        samples[-1].size += size
        samples[-1].last = now
        while now - samples[0].last >= _SAMPLES * _SAMPLE:
            samples.popleft()
        elapsed = now - samples[0].start
        missing = max(0, _SAMPLES - 1 - int(elapsed / _SAMPLE))
        window = elapsed + missing * _SAMPLE
        return max(0.0, sum(sample.size for sample in samples) / self.bytes_per_second - window)
