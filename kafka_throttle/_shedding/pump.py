"""The pump: one thread per producer that moves what waits to the client, when there is room.

It begins with the first record that waits, and knows the producer by a weak reference alone, so that a producer that
is forgotten can go.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from kafka_throttle._publish import logger

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pump"]

_TROUBLE = 1.0


class Pump:
    """Calls `work` again and again, in its own thread, while it has something to do.

    Args:
        producer: The producer.
        work: Does one round for the producer and returns whether there is more; it waits by itself.
        name: Name of the thread.
    """

    def __init__(self, producer: Any, work: Callable[[Any], bool], name: str) -> None:
        self._producer = weakref.ref(producer, lambda _: self.stop_soon())
        self._work = work
        self._something = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something to do."""
        if not self._something.is_set():  # many times cheaper than to set it again, for each record
            self._something.set()

    def _run(self) -> None:
        while not self._stopping:
            self._something.wait()
            self._something.clear()
            while self._round():
                pass

    def _round(self) -> bool:
        producer = None if self._stopping else self._producer()
        if producer is None:
            self._stopping = True
            return False
        try:
            return self._work(producer)
        except Exception:  # noqa: BLE001 - whatever it is, what waits must not be forgotten: said, and tried again later
            logger.exception("the pump of %r failed and goes on in %.0f s", producer, _TROUBLE)
            del producer
            self._something.wait(_TROUBLE)
            return True

    def stop_soon(self) -> None:
        """Have the thread end with its present round."""
        self._stopping = True
        self._something.set()

    def join(self) -> None:
        """Stop, and wait until the thread has ended; not from the thread itself."""
        self.stop_soon()
        if self._thread is not threading.current_thread():
            self._thread.join()
