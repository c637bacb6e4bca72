"""The whole configuration of a facade: which topics are treated how, and what governs the limit."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import attrs

from kafka_throttle._core.criticality import CLASSES
from kafka_throttle._core.limits import AIMD, LIMITS, Limit
from kafka_throttle._core.signals import DEFAULT_SIGNALS, SIGNALS, Signal
from kafka_throttle._fields import (
    ByteSize,
    Configured,
    byte_size,
    choice,
    configured,
    flag,
    one,
    several,
    text,
)
from kafka_throttle._kinds import One, Scalar
from kafka_throttle._topics import RuleTable, contradictions
from kafka_throttle._units import shown
from kafka_throttle.exceptions import LossNotApproved
from kafka_throttle.policies import POLICIES, Block, Policy, Reject, Spill
from kafka_throttle.policies._base import chain_of, chain_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kafka_throttle._fields import Lenient

    Globs = Lenient[tuple[str, ...], str | Sequence[str]]
    Rules = Lenient[tuple["Rule", ...], Sequence["Rule"]]
    Signals = Lenient[tuple[Signal, ...], Sequence[Signal]]
    Hooks = Lenient[tuple[Callable[[Any], object], ...], Sequence[Callable[[Any], object]]]

__all__ = ["Rule", "Throttle"]

_GLOB = re.compile(r"[A-Za-z0-9._\-*?\[\]!]+")


def _to_glob(raw: object) -> str:
    if not isinstance(raw, str) or not _GLOB.fullmatch(raw):
        raise ValueError(f"{shown(raw)} is not a topic name or glob")
    return raw


def _to_hook(raw: object) -> Callable[[Any], object]:
    if not callable(raw):
        raise ValueError(f"{shown(raw)} is not callable")  # noqa: TRY004 (what kinds turn into words)
    return raw


@configured
class Rule(Configured):
    """How the records of some topics are treated when Kafka cannot take them.

    Attributes:
        topics: Globs of the topics (given as one glob or a list of them), case-sensitive: ``"audit.*"``.
        policy: What happens to a record that finds the edge reached.
        criticality: ``"critical"``, ``"normal"`` or ``"sheddable"``: who gives way first when room is scarce.
        on_failure: What happens to a record whose delivery failed, `Spill` or `DeadLetter`; None: it is reported.
        loss_approved_by: Who approved that records may be lost, and where that is written down. Required for every
            policy that can lose them; logged once, and shown with each loss.

    Raises:
        LossNotApproved: A policy can lose records, and nobody approved it.
    """

    topics: Globs = several(
        Scalar(
            "a topic name or glob", _to_glob, choices="letters, digits, . _ - and the wildcards * ? [...]"
        ),
        noun="a topic name, a glob, or a list of them",
        doc="Topic name or glob such as `audit.*`, or a list of them.",
        alone=True,
        least=1,
    )
    policy: Policy = one(
        Policy,
        lambda: POLICIES,
        noun="a policy",
        doc="What happens to a record that finds the edge reached.",
    )
    criticality: str = choice(
        default="normal",
        options=CLASSES,
        doc="Who gives way first when room is scarce: `sheddable`, then `normal`, then `critical`.",
        kw_only=True,
    )
    on_failure: Policy | None = one(
        Policy,
        lambda: {name: cls for name, cls in POLICIES.items() if cls.takes_failures},
        default=None,
        noun="a policy for failed deliveries",
        doc="What happens to a record whose delivery failed; none: it is reported.",
        optional=True,
        kw_only=True,
    )
    loss_approved_by: str | None = text(
        default=None,
        optional=True,
        doc="Who approved that records may be lost, and where that is written down.",
        kw_only=True,
    )

    def __attrs_post_init__(self) -> None:
        """Check the settings, and that whoever loses records has leave to."""
        super().__attrs_post_init__()
        losing = [link for link in self.links() if link.may_lose]
        if losing and self.loss_approved_by is None:
            raise LossNotApproved(
                f"Rule.loss_approved_by: is missing for {', '.join(self.topics)}, but {type(losing[0]).__name__} can "
                "lose records; allowed: who approved it and where that is written down, such as 'data team, OPS-123'"
            )

    @property
    def tracked(self) -> bool:
        """Whether it does more with a record than let it wait or refuse it."""
        return self.on_failure is not None or not isinstance(self.policy, (Block, Reject))

    def links(self) -> Iterator[Policy]:
        """Yield every policy of the rule: the chain at the edge, then the one of failed deliveries."""
        yield from chain_of(self.policy)
        if self.on_failure is not None:
            yield from chain_of(self.on_failure)

    def _problems(self) -> Iterator[str]:
        for field in ("policy", "on_failure"):
            policy = getattr(self, field)
            if policy is not None:
                yield from (f"{field}.{problem}" for problem in chain_problems(policy))
        if self.on_failure is not None and not self.on_failure.takes_failures:
            name = type(self.on_failure).__name__
            yield f"on_failure: {name} cannot take a failed delivery; allowed: Spill, DeadLetter, none"
        spills = [link.evolve(then=Block()) for link in self.links() if isinstance(link, Spill)]
        if (
            len({os.path.realpath(spill.directory) for spill in spills}) < len(spills)
            and spills[0] != spills[1]
        ):
            yield (
                f"on_failure: spills to {spills[0].directory!r} with other settings than the policy does; "
                "allowed: the same settings, or another directory"
            )


_IMPLIED = Rule("*", Block())


@configured
class Throttle(Configured):
    """The configuration of one producer facade.

    Attributes:
        rules: The first rule with a glob that matches a topic holds for it; a last rule ``"*"`` with `Block()` is implied.
        limit: What decides how much may be in the client.
        signals: What tells congestion from calm.
        burst: Bytes absorbed while the cluster stands still, before the policies act.
        hooks: Called with each event.
        honour_broker_quota: Whether admission is paced by a broker's quota (KIP-219), which the client itself ignores.
        enabled: False hands everything straight to the client.
    """

    rules: Rules = several(
        One("a rule", Rule, dict, Rule),
        default=(_IMPLIED,),
        noun="a list of rules",
        doc="What holds for which topics; the first match wins, and a last rule for `*` with `block` is implied.",
    )
    limit: Limit = one(
        Limit,
        lambda: LIMITS,
        default=AIMD(),
        noun="a limit",
        doc="What decides how much may be in the client.",
    )
    signals: Signals = several(
        One("a signal", Signal, lambda: SIGNALS),
        default=DEFAULT_SIGNALS,
        noun="a list of signals",
        doc="What tells congestion from calm.",
    )
    burst: ByteSize = byte_size(
        default="32 MiB", doc="Bytes absorbed while the cluster stands still, before the policies act."
    )
    hooks: Hooks = several(
        Scalar("a callable", _to_hook, choices="callables that take one event"),
        default=(),
        noun="a list of callables",
        doc="Called with each event; only in Python.",
    )
    honour_broker_quota: bool = flag(
        default=True,
        doc="Pace admission by a broker's quota, so that the broker need not mute the connection.",
    )
    enabled: bool = flag(default=True, doc="False hands everything straight to the client.")
    _table: RuleTable = attrs.field(init=False, eq=False, repr=False, default=None)

    def __attrs_post_init__(self) -> None:
        """Check the settings, then prepare the look-up of rules."""
        super().__attrs_post_init__()
        object.__setattr__(self, "_table", RuleTable([rule.topics for rule in self.rules]))

    @property
    def tracked(self) -> bool:
        """Whether a rule keeps records or follows them, or some matter more, so that more than the gate is needed."""
        return any(rule.tracked for rule in self.rules) or len(self.classes) > 1

    @property
    def classes(self) -> list[str]:
        """The classes of criticality that there are, the most important first."""
        rules = (*self.rules, _IMPLIED) if all("*" not in rule.topics for rule in self.rules) else self.rules
        return [name for name in CLASSES if any(rule.criticality == name for rule in rules)]

    def rule_for(self, topic: str) -> Rule:
        """Return the rule that holds for a topic; cheap for a topic seen before."""
        position = self._table.position(topic)
        return _IMPLIED if position is None else self.rules[position]

    def _problems(self) -> Iterator[str]:
        for problem in contradictions([rule.topics for rule in self.rules]):
            yield f"rules{problem}"
        yield from _shared_directories(self.rules)


def _shared_directories(rules: Sequence[Rule]) -> Iterator[str]:
    owners: dict[str, int] = {}
    for number, rule in enumerate(rules):
        for directory in {
            os.path.realpath(link.directory) for link in rule.links() if isinstance(link, Spill)
        }:
            if directory in owners:
                yield (
                    f"rules[{number}]: spills to {directory!r} as rules[{owners[directory]}] does; "
                    "allowed: a directory of its own for each rule"
                )
            owners.setdefault(directory, number)
