"""A path of limited bandwidth and added delay between client and broker: ``python -m benchmarks.proxy``.

A process of its own, so that the interpreter lock of the client under test does not slow the path down. It prints the
port it listens on; each line of standard input is an order in JSON, answered by a line:

- ``{"upstream": PORT}``: where connections go, on 127.0.0.1;
- ``{"bytes_per_second": N, "round_trip": SECONDS}``: the path from now on; N null for no limit;
- ``{}``: nothing; the answer always has the bytes carried to the broker so far.

Bandwidth is shared by all connections of a direction, as on a link: a chunk departs when those before it have been
sent, and arrives half a round trip later. Little waits inside (a few chunks, small socket buffers), so that the queue
builds up in the client, where it would with a router of small buffers.
"""

from __future__ import annotations

import json
import queue
import socket
import sys
import threading
import time
from contextlib import suppress

__all__ = ["Link", "Proxy"]

_CHUNK = 4096
_LARGEST_CHUNK = 65_536
_CHUNKS_UNDERWAY = 64
_SOCKET_BUFFER = 16_384
# How far a reader may be ahead of what has been sent, in seconds: the link must not fall idle because somebody else
# had the processor. At 2 MB/s this is a router's queue of 20 kB.
_AHEAD = 0.01


class Link:
    """One direction of the path."""

    def __init__(self) -> None:
        self._bytes_per_second: float | None = None
        self.delay = 0.0
        self.carried = 0
        self._free_at = 0.0
        self._order = threading.Lock()

    def shape(self, bytes_per_second: float | None, round_trip: float) -> None:
        """Change capacity and delay, for what comes from now on."""
        with self._order:
            self._bytes_per_second = bytes_per_second
            self.delay = round_trip / 2

    @property
    def chunk(self) -> int:
        """How much to read at once: little on a limited path, which sends it piece by piece."""
        return _LARGEST_CHUNK if self._bytes_per_second is None else _CHUNK

    def depart(self, size: int) -> float:
        """Take a place behind what is being sent, and return when this will have been sent."""
        now = time.monotonic()
        with self._order:
            self.carried += size
            if self._bytes_per_second is None:
                return now
            self._free_at = max(now, self._free_at) + size / self._bytes_per_second
            return self._free_at


class Proxy:
    """Accepts connections and carries each over the two links of the path."""

    def __init__(self) -> None:
        self._upstream: int | None = None
        self.to_broker, self.to_client = Link(), Link()
        self._listener = socket.socket()
        # Before listen(): the size of the window is agreed on when a connection is made.
        _shrink_buffers(self._listener)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port: int = self._listener.getsockname()[1]

    def obey(self, order: dict[str, float | None]) -> None:
        """Do what one line of the input says."""
        upstream = order.get("upstream")
        if upstream is not None:
            self._upstream = int(upstream)
        if "bytes_per_second" in order:
            for link in (self.to_broker, self.to_client):
                link.shape(order["bytes_per_second"], order["round_trip"] or 0.0)

    def serve(self) -> None:
        """Accept connections until closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Accept nothing more; what is connected stays so until one of its ends is closed."""
        with suppress(OSError):  # not every system lets a listener be shut down
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.socket() as broker:
            _shrink_buffers(broker)
            if self._upstream is None:  # the broker is still starting: the client comes again
                return
            try:
                broker.connect(("127.0.0.1", self._upstream))
            except OSError:  # the broker is down: the client sees its connection closed, and comes again
                return
            ways = [*_way(client, broker, self.to_broker), *_way(broker, client, self.to_client)]
            for thread in ways:
                thread.start()
            for thread in ways:
                thread.join()


def _shrink_buffers(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _way(source: socket.socket, sink: socket.socket, link: Link) -> list[threading.Thread]:
    underway: queue.Queue[tuple[float, bytes]] = queue.Queue(_CHUNKS_UNDERWAY)
    return [
        threading.Thread(target=_read, args=(source, link, underway), daemon=True),
        threading.Thread(target=_write, args=(sink, source, underway), daemon=True),
    ]


def _read(source: socket.socket, link: Link, underway: queue.Queue[tuple[float, bytes]]) -> None:
    while True:
        try:
            data = source.recv(link.chunk)
        except OSError:  # reset by the peer, or closed by the other direction
            data = b""
        departs = link.depart(len(data))
        underway.put((departs + link.delay, data))
        if not data:
            return
        _sleep_until(departs - _AHEAD)


def _write(sink: socket.socket, source: socket.socket, underway: queue.Queue[tuple[float, bytes]]) -> None:
    while True:
        arrives, data = underway.get()
        _sleep_until(arrives)
        try:
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)
        except OSError:  # the peer is gone: tell the other one, and let the reader of this direction end
            with suppress(OSError):
                source.shutdown(socket.SHUT_RDWR)
            while underway.get()[1]:
                pass
            return


def _sleep_until(when: float) -> None:
    left = when - time.monotonic()
    if left > 0:
        time.sleep(left)


def main() -> None:
    """Serve until the input ends."""
    proxy = Proxy()
    threading.Thread(target=proxy.serve, daemon=True).start()
    print(json.dumps({"port": proxy.port}), flush=True)
    for line in sys.stdin:
        proxy.obey(json.loads(line))
        print(json.dumps({"carried": proxy.to_broker.carried}), flush=True)


if __name__ == "__main__":
    main()
