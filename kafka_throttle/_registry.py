"""The live producers of this process: for metrics, and to give them up in a forked child."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kafka_throttle._admission import Admission

__all__ = ["live", "register"]

_live: weakref.WeakKeyDictionary[Admission, weakref.ref[Any]] = weakref.WeakKeyDictionary()


def register(admission: Admission, producer: Any) -> None:
    """Add one producer with its admission, until they are collected."""
    _live[admission] = weakref.ref(producer)


def live() -> list[Admission]:
    """Return the admissions of those that are alive, in no order."""
    return list(_live)


def _in_child() -> None:
    for admission, reference in list(_live.items()):
        admission.orphan()
        producer = reference()
        if producer is not None:
            _keep_for_ever(producer)


def _keep_for_ever(producer: Any) -> None:
    """Let a producer outlive the interpreter: destroying its client would wait for threads that were not forked."""
    import ctypes  # noqa: PLC0415 - 4 ms that only a forked child has to pay

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(producer))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
