"""`Polling`: who polls the client, and whose callbacks run where.

Two rules about other people's code. Callbacks of the user run only inside the user's own poll(), flush() and the like;
when the facade has to poll, they are deferred. And nothing polls from inside a callback: the client aborts the process
there.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING, Any

from kafka_throttle.exceptions import CallbackReentryError, ForkedProducerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kafka_throttle._gates.gate import Gate

__all__ = ["Polling"]

# A poll of ours is waited for so long at most, in seconds.
_ALONE = 0.05


class Polling:
    """Polls for the facade, and guards the calls of the user.

    Args:
        gate: Knows what each thread is doing, and has the deferred calls.
        client_poll: The client's poll, as a function of the producer and a timeout in seconds; None: others poll it, and
            the facade has no need to.
        clock: Monotonic seconds.
        client_id: For the words of errors.

    Attributes:
        orphaned: Whether this is a forked child.
    """

    def __init__(
        self,
        gate: Gate,
        client_poll: Callable[[Any, float], int] | None,
        clock: Callable[[], float],
        client_id: str,
    ) -> None:
        self.gate = gate
        self.orphaned = False
        self._client_poll = client_poll
        self._clock = clock
        self._client_id = client_id
        self._lock = threading.Lock()
        self._polled_at = 0.0

    def orphan(self) -> None:
        """Refuse every call from now on, in a forked child: another thread of the parent may have held the lock."""
        self.orphaned = True
        self._lock = threading.Lock()

    def serve_when_due(self, producer: Any, now: float, period: float) -> None:
        """Poll once a window, so that throttle events are seen and reports do not pile up in the client."""
        if now - self._polled_at >= period:
            self.serve(producer, 0.0)

    def serve(self, producer: Any, timeout: float) -> None:
        """Poll the client on the facade's behalf: the user's callbacks are put off."""
        if self._client_poll is None or self.gate.in_client:
            return  # a callback, or a signal handler in the client's poll: one more poll would crash the client
        if not self._lock.acquire(blocking=False):
            return  # another thread is at it; whose callbacks are deferred can be said of one thread only
        self._polled_at = self._clock()
        self.gate.deferring = get_ident()
        try:
            self.gate.serve(self._client_poll, producer, timeout)
        finally:
            self.gate.deferring = 0
            self._lock.release()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep the facade from polling meanwhile, so that callbacks run in the order of the reports.

        What another thread polls now is waited for; not for ever, as this may be a handler that interrupted it.
        """
        acquired = self._lock.acquire(timeout=_ALONE)
        try:
            yield
        finally:
            if acquired:
                self._lock.release()

    def call(self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make one of the client's calls that run callbacks, for the user: what was deferred runs first.

        Raises:
            CallbackReentryError: Inside a callback, where the client would abort the process.
            ForkedProducerError: In a forked child.
        """
        if self.gate.in_callback:
            raise CallbackReentryError(
                f"{name}() was called from inside a callback of the same producer, where the client would abort the "
                "process: only produce(), purge() and len() are possible there"
            )
        self.refuse_orphan()
        return self.gate.serve(method, *args, **kwargs)

    def run_deferred(self) -> int:
        """Run what was deferred, in order; stop at the first exception, as the client's poll() does."""
        deferred = self.gate.deferred
        ran = 0
        while deferred:
            callback, *arguments = deferred.popleft()
            ran += 1
            self.gate.run(callback, *arguments)
        return ran

    def run_all_deferred(self) -> BaseException | None:
        """Run what was deferred to the end and return one exception, as the client's flush() does."""
        raised: BaseException | None = None
        while self.gate.deferred:
            try:
                self.run_deferred()
            except Exception as error:  # noqa: BLE001 - flush serves the rest and raises one of them
                raised = error
        return raised

    def refuse_orphan(self) -> None:
        """Refuse every call in a forked child.

        Raises:
            ForkedProducerError: This is one.
        """
        if self.orphaned:
            raise ForkedProducerError(
                f"this producer ({self._client_id}) was created before os.fork(), and in the child the client "
                "would send nothing: create a new Producer in the child process"
            )
