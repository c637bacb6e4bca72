"""The whole configuration of a facade: which topics are treated how, and what governs the limit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from kafka_throttle._core.limits import AIMD, LIMITS, Limit
from kafka_throttle._core.signals import DEFAULT_SIGNALS, SIGNALS, Signal
from kafka_throttle._fields import (
    ByteSize,
    Configured,
    byte_size,
    configured,
    flag,
    one,
    several,
)
from kafka_throttle._kinds import One, Scalar
from kafka_throttle._topics import RuleTable, contradictions
from kafka_throttle._units import shown
from kafka_throttle.policies import POLICIES, Block, Policy

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

    def rule_for(self, topic: str) -> Rule:
        """Return the rule that holds for a topic; cheap for a topic seen before."""
        position = self._table.position(topic)
        return _IMPLIED if position is None else self.rules[position]

    def _problems(self) -> Iterator[str]:
        for problem in contradictions([rule.topics for rule in self.rules]):
            yield f"rules{problem}"
