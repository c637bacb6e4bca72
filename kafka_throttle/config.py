"""One configuration, four doors, one validator.

| door | example |
|---|---|
| objects | ``Throttle(limit=AIMD(backoff_ratio=0.7), burst="64 MiB")`` |
| a mapping or a TOML file | ``load({"limit": {"backoff_ratio": 0.7}})``, ``load("throttle.toml")`` |
| the client's own dict | ``{"bootstrap.servers": ..., "throttle.limit.backoff_ratio": 0.7, "throttle.burst": "64 MiB"}`` |
| the environment | ``KAFKA_THROTTLE_LIMIT__BACKOFF_RATIO=0.7``, ``KAFKA_THROTTLE_BURST="64 MiB"`` |

Keys are the names of the fields. A typed object is a mapping whose ``type`` is the class in lower case with
underscores (``{"type": "block", "timeout": "5 s"}``), or that word alone when the defaults will do. In the client's
dict and in the environment a list or mapping may be text, in JSON or as a TOML value; ``throttle.file`` and
``KAFKA_THROTTLE_CONFIG`` name a TOML file whose settings lie below those beside it. A variable is the key in upper
case, ``__`` for each step down; an empty one counts as unset.

What wins, setting by setting: the client's dict, then the environment, then the defaults. A list replaces the lower
list, and a mapping that names its ``type`` the lower mapping. A `Throttle` object, given to the producer or as
``"throttle"`` in the dict, replaces everything. Above all stands the operator's switch: with
``KAFKA_THROTTLE_ENABLED=0`` nothing else is even read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from kafka_throttle._config.doors import from_client_config, from_environment, switched_off
from kafka_throttle._config.given import Given, laid_over, read_toml
from kafka_throttle._config.reading import Reader
from kafka_throttle._throttle import Throttle
from kafka_throttle.exceptions import ConfigurationError

__all__ = ["from_environ", "load", "resolve", "split_client_config"]


def load(source: str | os.PathLike[str] | Mapping[str, Any]) -> Throttle:
    """Return the configuration in a mapping or a TOML file.

    Args:
        source: The mapping, or the path of the file.

    Raises:
        ConfigurationError: With every problem found.
        TypeError: When `source` is neither.
    """
    if not isinstance(source, (Mapping, str, os.PathLike)):
        raise TypeError(f"load() takes a mapping or the path of a TOML file, not {source!r}")
    reader = Reader()
    given = Given(source, "") if isinstance(source, Mapping) else read_toml(source, reader.problems)
    return reader.throttle(given)


def from_environ(environ: Mapping[str, str] = os.environ) -> Throttle | None:
    """Return the configuration in ``KAFKA_THROTTLE_*`` variables, or None when there is none.

    Raises:
        ConfigurationError: With every problem found.
    """
    if switched_off(environ):
        return Throttle(enabled=False)
    reader = Reader()
    given = from_environment(environ, reader.problems)
    return None if given is None else reader.throttle(given, "config")


def split_client_config(conf: Mapping[str, Any]) -> tuple[dict[str, Any], Throttle | None]:
    """Return the client's part of its configuration, and the configuration in the rest, or None when there is none.

    Args:
        conf: The dict for the client, with ``throttle`` and ``throttle.*`` keys; it is not changed.

    Raises:
        ConfigurationError: With every problem found.
    """
    client, ours = _parted(conf)
    if whole := _whole(ours):
        return client, whole
    reader = Reader()
    given = from_client_config(ours, reader.problems)
    return client, None if given is None else reader.throttle(given, "file")


def resolve(
    explicit: Throttle | None, conf: Mapping[str, Any], environ: Mapping[str, str] = os.environ
) -> tuple[dict[str, Any], Throttle]:
    """Return the client's part of its configuration, and the configuration that holds for the facade.

    Args:
        explicit: The object given to the producer, if any.
        conf: The dict for the client; it is not changed.
        environ: The environment.

    Raises:
        ConfigurationError: With every problem found.
    """
    client, ours = _parted(conf)
    if explicit is not None and not isinstance(explicit, Throttle):
        raise ConfigurationError(f"throttle: {explicit!r} is not a Throttle; allowed: a Throttle or None")
    if switched_off(environ):
        return client, (explicit or Throttle()).evolve(enabled=False)
    return client, explicit or _whole(ours) or _layered(ours, environ)


def _layered(ours: Mapping[str, Any], environ: Mapping[str, str]) -> Throttle:
    reader = Reader()
    low = from_environment(environ, reader.problems)
    high = from_client_config(ours, reader.problems)
    layers = [layer for layer in (low, high) if layer] or [Given({}, "")]
    return reader.throttle(laid_over(layers[0], layers[-1]), "config", "file")


def _parted(conf: Mapping[Any, Any]) -> tuple[dict[Any, Any], dict[str, Any]]:
    client, ours = dict[Any, Any](), dict[str, Any]()
    for key, value in conf.items():
        is_ours = isinstance(key, str) and (key == "throttle" or key.startswith("throttle."))
        (ours if is_ours else client)[key] = value
    if ours.get("throttle", ...) is None:
        del ours["throttle"]
    return client, ours


def _whole(ours: Mapping[str, Any]) -> Throttle | None:
    """Return the Throttle object in the client's dict; single settings beside one would contradict it."""
    whole = ours.get("throttle")
    if not isinstance(whole, Throttle):
        return None
    beside = sorted(key for key in ours if key != "throttle")
    if beside:
        raise ConfigurationError(
            *(
                f"{key}: stands beside a Throttle object in 'throttle'; allowed: one of the two"
                for key in beside
            )
        )
    return whole
