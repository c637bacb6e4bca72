"""The configuration of a client inside of a policy: read, checked, and never shown with its secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kafka_throttle._units import shown

__all__ = ["ClientConf", "to_client_conf"]

Value = str | int | float | bool

# What may be seen in a log. Everything else is hidden: which settings are secret changes with every client.
_HARMLESS = frozenset(
    {
        "acks",
        "bootstrap.servers",
        "client.id",
        "compression.type",
        "metadata.broker.list",
        "sasl.mechanism",
        "sasl.mechanisms",
        "security.protocol",
    }
)


class ClientConf(Mapping[str, Value]):
    """A client's configuration that cannot be changed, and whose repr hides what may be secret."""

    __slots__ = ("_settings",)

    def __init__(self, settings: Mapping[str, Value]) -> None:
        self._settings = dict(settings)

    def __getitem__(self, key: str) -> Value:
        return self._settings[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)

    def __hash__(self) -> int:
        return hash(frozenset(self._settings.items()))

    def __repr__(self) -> str:
        written = (f"{k!r}: {v!r}" if k in _HARMLESS else f"{k!r}: ..." for k, v in self._settings.items())
        return "{" + ", ".join(written) + "}"


def to_client_conf(raw: object) -> ClientConf:
    """Return a mapping of settings as one that does not change.

    Raises:
        ValueError: When it is none; the text names the setting, and no value that may be secret.
    """
    if isinstance(raw, ClientConf):
        return raw
    if not isinstance(raw, Mapping):
        raise ValueError(f"{_kind(raw)} is not a client configuration")  # noqa: TRY004 (what kinds turn into words)
    for key, value in raw.items():
        if not isinstance(key, str) or not key:
            raise ValueError(f"{shown(key)} is not the name of a client setting")
        if not isinstance(value, (str, int, float)):
            raise ValueError(f"the setting {key!r} is {_kind(value)}")  # noqa: TRY004 (the same)
    return ClientConf(raw)


def _kind(value: object) -> str:
    article = "an" if type(value).__name__[0] in "aeiou" else "a"
    return f"{article} {type(value).__name__}"
