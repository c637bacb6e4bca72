"""What the spool's tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from kafka_throttle._spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

Opener = Callable[..., Spool]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def opened(directory: Path) -> Iterator[Opener]:
    """Open spools that commit only when they are told to, and close them in the end."""
    spools: list[Spool] = []

    def open_spool(where: Path = directory, **options: Any) -> Spool:
        spool = Spool(where, **{"group_seconds": None, "fsync": "off", **options})
        spools.append(spool)
        return spool

    yield open_spool
    for spool in spools:
        spool.close()
