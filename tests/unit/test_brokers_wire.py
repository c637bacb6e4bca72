"""The quota request is what Kafka's protocol guide says, and its refusals reach the caller in words."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from kafka_throttle.brokers import BrokerUnavailable
from kafka_throttle.brokers._wire import alter_producer_quota, decode_response, encode_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACCEPTED = struct.pack(">iiih", 1, 0, 1, 0) + struct.pack(">h", -1) + b"rest"
REFUSED = struct.pack(">iiih", 1, 0, 1, 42) + struct.pack(">h", 3) + b"bad" + b"rest"


def expected_request(value: float, remove: bytes) -> bytes:
    body = (
        b"\x00\x31\x00\x00\x00\x00\x00\x01\x00\x0ekafka_throttle"
        b"\x00\x00\x00\x01"
        b"\x00\x00\x00\x01\x00\x09client-id\x00\x02me"
        b"\x00\x00\x00\x01\x00\x12producer_byte_rate" + struct.pack(">d", value) + remove + b"\x00"
    )
    return struct.pack(">i", len(body)) + body


def test_setting_a_quota_names_the_client_and_the_rate() -> None:
    assert encode_request("me", 1000.0) == expected_request(1000.0, b"\x00")


def test_removing_a_quota_is_the_same_request_with_the_removal_flag() -> None:
    assert encode_request("me", None) == expected_request(0.0, b"\x01")


def test_a_response_gives_code_and_message() -> None:
    assert decode_response(ACCEPTED) == (0, None)
    assert decode_response(REFUSED) == (42, "bad")


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], str]]:
    """Starts a server that answers one request with the given bytes, and gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def answer_with(answer: bytes) -> str:
        def answer_once() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as stream:
                (size,) = struct.unpack(">i", stream.read(4))
                stream.read(size)
                connection.sendall(answer)

        threads.append(threading.Thread(target=answer_once))
        threads[0].start()
        return f"127.0.0.1:{listener.getsockname()[1]},127.0.0.1:1"

    with closing(listener):
        yield answer_with
        for thread in threads:
            thread.join()


def test_a_refusal_raises_with_the_brokers_reason(serve: Callable[[bytes], str]) -> None:
    address = serve(struct.pack(">i", len(REFUSED)) + REFUSED)
    with pytest.raises(
        BrokerUnavailable, match=r"refused producer_byte_rate=5 for 'me': bad \(error code 42\)"
    ):
        alter_producer_quota(address, "me", 5)


def test_an_accepted_quota_raises_nothing(serve: Callable[[bytes], str]) -> None:
    alter_producer_quota(serve(struct.pack(">i", len(ACCEPTED)) + ACCEPTED), "me", 5)


def test_a_connection_that_closes_instead_of_answering_is_an_error(serve: Callable[[bytes], str]) -> None:
    with pytest.raises(BrokerUnavailable, match="did not take a quota for 'me'"):
        alter_producer_quota(serve(b"\0"), "me", 5)


def test_an_unreachable_broker_is_named() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(BrokerUnavailable, match=f"the broker at {address} did not take"):
        alter_producer_quota(address, "me", 5)
