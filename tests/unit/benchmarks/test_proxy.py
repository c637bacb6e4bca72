"""The limited path is a queue that empties at its rate."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from benchmarks.proxy import Link, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    proxy = Proxy()
    serving = threading.Thread(target=proxy.serve)
    serving.start()
    with closing(proxy):
        yield proxy
    serving.join(30)


def test_chunks_depart_one_after_the_other() -> None:
    link = Link()
    link.shape(1000.0, 0.0)
    first, second = link.depart(500), link.depart(1500)
    assert pytest.approx(second - first) == 1.5


def test_a_change_of_the_rate_holds_for_what_comes_after_it() -> None:
    link = Link()
    link.shape(1000.0, 0.0)
    first = link.depart(1000)
    link.shape(500.0, 0.0)
    assert pytest.approx(link.depart(1000) - first) == 2.0


def test_half_of_the_round_trip_is_spent_each_way(proxy: Proxy) -> None:
    proxy.obey({"bytes_per_second": None, "round_trip": 0.02})
    assert (proxy.to_broker.delay, proxy.to_client.delay) == (0.01, 0.01)


def test_bytes_arrive_unchanged_and_are_counted(proxy: Proxy) -> None:
    sent = bytes(range(256)) * 1000
    with socket.create_server(("127.0.0.1", 0)) as broker:
        proxy.obey({"upstream": broker.getsockname()[1]})
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as client:
            accepted, _ = broker.accept()
            threading.Thread(target=client.sendall, args=(sent,)).start()
            with accepted, accepted.makefile("rb") as stream:
                assert sent == stream.read(len(sent))
    assert len(sent) == proxy.to_broker.carried
