"""Where a command's Kafka is: ``--bootstrap``, ``--config`` and ``-X``, the same for every command that sends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["client_options", "client_settings", "key_values"]

_BOOTSTRAP = "bootstrap.servers"

_Command = TypeVar("_Command", bound="Callable[..., Any]")


def key_values(
    _context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    """Return what ``-X KEY=VALUE`` was given; a callback for click."""
    pairs = [text.partition("=") for text in given]
    for text, (key, equals, _) in zip(given, pairs, strict=True):
        if not key or not equals:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE, such as security.protocol=SSL")
    return {key: value for key, _, value in pairs}


def client_options(command: _Command) -> _Command:
    """Add the options that `client_settings` takes."""
    for option in (
        click.option(
            "-X",
            "settings",
            multiple=True,
            metavar="KEY=VALUE",
            callback=key_values,
            help="A client setting, over those of --config; may be repeated.",
        ),
        click.option(
            "--config",
            type=click.Path(dir_okay=False, path_type=Path),
            help="A TOML file with the settings of the client.",
        ),
        click.option("--bootstrap", metavar="HOST:PORT", help="The brokers, over those of --config and -X."),
    ):
        command = option(command)
    return command


def client_settings(
    bootstrap: str | None, config: Path | None, settings: Mapping[str, str]
) -> dict[str, str]:
    """Return the settings of a client.

    Args:
        bootstrap: From ``--bootstrap``.
        config: From ``--config``; ``a.b = 1``, ``"a.b" = 1`` and ``[a] b = 1`` mean the same.
        settings: From ``-X``.

    Raises:
        click.UsageError: When there is no broker, or the file cannot be used.
    """
    found = {**(_from_toml(config) if config else {}), **settings}
    if bootstrap:
        found[_BOOTSTRAP] = bootstrap
    if not found.get(_BOOTSTRAP):
        raise click.UsageError(f"no brokers: give --bootstrap HOST:PORT, or {_BOOTSTRAP} in --config or -X")
    return found


def _from_toml(path: Path) -> dict[str, str]:
    from kafka_throttle._config.given import read_toml  # noqa: PLC0415 - only this option needs it

    problems: list[str] = []
    content = read_toml(path, problems)
    if problems:
        raise click.UsageError("--config: " + "\n".join(problems))
    return dict(_flat(content.value, "", path))


def _flat(table: Mapping[str, Any], prefix: str, path: Path) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        name = prefix + key
        if isinstance(value, dict):
            yield from _flat(value, f"{name}.", path)
        elif isinstance(value, bool):
            yield name, str(value).lower()
        elif isinstance(value, (str, int, float)):
            yield name, str(value)
        else:
            raise click.UsageError(
                f"--config: {path}: {name} is {value!r}; a client's setting is text, a number, true or false"
            )
