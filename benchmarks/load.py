"""What is offered to a client: an open loop, a tight loop, or bursts whose produce() calls alone are timed."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal

from attrs import asdict, evolve, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Bursts", "Load", "OpenLoop", "TightLoop", "load_from_dict", "load_to_dict"]


class Load(ABC):
    """Base of the loads."""

    record_bytes: int

    @abstractmethod
    def shortened(self, scale: float) -> Load:
        """Return the same load for a smoke run."""


@frozen
class OpenLoop(Load):
    """Records at intended times that do not depend on how the client fares, as from requests of users.

    Attributes:
        rate: Records per second while it is on.
        record_bytes: Size of each value.
        duration: Seconds.
        on: Seconds after which there is a gap.
        off: Seconds of the gap.
        burst: Records at once at the end of each gap, and at the start.
        sample_every: The delay of every so manieth record is taken.
        drain: Seconds that the client has to empty itself afterwards.
    """

    rate: float
    record_bytes: int
    duration: float
    on: float = math.inf
    off: float = 0.0
    burst: int = 0
    sample_every: int = 1
    drain: float = 5.0

    def shortened(self, scale: float) -> OpenLoop:
        """Return the same load for a shorter time."""
        return evolve(self, duration=self.duration * scale, on=self.on * scale, off=self.off * scale)

    def arrivals(self) -> Iterator[float]:
        """Return the intended times, in seconds from the start, without end."""
        for spell in itertools.count():
            begin = spell * (self.on + self.off) if spell else 0.0
            yield from itertools.repeat(begin, self.burst)
            for record in itertools.count():
                after = record / self.rate
                if after >= self.on:
                    break
                yield begin + after


@frozen
class TightLoop(Load):
    """As many records as the client takes: the next produce() follows the last.

    Attributes:
        record_bytes: Size of each value.
        duration: Seconds.
        group: Records between two calls of poll(), of which the delay of one is taken.
        drain: Seconds that the client has to empty itself afterwards.
    """

    record_bytes: int
    duration: float
    group: int = 64
    drain: float = 60.0

    def shortened(self, scale: float) -> TightLoop:
        """Return the same load for a shorter time."""
        return evolve(self, duration=self.duration * scale)


@frozen
class Bursts(Load):
    """Bursts that fit every limit; only the calls themselves are timed, and the client is emptied in between.

    Attributes:
        call: "plain"; "reported" with on_delivery on every call, the polling included; "threads" from 16 of them.
        records: Records of a burst.
        record_bytes: Size of each value.
        bursts: Bursts of a turn, after which the other client has its turn.
        turns: Turns of each client.
        topics: Topics that the client has produced to before.
    """

    call: Literal["plain", "reported", "threads"]
    records: int = 2000
    record_bytes: int = 100
    bursts: int = 10
    turns: int = 40
    topics: int = 0

    def shortened(self, scale: float) -> Bursts:
        """Return a few turns of it."""
        return evolve(
            self, turns=max(3, int(self.turns * scale)), bursts=3, topics=math.ceil(self.topics * scale / 10)
        )


_LOADS: dict[str, type[OpenLoop | TightLoop | Bursts]] = {
    kind.__name__: kind for kind in (OpenLoop, TightLoop, Bursts)
}


def load_to_dict(load: Any) -> dict[str, Any]:
    """Return what JSON can hold."""
    return {"kind": type(load).__name__, **asdict(load)}


def load_from_dict(given: dict[str, Any]) -> OpenLoop | TightLoop | Bursts:
    """Return the load that `load_to_dict` was given."""
    return _LOADS[given["kind"]](**{name: value for name, value in given.items() if name != "kind"})
