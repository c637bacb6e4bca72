"""What a benchmark is, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attrs import evolve, field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.load import Load
    from benchmarks.outcome import Trial

__all__ = ["BARE", "FACADE", "Bar", "Cluster", "Figure", "Link", "Scenario", "Step", "Variant"]


@frozen
class Link:
    """A limited path between client and broker.

    Attributes:
        bytes_per_second: Capacity in each direction.
        round_trip: Seconds that the path adds, half of it each way.
    """

    bytes_per_second: float
    round_trip: float


@frozen
class Cluster:
    """The Kafka that a scenario runs on.

    Attributes:
        nodes: How many brokers.
        partitions: Partitions of each client's topic.
        topic_config: Settings of the topic.
        server_properties: Settings of the brokers.
        link: The path to it; None: loopback as it is.
        quota: What each client may produce, in bytes per second; None: all it can.
    """

    nodes: int = 1
    partitions: int = 4
    topic_config: Mapping[str, str] = field(factory=dict)
    server_properties: Mapping[str, str] = field(factory=dict)
    link: Link | None = None
    quota: float | None = None


@frozen
class Step:
    """Something that happens while the load runs.

    Attributes:
        name: What the measures call it.
        at: When, in seconds from the first record.
        action: What is done; "link" and "quota" set bytes per second, the others are done to a node.
        value: Bytes per second, or the node.
    """

    name: str
    at: float
    action: Literal["link", "quota", "pause", "resume", "kill", "start"]
    value: float = 0


@frozen
class Variant:
    """One of the clients that are compared.

    Attributes:
        name: What the measures call it.
        client: The bare client or the facade.
        gate: Which gate the facade must be using, so that no figure is taken of the wrong one.
        rules: How many rules the facade has.
        policies: Whether it has a rule with each of the policies that keep, follow or give up records, too.
        limit: A fixed limit in records, where what comes before the measurement would move it; None: AIMD.
    """

    name: str
    client: Literal["bare", "facade"]
    gate: Literal["compiled", "pure"] = "compiled"
    rules: int = 1
    policies: bool = False
    limit: int | None = None


BARE = Variant("bare", "bare")
FACADE = Variant("facade", "facade")


@frozen
class Bar:
    """What a figure must reach, and what it aims at.

    Attributes:
        must: The least that is acceptable.
        aim: What is strived for.
        better: Which direction is the good one.
    """

    must: float
    aim: float
    better: Literal["higher", "lower"]

    def verdict(self, measured: float) -> str:
        """Return "aim met", "met" or "MISSED"."""
        return "aim met" if self._reaches(measured, self.aim) else self._plainly(measured)

    def _plainly(self, measured: float) -> str:
        return "met" if self._reaches(measured, self.must) else "MISSED"

    def _reaches(self, measured: float, wanted: float) -> bool:
        return measured >= wanted if self.better == "higher" else measured <= wanted

    @property
    def sign(self) -> str:
        """The comparison, for tables."""
        return ">=" if self.better == "higher" else "<="


@frozen
class Figure:
    """A number taken of each round; its median counts.

    Attributes:
        name: What it is, for tables.
        measure: Takes it of one round; nan says that the round cannot tell.
        bar: What it must reach; None: for information.
        unit: Its unit; "" for a ratio.
    """

    name: str
    measure: Callable[[Trial], float]
    bar: Bar | None = None
    unit: str = ""


@frozen
class Scenario:
    """One benchmark.

    Attributes:
        name: Its name on the command line and of its result file.
        title: What it shows, for people.
        load: What each client is offered.
        figures: What is measured.
        variants: The clients, in turn.
        cluster: The Kafka.
        steps: What happens meanwhile.
        rounds: How often it is repeated.
        config: Client settings, the same for all clients.
        quick_scale: What durations are multiplied with in a smoke run.
    """

    name: str
    title: str
    load: Load
    figures: tuple[Figure, ...]
    variants: tuple[Variant, ...] = (BARE, FACADE)
    cluster: Cluster = field(factory=Cluster)
    steps: tuple[Step, ...] = ()
    rounds: int = 3
    config: Mapping[str, str | int | float | bool] = field(factory=dict)
    quick_scale: float = 0.1

    def shortened(self) -> Scenario:
        """Return the smoke run of this scenario: it proves that everything works, and measures nothing."""
        scale = self.quick_scale
        return evolve(
            self,
            load=self.load.shortened(scale),
            steps=tuple(evolve(step, at=step.at * scale) for step in self.steps),
            rounds=1,
        )
