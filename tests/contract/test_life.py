"""The end of a producer: close, with, garbage collection, fork, and the end of the process."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import weakref
from typing import Any

import confluent_kafka
import pytest

CONF = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}


def closed(producer: Any) -> Any:
    producer.close()
    return producer


AFTER_CLOSE: dict[str, Any] = {
    "produce": lambda p: p.produce("topic", b"v"),
    "produce with a callback": lambda p: p.produce("topic", b"v", on_delivery=print),
    "produce in a wrong form": lambda p: p.produce(5),
    "poll": lambda p: p.poll(0),
    "flush": lambda p: p.flush(0),
    "purge": lambda p: p.purge(),
    "list_topics": lambda p: p.list_topics(timeout=1),
    "len": len,
    "bool": bool,
    "close again": lambda p: (p.close(), p.close()),
    "with again": lambda p: p.__enter__() is p,
    "init_transactions": lambda p: p.init_transactions(1),
    "begin_transaction": lambda p: p.begin_transaction(),
    "set_sasl_credentials": lambda p: p.set_sasl_credentials("a", "b"),
}


@pytest.mark.parametrize("form", [pytest.param(form, id=name) for name, form in AFTER_CLOSE.items()])
def test_after_close_every_call_comes_to_the_same(sides: Any, form: Any) -> None:
    sides.compare(lambda producer: form(closed(producer)))


@pytest.mark.parametrize(
    "form",
    [lambda p: p.close(), lambda p: p.close(1), lambda p: p.close(timeout=1), lambda p: p.close(nonsense=1)],
)
def test_close_takes_the_same_forms(sides: Any, form: Any) -> None:
    sides.compare(form)


def test_close_delivers_what_is_left(make: Any) -> None:
    told: list[Any] = []
    producer = make()
    producer.produce("topic", b"v", on_delivery=lambda error, message: told.append(error))
    assert (producer.close(), told) == (True, [None])


def test_a_closed_facade_says_so(sides: Any) -> None:
    producer = closed(sides.facade())
    assert producer.statistics().state == "closed"
    assert "closed" in repr(producer)


def test_with_delivers_and_closes(sides: Any) -> None:
    def form(producer: Any) -> Any:
        told: list[Any] = []
        with producer as same:
            producer.produce("topic", b"v", on_delivery=lambda error, message: told.append(error))
        return same is producer, told, sides.outcome(lambda: producer.produce("topic", b"v"))

    sides.compare(form)


def test_with_lets_exceptions_through(make: Any) -> None:
    with pytest.raises(LookupError), make():
        raise LookupError


# ---- garbage


class Callback:
    def __init__(self, producer: Any) -> None:
        self.producer = producer

    def __call__(self, *args: Any) -> None: ...


def forget(cls: type, **conf: Any) -> Any:
    """Make a producer of a class that can be watched, use it, and keep only a weak reference."""
    watched = type(
        "Watched", (cls,), {"__slots__": ("__weakref__",) if cls is confluent_kafka.Producer else ()}
    )
    producer = watched({**CONF, **conf})
    producer.produce("topic", b"v", on_delivery=print)
    producer.poll(0)
    return weakref.ref(producer)


@pytest.mark.compiled  # the pure gate's closures refer to the producer: the collector takes it
def test_a_forgotten_producer_goes_at_once(sides: Any) -> None:
    gc.disable()
    try:
        assert [forget(cls, error_cb=print)() for cls in sides.classes] == [None, None]
    finally:
        gc.enable()


def test_a_forgotten_producer_goes(sides: Any) -> None:
    forgotten = [forget(cls, error_cb=print, stats_cb=print) for cls in sides.classes]
    gc.collect()
    assert [one() for one in forgotten] == [None, None]


def test_a_cycle_through_a_callback_goes_as_with_the_client(sides: Any) -> None:
    def cycle(cls: type) -> Any:
        holder: list[Any] = []
        producer = type("Watched", (cls,), {})({**CONF, "error_cb": lambda error: holder})
        producer.kept = Callback(producer)  # type: ignore[attr-defined]
        holder.append(producer)
        return weakref.ref(producer)

    cycles = [cycle(cls) for cls in sides.classes]
    gc.collect()
    assert [one() is None for one in cycles] == [cycles[0]() is None] * 2


# ---- the end of the process, and forks


# From 3.12 on Python warns of forks with threads, which is what these tests are about.
NO_FORKS = "ignore:This process (pid=:DeprecationWarning"


def run(script: str, *arguments: str) -> tuple[int, str]:
    """Run a script in a process of its own, which must end by itself, and return its code and what it printed."""
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", NO_FORKS, "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr == ""
    return ended.returncode, ended.stdout


START = """
import logging, os, sys, threading
from kafka_throttle import Block, Fixed, ForkedProducerError, Producer, Rule, Throttle

CONF = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}
MOCK = {"test.mock.num.brokers": 1, "log_level": 0, "linger.ms": 1}
NARROW = Throttle(limit=Fixed(2), burst=0, rules=[Rule("*", Block(60))])
logging.getLogger("kafka_throttle").setLevel("ERROR")
"""


@pytest.mark.parametrize("end", ["pass", "sys.exit(3)", "del producer", "producer.purge()"])
def test_the_process_ends_with_records_in_flight(end: str) -> None:
    script = f"""{START}
producer = Producer(CONF)
for _ in range(100):
    producer.produce("topic", b"v", on_delivery=print)
producer.poll(0)
print("end")
{end}
"""
    assert run(script) == (3 if "exit" in end else 0, "end\n")


def test_the_process_ends_while_a_thread_waits_in_produce() -> None:
    script = f"""{START}
producer = Producer(CONF, throttle=NARROW)
def produce():
    while True:
        producer.produce("topic", b"v")
threading.Thread(target=produce, daemon=True).start()
while not producer.statistics().waiting:
    pass
print("end")
"""
    assert run(script) == (0, "end\n")


FORK = f"""{START}
producer = Producer(CONF)
producer.produce("topic", b"v")
child = os.fork()
if child == 0:
    %s
    sys.stdout.flush()
    sys.exit(7)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
producer.purge()
producer.flush(10)
print("child", code)
"""
forks = pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork here")


@forks
@pytest.mark.parametrize(
    "call",
    [
        "producer.produce('topic', b'v')",
        "producer.produce_batch('topic', [{'value': b'v'}])",
        "producer.poll(0)",
        "producer.flush()",
        "producer.list_topics()",
    ],
)
def test_in_a_forked_child_a_call_is_refused_at_once(call: str) -> None:
    body = f"try: {call}\n    except ForkedProducerError as error: print(error)"
    refused = (
        "this producer (rdkafka) was created before os.fork(), and in the child the client would send nothing: create a "
        "new Producer in the child process"
    )
    assert run(FORK % body) == (0, f"{refused}\nchild 7\n")


@forks
@pytest.mark.parametrize(
    ("call", "printed"),
    [
        ("print(producer.close())", "True\n"),
        ("producer.__exit__(None, None, None)", ""),
        ("del producer", ""),
    ],
)
def test_a_forked_child_closes_and_ends(call: str, printed: str) -> None:
    assert run(FORK % call) == (0, f"{printed}child 7\n")


@forks
def test_a_forked_child_sees_the_exceptions_of_its_with_block() -> None:
    body = "try:\n        with producer: raise KeyError\n    except KeyError: print('seen')"
    assert run(FORK % body) == (0, "seen\nchild 7\n")


@forks
def test_a_new_producer_works_in_a_forked_child() -> None:
    script = f"""{START}
# A parent at rest: a fork in the middle of a look-up of host names leaves the C library's lock taken in the child.
producer = Producer(MOCK)
producer.produce("topic", b"v")
producer.flush(30)
child = os.fork()
if child == 0:
    new = Producer(MOCK)
    new.produce("topic", b"v", on_delivery=lambda error, message: print(error, message.value()))
    print(new.flush(30), new.statistics().delivered)
    sys.stdout.flush()
    sys.exit(7)
print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(script) == (0, "None b'v'\n0 1\nchild 7\n")


@forks
def test_a_fork_while_other_threads_produce_leaves_no_lock_behind() -> None:
    script = f"""{START}
producer = Producer(MOCK, throttle=Throttle(limit=Fixed(50)))
stop = threading.Event()
def produce():
    while not stop.is_set():
        producer.produce("topic", b"v")
threads = [threading.Thread(target=produce) for _ in range(4)]
for thread in threads: thread.start()
codes = []
for _ in range(10):
    child = os.fork()
    if child == 0:
        try: producer.produce("topic", b"v")
        except ForkedProducerError: os._exit(7)
        os._exit(1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
for thread in threads: thread.join()
producer.flush(30)
print(set(codes))
"""
    assert run(script) == (0, "{7}\n")
