"""`AtWork`: keeps what a signal handler offers out of the work that the handler interrupted."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AtWork"]

_Result = TypeVar("_Result")


class AtWork:
    """Does work that takes locks; what a signal handler offers in the middle of it is taken when it is done.

    The handler cannot have the locks, which its own thread has, and must not change what is half changed.

    Args:
        take: Takes what was put off, given its parts.
    """

    def __init__(self, take: Callable[..., None]) -> None:
        self._take = take
        self._late: dict[int, list[tuple[Any, ...]]] = {}

    def __call__(self, work: Callable[..., _Result], *args: Any) -> _Result:
        """Do work, and take what was put off meanwhile."""
        ident = get_ident()
        if ident in self._late:
            return work(*args)
        mine = self._late[ident] = []
        try:
            return work(*args)
        finally:
            try:
                while mine:
                    late, mine = mine, []
                    self._late[ident] = mine
                    for each in late:
                        self._take(*each)
            finally:
                del self._late[ident]

    @property
    def interrupted(self) -> bool:
        """Whether this is a signal handler that came in the middle of this thread's work."""
        return get_ident() in self._late

    @property
    def waiting(self) -> int:
        """What is put off now, by all threads."""
        return sum(map(len, list(self._late.values())))

    def put_off(self, item: tuple[Any, ...]) -> None:
        """Have something taken when the work that was interrupted is done."""
        self._late[get_ident()].append(item)
