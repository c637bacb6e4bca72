"""What a client's configuration must be like for its rules to keep their promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka_throttle.exceptions import ConfigurationError
from kafka_throttle.policies import DropNewest, DropOldest, Spill
from kafka_throttle.policies.dead_letter import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kafka_throttle._throttle import Rule, Throttle

__all__ = ["check_client"]

_TRUE = frozenset({"true", "1", "t", "yes", "y", "on"})


def check_client(conf: Mapping[str, Any], throttle: Throttle) -> None:
    """Refuse what cannot be honest.

    Raises:
        ConfigurationError: With every contradiction between the client's configuration and the rules.
    """
    problems = [
        problem for number, rule in enumerate(throttle.rules) for problem in _problems(conf, number, rule)
    ]
    if problems:
        raise ConfigurationError(*problems)


def _problems(conf: Mapping[str, Any], number: int, rule: Rule) -> Iterator[str]:
    place = f"rules[{number}]"
    keeping = [type(link).__name__ for link in rule.links() if _keeps(link)]
    if conf.get("transactional.id") and (keeping or rule.on_failure):
        name = keeping[0] if keeping else type(rule.on_failure).__name__
        yield (
            f"{place}: {name} with transactional.id={conf['transactional.id']!r}: a record that is kept would be sent in "
            "another transaction than the one it was produced in; allowed with transactions: Block, Reject, Sample, "
            "DropNewest()"
        )
    if isinstance(rule.on_failure, Spill) and _is_true(conf.get("enable.idempotence")):
        yield (
            f"{place}.on_failure: Spill with enable.idempotence: a record that timed out may have been written, and to "
            "send it again would write it twice; allowed: DeadLetter, none"
        )
    follows = rule.on_failure is not None or any(isinstance(link, Spill) for link in rule.links())
    if follows and _is_true(conf.get("delivery.report.only.error")):
        yield (
            f"{place}: delivery.report.only.error hides the reports by which records leave the disk; allowed with "
            "Spill and on_failure: false"
        )


def _keeps(link: object) -> bool:
    return isinstance(link, (DropOldest, Spill, DeadLetter)) or (
        isinstance(link, DropNewest) and link.max_records > 0
    )


def _is_true(value: object) -> bool:
    return str(value).strip().lower() in _TRUE
