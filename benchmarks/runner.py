"""Runs a scenario: the clients take turns, each in a process of its own."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchmarks.broker import Broker, running_broker
from benchmarks.child import Child
from benchmarks.load import Bursts, TightLoop, load_to_dict
from benchmarks.offering import WARM_UP_RECORDS
from benchmarks.outcome import Outcome, Trial
from benchmarks.recorder import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.scenario import Scenario, Variant

__all__ = ["WARM_UP", "WrongGate", "run_rounds", "warm_up_brokers"]

_PURE = "KAFKA_THROTTLE_PURE"
# Java compiles what it runs often: without this the first client would meet slower brokers than the others.
WARM_UP = 4.0


class WrongGate(RuntimeError):
    """The facade uses another gate than the one that is to be measured."""


def run_rounds(
    scenario: Scenario, rounds: int, say: Callable[[str], None], *, warm_up: float
) -> Iterator[Trial]:
    """Run a scenario.

    Args:
        scenario: What to run.
        rounds: How often.
        say: Called with a line of progress.
        warm_up: Seconds for which the brokers are kept busy first.

    Yields:
        Each round, when it is complete.
    """
    with running_broker(scenario.cluster) as broker:
        if warm_up:
            warm_up_brokers(broker, warm_up)
        for number in range(rounds):
            # Who is first changes, so that neither has the fresher machine every time.
            order = scenario.variants if number % 2 == 0 else scenario.variants[::-1]
            round_ = _Round(scenario, broker, number, say)
            yield Trial(
                scenario, round_.bursts(order) if isinstance(scenario.load, Bursts) else round_.streams(order)
            )


def warm_up_brokers(broker: Broker, seconds: float) -> None:
    """Keep fresh brokers busy for a while, with the bare client."""
    topic = "warm-up"
    broker.kafka.create_topic(topic, broker.cluster.partitions)
    job = {
        "client": "bare",
        "rules": 1,
        "policies": False,
        "limit": None,
        "topic": topic,
        "config": {**broker.kafka.client_config(), "acks": "all"},
        "load": load_to_dict(TightLoop(1000, seconds)),
        "throttle_events": False,
    }
    with Child("benchmarks.worker") as worker:
        worker.ask(job)
        worker.ask({"go": True})
        worker.answer()
    broker.forget(topic)


class _Round:
    def __init__(self, scenario: Scenario, broker: Broker, number: int, say: Callable[[str], None]) -> None:
        self._scenario, self._broker, self._number, self._say = scenario, broker, number, say

    def _topic(self, variant: Variant) -> str:
        return f"{variant.name.replace(' ', '-')}-{self._number}"

    def _worker(self, variant: Variant) -> Child:
        return Child("benchmarks.worker", {_PURE: "1" if variant.gate == "pure" else ""})

    def _hire(self, worker: Child, variant: Variant) -> str:
        """Give a worker its job, and return the gate of its client once it is connected."""
        topic = self._topic(variant)
        config = {**self._scenario.config, **self._broker.kafka.client_config(), "client.id": topic}
        job: dict[str, Any] = {
            "client": variant.client,
            "rules": variant.rules,
            "policies": variant.policies,
            "limit": variant.limit,
            "topic": topic,
            "config": config,
            "load": load_to_dict(self._scenario.load),
            "throttle_events": self._broker.cluster.quota is not None,
        }
        gate: str = worker.ask(job)["gate"]
        if gate not in {"none", variant.gate}:
            raise WrongGate(f"{self._scenario.name}: the facade has the {gate} gate; wanted: {variant.gate}")
        return gate

    def streams(self, order: tuple[Variant, ...]) -> dict[str, Outcome]:
        """Offer the load to one client after the other."""
        return {variant.name: self._stream(variant) for variant in order}

    def _stream(self, variant: Variant) -> Outcome:
        self._say(f"  round {self._number + 1}: {variant.name}")
        topic = self._topic(variant)
        with self._worker(variant) as worker:
            self._broker.prepare(topic, client_id=topic)
            gate = self._hire(worker, variant)
            carried = self._broker.carried()
            worker.tell({"go": True})
            steps = self._perform_steps(worker.answer()["at"], topic)
            outcome = Outcome(**worker.answer()["outcome"])
            outcome.wire_bytes = self._broker.carried() - carried
        outcome.gate, outcome.steps = gate, steps
        outcome.written = self._broker.written(topic) - WARM_UP_RECORDS
        self._broker.forget(topic)
        return outcome

    def _perform_steps(self, start: float, client_id: str) -> dict[str, float]:
        done = {}
        for step in self._scenario.steps:
            time.sleep(max(0.0, start + step.at - clock()))
            done[step.name] = round(clock() - start, 3)
            self._broker.perform(step, client_id)
        return done

    def bursts(self, order: tuple[Variant, ...]) -> dict[str, Outcome]:
        """Let the clients take turns, burst by burst, while all of them stay connected."""
        self._say(f"  round {self._number + 1}: {' and '.join(variant.name for variant in order)} in turn")
        assert isinstance(self._scenario.load, Bursts)
        with ExitStack() as stack:
            workers = {variant.name: stack.enter_context(self._worker(variant)) for variant in order}
            for variant in order:
                self._broker.prepare(self._topic(variant), client_id=self._topic(variant))
            outcomes = {v.name: Outcome(gate=self._hire(workers[v.name], v)) for v in order}
            for _ in range(self._scenario.load.turns):
                for name, worker in workers.items():
                    turn = worker.ask({"go": True})
                    outcomes[name].turns.append(turn["nanoseconds"])
                    outcomes[name].limits.append(turn["limit"])
        for variant in order:
            self._broker.forget(self._topic(variant))
        return outcomes
