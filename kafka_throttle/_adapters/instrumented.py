"""Tracing tools put a subclass of their own in the place of the client's Producer: stay below it.

OpenTelemetry and Datadog rebind ``confluent_kafka.Producer``, New Relic ``confluent_kafka.cimpl.Producer``. They do it
at any time, so the question is asked for each new instance.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import confluent_kafka
from confluent_kafka import cimpl

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["STOCK", "next_in_line", "traced"]

STOCK = cimpl.Producer

_traced: dict[tuple[type, type], type] = {}


def instrumented_client(own: type) -> type | None:
    """Return the class that stands in the place of the client's Producer, or None."""
    for module in (confluent_kafka, cimpl):
        current = module.Producer
        if not isinstance(current, type) or current is STOCK or issubclass(current, own):
            continue
        if issubclass(current, STOCK):
            return current
    return None


def traced(cls: type, own: type) -> type:
    """Return `cls`, or a class that has the tracing tool's between `own` and the client.

    Args:
        cls: The class of which an instance is wanted.
        own: The facade's class, of which `cls` is a subclass.
    """
    client = instrumented_client(own)
    if client is None or issubclass(cls, client):
        return cls
    key = (cls, client)
    if key not in _traced:
        names = ("__doc__", "__module__", "__qualname__")
        namespace = {name: getattr(cls, name) for name in names} | {"__slots__": ()}
        _traced[key] = types.new_class(
            cls.__name__, (cls, client), exec_body=lambda body: body.update(namespace)
        )
    return _traced[key]


def next_in_line(own: type, cls: type, name: str) -> Callable[..., Any]:
    """Return what ``super(own, instance).<name>`` finds, as a function of the instance and the arguments.

    The client's own method is returned as it is. Anything else may be a wrapper, or be wrapped later, so it is looked
    up for each call.

    Args:
        own: The facade's class.
        cls: The class of the instance.
        name: The method.
    """
    following = cls.__mro__[cls.__mro__.index(own) + 1 :]
    found = next(base.__dict__[name] for base in following if name in base.__dict__)
    if type(found) is types.MethodDescriptorType:
        return found

    def through_super(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
        return getattr(super(own, instance), name)(*args, **kwargs)

    return through_super
