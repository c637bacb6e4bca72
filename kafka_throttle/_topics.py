"""Which of many rules takes a topic, and which rules can take none.

Rules are lists of globs with the meaning of `fnmatch.fnmatchcase`; the first that matches takes the topic. Names and
plain prefixes (``"audit.*"``) are looked up, so that a thousand rules cost little more than one; only the other globs
are tried one after the other.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["RuleTable", "contradictions"]

_WILDCARD = re.compile(r"[*?[]")
_MOST_CACHED = 16_384


class GlobIndex:
    """Globs by the position of their rule; the lowest position that matches wins."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._prefixes: dict[str, int] = {}
        self._prefix_lengths: tuple[int, ...] = ()
        self._others: list[tuple[int, re.Pattern[str], bool]] = []

    def add(self, glob: str, position: int) -> None:
        """Add a glob; positions come in rising order."""
        wildcard = _WILDCARD.search(glob)
        if wildcard is None:
            self._names.setdefault(glob, position)
        elif glob.endswith("*") and wildcard.start() == len(glob) - 1:
            self._prefixes.setdefault(glob[:-1], position)
            self._prefix_lengths = tuple({*self._prefix_lengths, len(glob) - 1})
        else:
            only_stars = not re.search(r"[?[]", glob)
            self._others.append((position, re.compile(translate(glob)), only_stars))

    def first(self, topic: str) -> int | None:
        """Return the position of the first rule that takes the topic."""
        return self._lowest(
            self._names.get(topic), self._prefix_of(topic), self._other(topic, stars_only=False)
        )

    def first_covering(self, glob: str) -> int | None:
        """Return the position of the first rule that certainly takes every topic the glob can match.

        A glob whose wildcards are all stars takes whatever another glob can match if it matches that glob's text: the
        wildcards in the text can only have been matched by stars. A character set would break the argument, so for a
        glob with one only the text before it is compared.
        """
        if not _WILDCARD.search(glob):
            return self.first(glob)
        head, bracket, _ = glob.partition("[")
        if bracket:
            return self._prefix_of(head)
        return self._lowest(self._prefix_of(glob), self._other(glob, stars_only=True))

    def _prefix_of(self, text: str) -> int | None:
        found = [self._prefixes.get(text[:length]) for length in self._prefix_lengths]
        return self._lowest(*found)

    def _other(self, text: str, *, stars_only: bool) -> int | None:
        for position, pattern, only_stars in self._others:
            if (only_stars or not stars_only) and pattern.match(text):
                return position
        return None

    @staticmethod
    def _lowest(*positions: int | None) -> int | None:
        return min((position for position in positions if position is not None), default=None)


class RuleTable:
    """The rule of each topic, remembered for the topics seen."""

    def __init__(self, rules: Sequence[Sequence[str]]) -> None:
        self._index = GlobIndex()
        self._seen: dict[str, int | None] = {}
        for position, globs in enumerate(rules):
            for glob in globs:
                self._index.add(glob, position)

    def position(self, topic: str) -> int | None:
        """Return the position of the first rule that takes the topic, or None when none does."""
        try:
            return self._seen[topic]
        except KeyError:
            # Starting over is cheap, needs no lock, and bounds the memory of an application that invents topics.
            if len(self._seen) >= _MOST_CACHED:
                self._seen.clear()
            return self._seen.setdefault(topic, self._index.first(topic))


def contradictions(rules: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield each glob that no topic can reach, as ``"[1].topics: words"``."""
    index, first_seen = GlobIndex(), dict[str, int]()
    for position, globs in enumerate(rules):
        for number, glob in enumerate(globs):
            place = f"[{position}].topics" + (f"[{number}]" if len(globs) > 1 else "")
            earlier = first_seen.setdefault(glob, position)
            covered = index.first_covering(glob)
            if (position, number) != (earlier, globs.index(glob)):
                yield f"{place}: {glob!r} stands twice, first in rules[{earlier}]; allowed: each glob once"
            elif covered is not None:
                first = ", ".join(rules[covered])
                yield (
                    f"{place}: {glob!r} can never be reached, rules[{covered}] ({first}) takes all of it; "
                    "allowed: the narrower rule first"
                )
        for glob in globs:
            index.add(glob, position)
