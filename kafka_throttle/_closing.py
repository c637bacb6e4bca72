"""The calls that wait for everything: flush() and close() run every callback, and know of what is kept."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from kafka_throttle._adapters.acks import ReportedAcks

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafka_throttle._admission import Admission
    from kafka_throttle._shedding.shedding import Shedding

__all__ = ["flush_kept", "serve_all", "serve_last"]


def serve_all(
    admission: Admission, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Run every callback, those that were deferred and those that the client has; raise one exception, as it does."""
    raised = admission.polling.run_all_deferred()
    result = forward(*args, **kwargs)
    # What was shed meanwhile.
    raised = admission.polling.run_all_deferred() or raised
    if raised is not None:
        raise raised
    return result


def flush_kept(admission: Admission, forward: Callable[..., Any], timeout: float = -1) -> int:
    """Flush what is held or on disk, too."""
    shedding: Any = admission.shedding
    left: int = shedding.flush(float(timeout), partial(_serve_for, admission, forward))
    return left


def _serve_for(admission: Admission, forward: Callable[..., Any], seconds: float) -> Any:
    return serve_all(admission, forward, (max(0.0, seconds),), {})


def serve_last(
    admission: Admission,
    forward: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    flush_first: tuple[Callable[..., int], Callable[[], None]] | None = None,
) -> Any:
    """The same for the call that closes the client, which it does whatever callbacks and disks raise.

    Args:
        admission: The admission.
        forward: The call.
        args: Its arguments.
        kwargs: Its keywords.
        flush_first: The client's flush and purge, when what is kept is to be waited for.
    """
    problems: list[Exception] = []
    if admission.shedding is not None:
        admission.shedding.refuse_interrupted("close")
        if flush_first is not None and not admission.closed:
            _flush_first(admission, admission.shedding, problems, *flush_first)
    result = None
    try:
        result = serve_all(admission, partial(_close, admission, forward, problems), args, kwargs)
    except Exception as error:  # noqa: BLE001 - raised below, unless there is something more important
        problems.append(error)
    if problems:
        raise problems[0]
    return result


def _flush_first(
    admission: Admission,
    shedding: Shedding,
    problems: list[Exception],
    flush: Callable[..., int],
    purge: Callable[[], None],
) -> None:
    try:
        left = shedding.flush_to_close(partial(_serve_for, admission, flush))
        shedding.stop()  # or it would hand over again what is purged
        if left:
            purge()
    except Exception as error:  # noqa: BLE001 - a callback's; raised when the client is closed
        problems.append(error)


def _close(
    admission: Admission,
    forward: Callable[..., Any],
    problems: list[Exception],
    *args: Any,
    **kwargs: Any,
) -> Any:
    shedding = admission.shedding
    try:
        if shedding is not None:
            shedding.stop()
        return forward(*args, **kwargs)
    finally:
        admission.close()
        try:
            if shedding is not None:
                shedding.close()
        except Exception as error:  # noqa: BLE001 - raised when the callbacks of what was given up have run
            problems.insert(0, error)
        if isinstance(admission.meter, ReportedAcks):
            admission.meter.close(admission.gate)
