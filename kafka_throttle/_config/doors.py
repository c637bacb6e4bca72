"""The doors themselves: each finds its settings and hands on a tree of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kafka_throttle._config.given import Given, laid_over, nested, parse_structure, read_toml
from kafka_throttle._scalars import to_flag
from kafka_throttle._units import shown
from kafka_throttle.exceptions import ConfigurationError

if TYPE_CHECKING:
    from typing import Any

__all__ = ["from_client_config", "from_environment", "switched_off"]

_VARIABLE = "KAFKA_THROTTLE_"
_SWITCH = "KAFKA_THROTTLE_ENABLED"
# Read elsewhere: which gate is used, and where the demo and the tests find their broker.
_NO_CONFIGURATION = frozenset({"KAFKA_THROTTLE_PURE", "KAFKA_THROTTLE_BOOTSTRAP"})


def switched_off(environ: Mapping[str, str]) -> bool:
    """Return whether the operator has taken the facade out with ``KAFKA_THROTTLE_ENABLED=0``.

    Raises:
        ConfigurationError: When the variable is neither true nor false.
    """
    value = environ.get(_SWITCH)
    if not value:
        return False
    try:
        return not to_flag(value)
    except ValueError as error:
        raise ConfigurationError(f"{_SWITCH}: {error}; allowed: true/false, 1/0, yes/no, on/off") from None


def from_environment(environ: Mapping[str, str], problems: list[str]) -> Given | None:
    """Return the settings in ``KAFKA_THROTTLE_*``, over those of the file that ``KAFKA_THROTTLE_CONFIG`` names.

    An empty variable counts as unset. None when there are no settings.
    """
    found = {
        tuple(variable.removeprefix(_VARIABLE).lower().split("__")): Given(value, variable)
        for variable, value in environ.items()
        if variable.startswith(_VARIABLE) and variable not in _NO_CONFIGURATION and value
    }
    return _assembled(Given({}, "", in_environment=True), found, "config", problems)


def from_client_config(settings: Mapping[str, Any], problems: list[str]) -> Given | None:
    """Return the settings in the ``throttle`` and ``throttle.*`` keys, over those of the file in ``throttle.file``."""
    found = {
        tuple(key.split(".")[1:]): Given(value, key) for key, value in settings.items() if key != "throttle"
    }
    whole = parse_structure(Given(settings.get("throttle", {}), "throttle"), problems) or Given(
        {}, "throttle"
    )
    if not isinstance(whole.value, Mapping):
        problems.append(f"throttle: {shown(whole.value)} is neither a mapping nor a Throttle")
        whole = Given({}, "throttle")
    return _assembled(whole, found, "file", problems)


def _assembled(
    root: Given, found: Mapping[tuple[str, ...], Given], file_key: str, problems: list[str]
) -> Given | None:
    parsed = [(path, parse_structure(given, problems)) for path, given in found.items()]
    tree = nested(root, [(path, given) for path, given in parsed if given])
    settings = tree.children()
    if not settings:
        return None
    file = settings.pop(file_key, None)
    tree = Given(settings, tree.name, tree.in_environment)
    return laid_over(_file(file, problems), tree) if file else tree


def _file(given: Given, problems: list[str]) -> Given:
    if isinstance(given.value, str) or hasattr(given.value, "__fspath__"):
        return read_toml(given.value, problems)
    problems.append(f"{given.name}: {shown(given.value)} is not the path of a TOML file")
    return Given({}, given.name)
