"""Numbers taken of a round: each function here returns one that a `Figure` can use."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.load import Bursts

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.outcome import Outcome, Trial

__all__ = [
    "burst_speed",
    "caught_inside",
    "delay",
    "delay_back",
    "delay_ratio",
    "delivered_ratio_after",
    "failed",
    "goodput",
    "goodput_after",
    "goodput_back",
    "link_use",
    "longest_call",
    "lost",
    "memory_growth",
    "more_delay",
    "rate_ratio",
    "room_for_burst",
]


# A state has settled when it lasts for so many seconds.
_HOLD = 2.0


def goodput(variant: str, capacity: float) -> Callable[[Trial], float]:
    """Bytes of values reported as written, against the capacity in bytes per second."""

    def measure(trial: Trial) -> float:
        outcome = trial.outcomes[variant]
        return outcome.delivered * outcome.record_bytes / outcome.seconds / capacity

    return measure


def link_use(variant: str, capacity: float) -> Callable[[Trial], float]:
    """Bytes on the wire, the protocol's own included, against the capacity in bytes per second."""
    return lambda trial: trial.outcomes[variant].wire_bytes / trial.outcomes[variant].drained / capacity


def delay(variant: str, section: str = "whole", quantile: str = "p99") -> Callable[[Trial], float]:
    """A quantile of the delay from produce()'s return to the report, in seconds."""
    return lambda trial: trial.outcomes[variant].delays[section].get(quantile, math.nan)


def delay_ratio(quantile: str = "p99") -> Callable[[Trial], float]:
    """A quantile of the facade's delay, against the bare client's."""
    return lambda trial: trial.ratio(lambda outcome: outcome.delays["whole"].get(quantile, math.nan))


def more_delay(quantile: str = "p99") -> Callable[[Trial], float]:
    """By which share a quantile of the facade's delay is above the bare client's."""
    ratio = delay_ratio(quantile)
    return lambda trial: ratio(trial) - 1


def rate_ratio(trial: Trial) -> float:
    """Records per second until everything is delivered, against the bare client's."""
    return trial.ratio(
        lambda outcome: (outcome.accepted - outcome.failed - outcome.abandoned) / outcome.drained
    )


def lost(trial: Trial) -> float:
    """Records that the facade took and the topic has not got."""
    return max(0, trial.facade.accepted - trial.facade.written)


def failed(trial: Trial) -> float:
    """Records that were reported as failed."""
    return trial.facade.failed


def longest_call(variant: str) -> Callable[[Trial], float]:
    """The longest produce() call in seconds, retries included."""
    return lambda trial: trial.outcomes[variant].longest_call


def burst_speed(against: str, of: str) -> Callable[[Trial], float]:
    """Speed of produce() against another variant's, the median over turns that follow each other."""

    def measure(trial: Trial) -> float:
        pairs = zip(trial.outcomes[against].turns, trial.outcomes[of].turns, strict=True)
        return median(median(base) / median(turn) for base, turn in pairs)

    return measure


def room_for_burst(variant: str) -> Callable[[Trial], float]:
    """The smallest limit in records, against the records of a burst: below 1 the state was not the open one."""

    def measure(trial: Trial) -> float:
        load = trial.scenario.load
        assert isinstance(load, Bursts)
        return min(trial.outcomes[variant].limits) / load.records

    return measure


def delivered_ratio_after(step: str, seconds: float) -> Callable[[Trial], float]:
    """Records reported as written in the time after a step, against the bare client's."""

    def delivered(outcome: Outcome) -> float:
        start = outcome.steps[step]
        return outcome.delivered_between(start, start + seconds)

    return lambda trial: trial.ratio(delivered)


def goodput_after(variant: str, step: str, seconds: float, capacity: float) -> Callable[[Trial], float]:
    """Bytes of values reported as written in the time after a step, against the capacity."""

    def measure(trial: Trial) -> float:
        outcome = trial.outcomes[variant]
        start = outcome.steps[step]
        until = min(outcome.seconds, start + seconds)
        return outcome.delivered_between(start, until) * outcome.record_bytes / (until - start) / capacity

    return measure


def delay_back(variant: str, step: str, within: float) -> Callable[[Trial], float]:
    """Seconds from a step until the p99 delay is, and for two seconds stays, within a range.

    A bucket in which nothing is reported although records are in the client is out of range.
    """

    def measure(trial: Trial) -> float:
        outcome = trial.outcomes[variant]
        calm = [
            (at, p99 <= within or (math.isnan(p99) and not inside))
            for at, p99, inside in outcome.rows("at", "p99", "inside")
        ]
        return _settled(calm, outcome.steps[step])

    return measure


def goodput_back(variant: str, step: str, capacity: float, share: float = 0.9) -> Callable[[Trial], float]:
    """Seconds from a step until the goodput of the next two seconds reaches a share of the capacity."""

    def measure(trial: Trial) -> float:
        outcome = trial.outcomes[variant]
        start = outcome.steps[step]
        enough = share * capacity / outcome.record_bytes
        for (at,) in outcome.rows("at"):
            until = min(outcome.seconds, at + _HOLD)
            if start <= at < until and outcome.delivered_between(at, until) >= enough * (until - at):
                return at - start
        return math.inf

    return measure


def _settled(calm: list[tuple[float, bool]], start: float) -> float:
    for at, _ in calm:
        following = [good for later, good in calm if at < later <= at + _HOLD]
        if at >= start and following and all(following):
            return at - start
    return math.inf


def caught_inside(variant: str, step: str) -> Callable[[Trial], float]:
    """Records that waited for longer than a second after a step, against the limit just before it."""

    def measure(trial: Trial) -> float:
        outcome = trial.outcomes[variant]
        start = outcome.steps[step]
        rows = outcome.rows("at", "late", "limit")
        limits = [limit for at, _, limit in rows if at <= start]
        late = sum(late for at, late, _ in rows if start < at <= start + 15)
        return late / limits[-1] if limits and limits[-1] else math.nan

    return measure


def memory_growth(variant: str) -> Callable[[Trial], float]:
    """Growth of the resident memory from the second sixth of the run to the last, as a share."""

    def measure(trial: Trial) -> float:
        resident = [size for (size,) in trial.outcomes[variant].rows("resident")]
        sixth = len(resident) // 6
        if not sixth:
            return math.nan
        return median(resident[-sixth:]) / median(resident[sixth : 2 * sixth]) - 1

    return measure
