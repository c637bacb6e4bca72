"""`Polling`: who polls the client, and whose callbacks run where.

Three rules about other people's code. Callbacks of the user run only inside the user's own poll(), flush() and the
like; when the facade has to poll, they are deferred. They run in the order of the reports: the facade does not poll
while the user does, and the user's calls wait a moment for a poll of the facade and run what it deferred. And nothing
polls from inside a callback: the client aborts the process there.

The facade announces itself (`Gate.deferring`) and then looks whether a call of the user is inside the client
(`Gate.polling`); such a call marks itself and then looks at `deferring`. So whoever comes second sees the other.
"""

from __future__ import annotations

import math
import threading
import time
from threading import get_ident
from typing import TYPE_CHECKING, Any

from kafka_throttle.exceptions import CallbackReentryError, ForkedProducerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_throttle._gates.gate import Gate

__all__ = ["Polling"]

# A poll of ours is waited for so long at most, in seconds, counted from its start.
_PATIENCE = 0.05
# Whoever would have polled for the facade, while the user did, looks again so soon, in seconds.
_PAUSE = 0.001


class Polling:
    """Polls for the facade, and guards the calls of the user.

    Args:
        gate: Knows what each thread is doing, and has the deferred calls.
        client_poll: The client's poll, as a function of the producer and a timeout in seconds; None: an event loop polls
            it, and runs what was deferred.
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
        """Poll the client on the facade's behalf: the user's callbacks are put off.

        When another thread is at it, or the user, this is a pause instead, of `timeout` seconds at most.
        """
        poll = self._client_poll
        if poll is None or self.gate.in_client:
            return  # a callback, or a signal handler in the client's poll: one more poll would crash the client
        if not self._serve(poll, producer, timeout) and timeout > 0:
            time.sleep(min(timeout, _PAUSE))

    def _serve(self, poll: Callable[[Any, float], int], producer: Any, timeout: float) -> bool:
        """Poll the client, or return False when somebody else does."""
        if not self._lock.acquire(blocking=False):
            return False  # whose callbacks are deferred can be said of one thread only
        try:
            self._polled_at = self._clock()
            self.gate.deferring = get_ident()
            if self.gate.polling:
                return False
            self.gate.serve(poll, producer, timeout)
            return True
        finally:
            self.gate.deferring = 0
            self._lock.release()

    def poll(self, client_poll: Callable[..., int], *args: Any, **kwargs: Any) -> int:
        """Make the client's poll for the user, after what was deferred; see `call`.

        Args:
            client_poll: The client's poll.
            *args: Its arguments.
            **kwargs: Its keywords.

        Returns:
            Callbacks that ran.
        """
        timeout = args[0] if args else kwargs.get("timeout", -1)
        patience = timeout if isinstance(timeout, (int, float)) and timeout >= 0 else math.inf
        self.refuse("poll")
        ran: int = self.gate.serve(self._poll, patience, client_poll, *args, **kwargs)
        return ran

    def _poll(self, patience: float, client_poll: Callable[..., int], *args: Any, **kwargs: Any) -> int:
        in_order = self._left_alone(patience)
        ran = self.run_deferred()
        if not in_order:
            return ran
        return ran + (client_poll(0) if ran else client_poll(*args, **kwargs))

    def call(self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make one of the client's calls that run callbacks, for the user.

        Raises:
            CallbackReentryError: Inside a callback, where the client would abort the process.
            ForkedProducerError: In a forked child.
        """
        self.refuse(name)
        return self.gate.serve(self._call, method, *args, **kwargs)

    def _call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._left_alone(math.inf)
        return method(*args, **kwargs)

    def _left_alone(self, patience: float) -> bool:
        """Wait until no other thread polls for the facade; none begins while this one is marked as polling.

        Args:
            patience: Longest wait in seconds.

        Returns:
            Whether to go on to the client: nobody is there, or was for so long that a signal handler must have
            interrupted it, which may be waiting for this very thread.
        """
        if self.gate.deferring in (0, get_ident()):
            return True
        held_up = self._polled_at + _PATIENCE - self._clock()
        if held_up <= 0:
            return True
        if self._lock.acquire(timeout=min(patience, held_up)):
            self._lock.release()
            return True
        return patience >= held_up

    def refuse(self, name: str) -> None:
        """Refuse a call of the user's that waits in the client, where it cannot be made.

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

    def run_deferred(self) -> int:
        """Run what was deferred, in order; stop at the first exception, as the client's poll() does."""
        deferred = self.gate.deferred
        ran = 0
        while deferred and self._client_poll is not None:
            callback, *arguments = deferred.popleft()
            ran += 1
            self.gate.run(callback, *arguments)
        return ran

    def run_all_deferred(self) -> BaseException | None:
        """Run what was deferred to the end and return one exception, as the client's flush() does."""
        raised: BaseException | None = None
        while self.gate.deferred and self._client_poll is not None:
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
