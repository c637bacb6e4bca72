"""What commands need beyond the package's own dependencies."""

from __future__ import annotations

from importlib.util import find_spec

import click

__all__ = ["require"]


def require(extra: str, *modules: str) -> None:
    """Make sure that modules of an extra are there, before work begins that would be in vain without them.

    Args:
        extra: The extra that has them.
        *modules: Their names.

    Raises:
        click.ClickException: At least one is missing.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise click.ClickException(
            f'{" and ".join(missing)} not installed: pip install "kafka-throttle[{extra}]"'
        )
