"""The one request of Kafka's protocol that confluent-kafka's AdminClient lacks: AlterClientQuotas, version 0.

The alternative, Kafka's own command-line tool, starts a Java machine for each call (0.9 s of a whole core),
which would disturb what runs while a quota changes.
"""

from __future__ import annotations

import socket
import struct

from kafka_throttle.brokers._errors import BrokerUnavailable

__all__ = ["alter_producer_quota"]

_ALTER_CLIENT_QUOTAS = 49
_VERSION = 0
_CORRELATION_ID = 1


def alter_producer_quota(
    bootstrap: str, client_id: str, bytes_per_second: float | None, timeout: float = 10.0
) -> None:
    """Sets or removes what a client may produce per second, on each broker.

    Args:
        bootstrap: ``host:port`` of any broker's plaintext listener; the first of a list is used.
        client_id: The client's ``client.id``.
        bytes_per_second: The ``producer_byte_rate`` to set, or None to remove it.
        timeout: How long connecting and waiting for the answer may take each, in seconds.

    Raises:
        BrokerUnavailable: The broker refuses, does not answer or cannot be reached.
    """
    address = bootstrap.partition(",")[0]
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout) as connection:
            connection.sendall(encode_request(client_id, bytes_per_second))
            with connection.makefile("rb") as stream:
                (size,) = struct.unpack(">i", stream.read(4))
                response = stream.read(size)
        code, message = decode_response(response)
    except (OSError, struct.error) as error:
        raise BrokerUnavailable(
            f"the broker at {address} did not take a quota for {client_id!r}: {error}"
        ) from error
    if code:
        raise BrokerUnavailable(
            f"the broker at {address} refused producer_byte_rate={bytes_per_second} for {client_id!r}: "
            f"{message or 'no reason given'} (error code {code})"
        )


def encode_request(client_id: str, bytes_per_second: float | None) -> bytes:
    """The request with its header and its length in front."""
    header = struct.pack(">hhi", _ALTER_CLIENT_QUOTAS, _VERSION, _CORRELATION_ID) + _string("kafka_throttle")
    entity = _array_of_one(_string("client-id") + _string(client_id))
    operation = _array_of_one(
        _string("producer_byte_rate") + struct.pack(">d?", bytes_per_second or 0.0, bytes_per_second is None)
    )
    validate_only = b"\0"
    body = header + _array_of_one(entity + operation) + validate_only
    return struct.pack(">i", len(body)) + body


def decode_response(response: bytes) -> tuple[int, str | None]:
    """Error code and message of the single entry; the code is 0 on success."""
    _correlation, _throttle_ms, _entries, code, length = struct.unpack_from(">iiihh", response)
    start = struct.calcsize(">iiihh")
    return code, None if length < 0 else response[start : start + length].decode()


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">h", len(encoded)) + encoded


def _array_of_one(element: bytes) -> bytes:
    return struct.pack(">i", 1) + element
