"""Options that several commands have."""

from __future__ import annotations

import click

__all__ = ["client_settings"]


def client_settings(
    _context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    """Return the settings of a client that were given as ``KEY=VALUE``; a callback for click.

    Raises:
        click.BadParameter: One is not of that form.
    """
    pairs = [text.partition("=") for text in given]
    for text, (key, equals, _) in zip(given, pairs, strict=True):
        if not key or not equals:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE, such as security.protocol=SSL")
    return {key: value for key, _, value in pairs}
