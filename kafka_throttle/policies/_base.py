"""What every policy is, and how policies follow each other."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from kafka_throttle._fields import Configured, configured, one

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Policy", "chain_of", "chain_problems", "then_field"]


@configured
class Policy(Configured):
    """What happens to a record that finds the edge reached; subclasses say which and hold its settings.

    A policy is data: the engine and the facades act on it. Most policies name in ``then`` what comes next when they
    cannot take a record, so that policies form a chain.

    Attributes:
        can_lose: Whether records may be discarded under it.
        takes_failures: Whether it can take records whose delivery failed.
    """

    can_lose: ClassVar[bool] = False
    takes_failures: ClassVar[bool] = False

    def __attrs_post_init__(self) -> None:
        """Check the settings as every configuration class does."""
        if type(self) is Policy:
            raise TypeError("Policy is abstract; use a policy such as Block() or Reject()")
        super().__attrs_post_init__()

    @property
    def may_lose(self) -> bool:
        """Whether records may be discarded under it, as it is configured."""
        return self.can_lose


def then_field(default: Policy, doc: str) -> Any:
    """Return the field that names what comes next."""
    return one(Policy, _named, default=default, noun="a policy", doc=doc, kw_only=True)


def chain_of(policy: Policy) -> Iterator[Policy]:
    """Yield a policy and all that come after it."""
    following: Policy | None = policy
    while following is not None:
        yield following
        following = getattr(following, "then", None)


def chain_problems(policy: Policy) -> Iterator[str]:
    """Yield what is wrong with the chain that begins with a policy, each as ``"then: words; allowed: words"``.

    A policy comes to be after what it names in `then`, so that there are no cycles; and every chain ends in one that
    takes or refuses every record, because no other can do without `then`.
    """
    seen: set[type[Policy]] = set()
    for place, link in enumerate(chain_of(policy)):
        if type(link) in seen:
            name = type(link).__name__
            yield f"{'.'.join(['then'] * place)}: a second {name} in one chain; allowed: each policy once"
        seen.add(type(link))


def _named() -> Mapping[str, type[Policy]]:
    # The table stands above the classes that it names.
    table: Mapping[str, type[Policy]] = import_module("kafka_throttle.policies").POLICIES
    return table
