"""An encrypted or authenticated listener beside the plaintext one: what the broker and what the client need."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Literal, get_args

from attrs import field, frozen

from kafka_throttle.brokers._errors import BrokerUnavailable
from kafka_throttle.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["SECURED_LISTENER", "Protocol", "SaslMechanism", "Security"]

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"]

SECURED_LISTENER = "SECURED"
"""The listener's name in the broker's configuration."""

# What needs no escape in JAAS configuration nor in the storage tool's --add-scram.
_CREDENTIAL = re.compile(r"[A-Za-z0-9._~!@#%^&*+-]+")
_LOGIN_MODULES = "org.apache.kafka.common.security"


def _default_users() -> dict[str, str]:
    return {"client": secrets.token_urlsafe(12)}


@frozen
class Security:
    """What clients must do to be let in.

    Attributes:
        protocol: The listener's security protocol; "PLAINTEXT" means that there is no secured listener.
        mechanism: How clients authenticate, where the protocol has it.
        users: User names and passwords; the first is the one that client_config() uses.
    """

    protocol: Protocol = "PLAINTEXT"
    mechanism: SaslMechanism = "SCRAM-SHA-256"
    users: Mapping[str, str] = field(factory=_default_users)

    def __attrs_post_init__(self) -> None:
        problems = [
            f"{name}={value!r}: must be one of {', '.join(get_args(allowed))}"
            for name, value, allowed in (
                ("listeners", self.protocol, Protocol),
                ("sasl_mechanism", self.mechanism, SaslMechanism),
            )
            if value not in get_args(allowed)
        ]
        if not self.users:
            problems.append("users={}: must name at least one user")
        problems += [
            f"users: {text!r} must consist of letters, digits and ._~!@#%^&*+- only"
            for text in (*self.users, *self.users.values())
            if not _CREDENTIAL.fullmatch(text)
        ]
        if problems:
            raise ConfigurationError(*problems)

    @property
    def listens(self) -> bool:
        """Whether there is a secured listener at all."""
        return self.protocol != "PLAINTEXT"

    @property
    def encrypts(self) -> bool:
        """Whether the listener speaks TLS."""
        return self.protocol.endswith("SSL")

    @property
    def authenticates(self) -> bool:
        """Whether the listener asks for a user."""
        return self.protocol.startswith("SASL")

    @property
    def _scram(self) -> bool:
        return self.authenticates and self.mechanism.startswith("SCRAM")

    def write_certificates(self, directory: Path) -> None:
        """Creates an authority of its own and a certificate for 127.0.0.1 and localhost, where TLS is spoken.

        Args:
            directory: Gets ``ca.pem`` and ``node.pem``.

        Raises:
            BrokerUnavailable: The package trustme is not installed.
        """
        if not self.encrypts:
            return
        try:
            import trustme  # noqa: PLC0415 - optional
            from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - comes with trustme
        except ImportError as error:
            raise BrokerUnavailable(
                "no TLS listener: it needs the package trustme for its certificates; pip install trustme"
            ) from error
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), password=None)
        # Kafka reads no other form of a private key than PKCS 8.
        unlocked = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        (directory / "node.pem").write_bytes(unlocked + chain)
        authority.cert_pem.write_to_path(str(directory / "ca.pem"))

    def format_arguments(self) -> list[str]:
        """What the storage tool must be told, so that the users exist from the start."""
        if not self._scram:
            return []
        users = (
            f"{self.mechanism}=[name={name},password={password}]" for name, password in self.users.items()
        )
        return [argument for user in users for argument in ("--add-scram", user)]

    def server_properties(self, directory: Path) -> dict[str, str]:
        """The listener's own properties.

        Args:
            directory: Where write_certificates() wrote.
        """
        prefix = f"listener.name.{SECURED_LISTENER.lower()}."
        properties = {}
        if self.encrypts:
            properties[f"{prefix}ssl.keystore.type"] = "PEM"
            properties[f"{prefix}ssl.keystore.location"] = str(directory / "node.pem")
        if self.authenticates:
            properties[f"{prefix}sasl.enabled.mechanisms"] = self.mechanism
            properties[f"{prefix}{self.mechanism.lower()}.sasl.jaas.config"] = self._login_module()
        return properties

    def _login_module(self) -> str:
        if self._scram:
            return f"{_LOGIN_MODULES}.scram.ScramLoginModule required;"
        users = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
        return f"{_LOGIN_MODULES}.plain.PlainLoginModule required {users};"

    def client_config(self, directory: Path) -> dict[str, str]:
        """What a client needs besides the address.

        Args:
            directory: Where write_certificates() wrote.
        """
        config: dict[str, str] = {"security.protocol": self.protocol}
        if self.encrypts:
            config["ssl.ca.location"] = str(directory / "ca.pem")
        if self.authenticates:
            user, password = next(iter(self.users.items()))
            config |= {"sasl.mechanism": self.mechanism, "sasl.username": user, "sasl.password": password}
        return config
