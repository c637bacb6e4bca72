"""Both gates: tickets, the edge, stand-ins, marks. One suite over the compiled one and its twin."""

from __future__ import annotations

import gc
import importlib
import inspect
import threading
import tracemalloc
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import cimpl
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_throttle._gates.gate import PureGate, gated_method, gated_poll

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    COMPILED: Any = importlib.import_module("kafka_throttle._gates._gate")
except ImportError:
    COMPILED = None

MANY = 1_000_000
needs_compiled = pytest.mark.skipif(COMPILED is None, reason="the compiled gate is not built")


class Client:
    """What stands behind a gate: keeps what it was given, and fails when told to."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.at_edge: list[tuple[Any, ...]] = []
        self.failure: BaseException | None = None
        self.deferred: deque[tuple[Any, ...]] = deque()
        self.gate = make(self.send, self.meet_edge, self.deferred)

    def send(self, producer: Any, *args: Any, **kwargs: Any) -> None:
        if self.failure is not None:
            raise self.failure
        self.sent.append((producer, args, kwargs))

    def meet_edge(self, producer: Any, *args: Any, **kwargs: Any) -> str:
        self.at_edge.append((producer, args, kwargs))
        return "edge"


def compiled_gate(*args: Any, **kwargs: Any) -> Any:
    """Return a compiled gate that can be asked to admit a record, as its twin can."""
    gate = COMPILED.Gate(*args, **kwargs)
    return _Admitting(gate)


class _Admitting:
    """A producer class around a compiled gate: its hot path is reached through the class attribute only."""

    def __init__(self, gate: Any) -> None:
        self._gate = gate
        self._instance = _holder(gate)

    def admit(self, producer: Any, *args: Any, **kwargs: Any) -> Any:
        # The gate hands on the instance; the tests want their own word for it.
        return self._instance.produce(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gate, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._gate, name, value)


def _holder(gate: Any, poll: Any = None) -> Any:
    class Holder:
        __slots__ = ("__gate__", "__weakref__")
        produce = COMPILED.GatedMethod(lambda self, *args: ("no gate", args), "Doc.", "($self, topic)")

        def __repr__(self) -> str:
            return "producer"

        def __eq__(self, other: object) -> bool:
            return other == "producer" or other is self

        __hash__ = object.__hash__

    holder = Holder()
    holder.__gate__ = gate
    return holder


MAKERS = [
    pytest.param(PureGate, id="pure"),
    pytest.param(compiled_gate, id="compiled", marks=needs_compiled),
]


@pytest.fixture(params=MAKERS)
def client(request: pytest.FixtureRequest) -> Client:
    return Client(request.param)


def produce(client: Client, *args: Any, **kwargs: Any) -> Any:
    return client.gate.admit("producer", *args, **kwargs)


def at_run_time(*parts: str) -> str:
    """Return a name that the compiler did not intern."""
    return "".join(parts)


# ---- tickets and the edge


def test_a_new_gate_is_closed(client: Client) -> None:
    assert produce(client, "topic", b"value") == "edge"
    assert client.at_edge == [("producer", ("topic", b"value"), {})]
    assert client.gate.ticket == 0


def test_as_many_pass_as_it_was_opened_for(client: Client) -> None:
    client.gate.open(2, MANY, 1.0)
    assert [produce(client, "topic", b"v") for _ in range(3)] == [None, None, "edge"]
    assert (client.gate.ticket, len(client.sent)) == (2, 2)


def test_bytes_close_it_as_well(client: Client) -> None:
    client.gate.open(MANY, 25, 10.0)
    assert [produce(client, "topic", b"0123456", b"key") for _ in range(3)] == [None, None, "edge"]


def test_an_opening_replaces_the_one_before(client: Client) -> None:
    client.gate.open(5, MANY, 1.0)
    produce(client, "topic")
    client.gate.open(1, MANY, 1.0)
    assert [produce(client, "topic"), produce(client, "topic")] == [None, "edge"]
    assert client.gate.ticket == 2


def test_nothing_passes_after_close(client: Client) -> None:
    client.gate.open(5, MANY, 1.0)
    client.gate.close()
    assert (produce(client, "topic"), client.gate.ticket) == ("edge", 0)


def test_nothing_passes_an_abandoned_gate_whoever_held_its_lock() -> None:
    client = Client(PureGate)
    client.gate.open(5, MANY, 1.0)
    with ThreadPoolExecutor(1) as parent_thread:
        parent_thread.submit(client.gate._adding.acquire).result()
        client.gate.abandon()
    assert (produce(client, "topic"), client.gate.ticket) == ("edge", 0)


def test_a_restricted_gate_sends_other_topics_to_the_slow_path(client: Client) -> None:
    free = {"free"}
    client.gate.open(MANY, MANY, 1.0)
    client.gate.restrict(free)
    client.gate.open(MANY, MANY, 1.0)
    assert produce(client, "other", b"v") == "edge"
    assert client.gate.ticket == 0
    if isinstance(client.gate, PureGate):  # it lets nothing pass
        assert produce(client, "free", b"v") == "edge"
    else:
        assert produce(client, "free", b"v") is None
        free.add("later")
        assert produce(client, "later", b"v") is None
        client.gate.restrict({"later"})
        assert produce(client, "free", b"v") == "edge"
        assert produce(client, "later", b"v") is None
    client.gate.restrict(None)
    client.gate.open(MANY, MANY, 1.0)
    assert produce(client, "other", b"v") is None


@needs_compiled
def test_the_compiled_gate_is_restricted_to_a_set() -> None:
    with pytest.raises(TypeError, match=r"^expected a set or None, got \['free'\]$"):
        COMPILED.Gate(print, print, deque()).restrict(["free"])


def test_what_went_another_way_is_counted(client: Client) -> None:
    client.gate.add(3, 30)
    client.gate.add(-1, -10)
    assert client.gate.ticket == 2


def test_forward_counts_and_needs_no_room(client: Client) -> None:
    client.gate.forward("producer", "topic", b"value", key=b"key")
    assert client.sent == [("producer", ("topic", b"value"), {"key": b"key"})]
    assert client.gate.ticket == 1


def test_a_full_client_is_the_slow_paths_business(client: Client) -> None:
    client.gate.open(5, MANY, 1.0)
    client.failure = BufferError("Local: Queue full")
    assert produce(client, "topic", b"value") == "edge"
    assert (client.gate.ticket, client.gate.client_full, client.gate.refused) == (0, 1, 0)


def test_any_other_error_of_the_client_passes_through(client: Client) -> None:
    client.gate.open(5, MANY, 1.0)
    client.failure = LookupError("no such topic")
    with pytest.raises(LookupError, match="no such topic"):
        produce(client, "topic", b"value")
    assert (client.gate.ticket, client.gate.client_full, client.gate.refused) == (0, 0, 1)


@pytest.mark.parametrize(
    ("failure", "counts"), [(BufferError("full"), (0, 1, 0)), (TypeError("topic"), (0, 0, 1))]
)
def test_forward_takes_back_what_the_client_refused(
    client: Client, failure: BaseException, counts: tuple[int, int, int]
) -> None:
    client.failure = failure
    with pytest.raises(type(failure)):
        client.gate.forward("producer", "topic")
    assert (client.gate.ticket, client.gate.client_full, client.gate.refused) == counts


def test_a_batch_is_only_passed_on(client: Client) -> None:
    assert client.gate.batch(lambda *args, **kwargs: (args, kwargs), 1, two=2) == ((1,), {"two": 2})
    assert client.gate.ticket == 0


@needs_compiled
def test_the_compiled_gate_weighs_values_and_keys_in_every_form() -> None:
    client = Client(COMPILED.Gate)
    for args, kwargs in (
        (("t", b"12345", b"678"), {}),
        (("t", "äß", None), {}),
        (("t",), {"value": b"1", "key": "2"}),
        ((), {"topic": "t", at_run_time("va", "lue"): b"123"}),
        (("t", None), {}),
        (("t", 5), {}),
        (("t", "\ud800"), {}),
    ):
        client.gate.forward("producer", *args, **kwargs)
    assert client.gate.bytes == 8 + 4 + 2 + 3
    assert client.gate.ticket == 7


# ---- stand-ins


FORMS: list[Any] = [
    pytest.param(lambda call: (("t", b"v", None, -1, call), {}), id="fifth"),
    pytest.param(lambda call: (("t", b"v", None, -1, None, call), {}), id="sixth"),
    pytest.param(lambda call: (("t", b"v"), {"callback": call}), id="callback"),
    pytest.param(lambda call: (("t", b"v"), {"on_delivery": call}), id="on_delivery"),
    pytest.param(
        lambda call: (("t",), {"value": b"v", at_run_time("on_", "delivery"): call}), id="run-time name"
    ),
]


def given_callback(client: Client) -> Any:
    _, args, kwargs = client.sent[-1]
    found = [*args[4:6], *(kwargs[name] for name in ("callback", "on_delivery") if name in kwargs)]
    return next(one for one in found if one is not None)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", ["admit", "forward"])
def test_the_client_gets_a_stand_in_that_calls_the_users_callback(
    client: Client, form: Any, way: str
) -> None:
    told: list[Any] = []
    client.gate.open(1, MANY, 1.0)
    args, kwargs = form(lambda *report: told.append(report))
    getattr(client.gate, way)("producer", *args, **kwargs)
    given_callback(client)(None, b"message")
    assert told == [(None, b"message")]


@pytest.mark.parametrize("form", FORMS)
def test_at_the_edge_the_callback_is_the_users_own(client: Client, form: Any) -> None:
    args, kwargs = form(print)
    produce(client, *args, **kwargs)
    assert client.at_edge == [("producer", args, kwargs)]


def test_no_callback_stays_none(client: Client) -> None:
    client.gate.forward("producer", "t", b"v", callback=None, on_delivery=None)
    assert client.sent == [("producer", ("t", b"v"), {"callback": None, "on_delivery": None})]


@pytest.mark.parametrize("call", [("t", b"v", None, -1, None, None, 0, None, "one too many"), ("t", b"v")])
def test_arguments_that_the_client_would_refuse_reach_it(client: Client, call: tuple[Any, ...]) -> None:
    client.gate.forward("producer", *call, unknown=print)
    assert client.sent == [("producer", call, {"unknown": print})]


def test_what_is_not_callable_is_called_all_the_same(client: Client) -> None:
    client.gate.forward("producer", "t", callback=5)
    with pytest.raises(TypeError, match="'int' object is not callable"):
        given_callback(client)(None, b"message")


def test_while_the_facade_polls_calls_are_put_off(client: Client) -> None:
    told: list[Any] = []
    stand_in = client.gate.stand_in(lambda *args: told.append(args))
    client.gate.deferring = get_ident()
    assert stand_in(1, 2) is None
    client.gate.deferring = 0
    callback, *arguments = client.deferred.popleft()
    assert (told, arguments) == ([], [1, 2])
    client.gate.run(callback, *arguments)
    assert told == [(1, 2)]


def test_only_the_polling_threads_calls_are_put_off(client: Client) -> None:
    told: list[Any] = []
    stand_in = client.gate.stand_in(told.append)
    client.gate.deferring = get_ident()
    with ThreadPoolExecutor(1) as other:
        other.submit(stand_in, "of another thread").result()
    assert (told, len(client.deferred)) == (["of another thread"], 0)


def test_where_a_gate_has_a_home_the_calls_of_other_threads_are_put_off(client: Client) -> None:
    told: list[Any] = []
    stand_in = client.gate.stand_in(lambda *args: told.append(args))
    client.gate.forward("producer", "t", on_delivery=lambda *report: told.append(report))
    report = given_callback(client)
    client.gate.home = get_ident()
    with ThreadPoolExecutor(1) as other:
        other.submit(stand_in, "elsewhere").result()
        other.submit(report, None, "elsewhere").result()
    assert (told, [arguments for _, *arguments in client.deferred]) == (
        [],
        [["elsewhere"], [None, "elsewhere"]],
    )
    stand_in("at home")
    report(None, "at home")
    assert told == [("at home",), (None, "at home")]
    client.gate.home = 0
    with ThreadPoolExecutor(1) as other:
        other.submit(stand_in, "anywhere").result()
    assert told[2:] == [("anywhere",)]


def test_at_home_calls_are_put_off_while_the_facade_polls_there(client: Client) -> None:
    told: list[Any] = []
    client.gate.home = client.gate.deferring = get_ident()
    client.gate.stand_in(told.append)("later")
    assert (told, len(client.deferred)) == ([], 1)


def test_a_guarded_call_is_never_put_off(client: Client) -> None:
    told: list[Any] = []
    client.gate.deferring = get_ident()
    client.gate.guard(told.append)("now")
    assert told == ["now"]


@pytest.mark.parametrize("make", ["stand_in", "guard"])
def test_a_stand_in_needs_a_callable(client: Client, make: str) -> None:
    with pytest.raises(TypeError, match="expected a callable, got 5"):
        getattr(client.gate, make)(5)


def test_a_stand_in_passes_results_and_exceptions_on(client: Client) -> None:
    assert client.gate.stand_in(int)("12") == 12
    with pytest.raises(ValueError, match="invalid literal"):
        client.gate.stand_in(int)("twelve")


def test_a_stand_in_takes_no_keywords(client: Client) -> None:
    with pytest.raises(TypeError, match="keyword argument"):
        client.gate.stand_in(dict)(a=1)


def test_the_twin_counts_each_report_once_even_if_it_is_put_off() -> None:
    counted: list[Any] = []
    client = Client(partial(PureGate, count_report=lambda *report: counted.append(report)))
    told: list[Any] = []
    report = client.gate.report(lambda *report: told.append(report))
    client.gate.deferring = get_ident()
    report(None, "message")
    client.gate.deferring = 0
    callback, *arguments = client.deferred.popleft()
    client.gate.run(callback, *arguments)
    client.gate.report(None)(None, "without a callback")
    assert (counted, told) == ([(None, "message"), (None, "without a callback")], [(None, "message")])


def test_the_twin_keeps_successes_from_a_callback_for_errors_alone() -> None:
    counted: list[Any] = []
    told: list[Any] = []
    client = Client(partial(PureGate, count_report=lambda *report: counted.append(report)))
    client.gate.only_errors = True
    report = client.gate.report(lambda *report: told.append(report))
    report(None, "good")
    report("error", "bad")
    assert (counted, told) == ([(None, "good"), ("error", "bad")], [("error", "bad")])


# ---- marks


def standing(gate: Any) -> tuple[bool, bool]:
    return gate.in_callback, gate.in_client


def test_nobody_is_anywhere_at_first(client: Client) -> None:
    assert standing(client.gate) == (False, False)


def test_a_call_of_the_client_is_no_callback(client: Client) -> None:
    assert client.gate.serve(standing, client.gate) == (False, True)
    assert standing(client.gate) == (False, False)


@pytest.mark.parametrize("make", ["stand_in", "guard"])
def test_a_stand_in_marks_its_callback(client: Client, make: str) -> None:
    assert getattr(client.gate, make)(standing)(client.gate) == (True, True)
    assert standing(client.gate) == (False, False)


def test_a_report_marks_its_callback(client: Client) -> None:
    seen: list[Any] = []
    client.gate.report(lambda error, message: seen.append(standing(client.gate)))(None, None)
    assert (seen, standing(client.gate)) == ([(True, True)], (False, False))


def test_marks_nest_and_end_with_exceptions(client: Client) -> None:
    gate = client.gate
    seen: list[Any] = []

    def callback() -> None:
        gate.run(seen.append, standing(gate))
        seen.append(standing(gate))
        raise LookupError

    with pytest.raises(LookupError):
        gate.serve(gate.stand_in(callback))
    assert (seen, standing(gate)) == ([(True, True), (True, True)], (False, False))


def test_marks_are_of_one_thread_and_one_gate(client: Client) -> None:
    other = Client(PureGate)
    with ThreadPoolExecutor(1) as thread:
        elsewhere = client.gate.run(
            lambda: (thread.submit(standing, client.gate).result(), standing(other.gate))
        )
    assert elsewhere == ((False, False), (False, False))


def test_twenty_threads_in_callbacks_at_once_do_not_disturb_each_other(client: Client) -> None:
    barrier = threading.Barrier(20)

    def callback() -> tuple[bool, bool]:
        barrier.wait(timeout=30)
        inside = standing(client.gate)
        barrier.wait(timeout=30)
        return inside

    with ThreadPoolExecutor(20) as threads:
        inside = [f.result() for f in [threads.submit(client.gate.run, callback) for _ in range(20)]]
        after = list(threads.map(standing, [client.gate] * 20))
    assert (inside, after) == ([(True, True)] * 20, [(False, False)] * 20)


# ---- the class attribute


def gated(compiled: bool) -> Any:
    def without_gate(self: Any, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        return ("no gate", args, kwargs)

    class Producer:
        __slots__ = ("__dict__", "__gate__")
        produce = gated_method(without_gate, "What it does.", compiled=compiled)

        @gated_poll(compiled=compiled)
        def poll(self, *args: Any) -> Any:
            """Poll."""
            return ("slowly", args)

    return Producer


BOTH = [pytest.param(False, id="pure"), pytest.param(True, id="compiled", marks=pytest.mark.compiled)]


@pytest.mark.parametrize("compiled", BOTH)
def test_an_instance_without_a_gate_goes_to_the_client(compiled: bool) -> None:
    assert gated(compiled)().produce("t", key=1) == ("no gate", ("t",), {"key": 1})


@pytest.mark.parametrize("compiled", BOTH)
def test_an_instance_may_hold_any_callable_instead_of_a_gate(compiled: bool) -> None:
    producer = gated(compiled)()
    producer.__gate__ = lambda self, *args: (self is producer, args)
    assert producer.produce("t") == (True, ("t",))


@pytest.mark.parametrize("compiled", BOTH)
def test_subclasses_may_override_and_call_super_or_add_a_name(compiled: bool) -> None:
    base = gated(compiled)

    class Sub(base):  # type: ignore[misc]
        send = base.produce

        def produce(self, *args: Any) -> Any:
            return ("sub", super().produce(*args))

    assert Sub().produce("t") == ("sub", ("no gate", ("t",), {}))
    assert Sub().send("t") == ("no gate", ("t",), {})
    assert base().produce("t") == ("no gate", ("t",), {})


@pytest.mark.parametrize("compiled", BOTH)
def test_the_methods_describe_themselves(compiled: bool) -> None:
    base = gated(compiled)
    assert (base.produce.__name__, base.produce.__doc__) == ("produce", "What it does.")
    assert (base.poll.__name__, base.poll.__doc__) == ("poll", "Poll.")
    assert str(inspect.signature(base().produce)) == (
        "(topic, value=None, key=None, partition=-1, callback=None, on_delivery=None, timestamp=0, headers=None)"
    )
    assert str(inspect.signature(base().poll)) == "(timeout=-1)"


@pytest.mark.compiled
@pytest.mark.parametrize("args", [(), (object(),)])
def test_the_compiled_method_wants_an_instance(args: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match=r"unbound method produce\(\) needs a producer"):
        gated(compiled=True).produce(*args)


@needs_compiled
def test_the_compiled_method_wants_a_slot() -> None:
    with pytest.raises((TypeError, RuntimeError)) as caught:
        type("Slotless", (), {"__gate__": 5, "produce": COMPILED.GatedMethod(print, "Doc.", "($self)")})
    assert "needs a slot named __gate__" in str(caught.value.__cause__ or caught.value)


@pytest.mark.compiled
def test_the_compiled_poll_asks_python_when_there_is_more_to_do() -> None:
    # A real client method, as only such are called directly; on a client that was never set up it raises.
    class Producer(cimpl.Producer):  # type: ignore[misc]
        __slots__ = ("__gate__",)

        @gated_poll(compiled=True)
        def poll(self, *args: Any) -> Any:
            """Poll."""
            return ("slowly", args)

    producer = Producer.__new__(Producer)
    gate = COMPILED.Gate(print, print, deque(), None, cimpl.Producer.poll)
    assert producer.poll(1) == ("slowly", (1,))
    producer.__gate__ = gate
    with pytest.raises(RuntimeError):
        producer.poll(0)
    assert gate.run(producer.poll, 1) == ("slowly", (1,))
    gate.deferred.append((print,))
    assert producer.poll(2) == ("slowly", (2,))
    gate.deferred.clear()
    gate.deferring = 1  # another thread polls for the facade
    assert producer.poll(3) == ("slowly", (3,))
    gate.deferring = 0
    with pytest.raises(RuntimeError):
        producer.poll(0)
    gate.abandon()
    assert producer.poll(4) == ("slowly", (4,))


def test_the_twins_poll_asks_the_facade_when_there_is_more_to_do() -> None:
    class Producer:
        def poll(self, *args: Any) -> Any:
            """Poll."""
            return ("directly", args)

    gate = Client(PureGate).gate
    poll = gate.poll_of(Producer(), Producer.poll, lambda producer, *args: ("slowly", args))
    assert (poll(0), standing(gate)) == (("directly", (0,)), (False, False))
    assert gate.run(poll, 1) == ("slowly", (1,))
    gate.deferred.append((print,))
    assert poll(2) == ("slowly", (2,))
    gate.deferred.clear()
    gate.deferring = 1  # another thread polls for the facade
    assert poll(3) == ("slowly", (3,))
    gate.deferring = 0
    assert (poll(0), gate.polling) == (("directly", (0,)), False)
    gate.abandon()
    assert poll(4) == ("slowly", (4,))
    assert (poll.__doc__, str(inspect.signature(poll))) == ("Poll.", "(timeout=-1)")


def test_the_twins_poll_is_marked_before_it_looks_whether_the_facade_polls() -> None:
    class Producer:
        def poll(self) -> str:
            """Poll."""
            return "directly"

    class Deferred(deque[Any]):
        def __len__(self) -> int:
            seen.append(gate.polling)
            return 0

    seen: list[bool] = []
    gate = PureGate(print, print, Deferred())
    poll = gate.poll_of(Producer(), Producer.poll, lambda producer: "slowly")  # type: ignore[arg-type, return-value]
    assert (poll(), seen, gate.polling) == ("directly", [True], False)


@needs_compiled
def test_the_compiled_gate_hands_a_clients_method_nothing_but_its_own() -> None:
    gate = COMPILED.Gate(cimpl.Producer.produce, print, deque())
    for args in ((), (object(), "topic")):
        with pytest.raises(TypeError, match="needs the producer as its first argument"):
            gate.forward(*args)


@needs_compiled
def test_the_compiled_gate_wants_a_counter_with_an_address() -> None:
    with pytest.raises(AttributeError):
        COMPILED.Gate(print, print, deque(), object())
    with pytest.raises(TypeError):
        COMPILED.Gate(print, print, 5)


# ---- the two are equal

RECORD = 10
steps = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(0, 6), st.integers(0, 80)),
        st.tuples(st.just("close")),
        st.tuples(st.just("add"), st.integers(-3, 5)),
        st.tuples(
            st.sampled_from(["admit", "forward"]),
            st.sampled_from([None, "full", "refused"]),
            st.sampled_from(["none", "fifth", "sixth", "callback", "on_delivery", "both", "hidden"]),
        ),
        st.tuples(st.just("report"), st.booleans()),
        st.tuples(st.just("run")),
    ),
    max_size=60,
)
FAILURES = {None: None, "full": BufferError("full"), "refused": ValueError("refused")}


class Walk:
    """Takes steps with one gate and writes down whatever can be seen."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.client = Client(make)
        self.seen: list[Any] = []

    def take(self, step: tuple[Any, ...]) -> None:
        name, *rest = step
        getattr(self, name)(*rest)
        gate = self.client.gate
        self.seen.append((name, gate.ticket, gate.client_full, gate.refused, len(gate.deferred)))

    def open(self, records: int, size: int) -> None:
        self.client.gate.open(records, size, float(RECORD))

    def close(self) -> None:
        self.client.gate.close()

    def add(self, records: int) -> None:
        records = max(records, -self.client.gate.ticket)
        self.client.gate.add(records, records * RECORD)

    def admit(self, failure: str | None, form: str) -> None:
        self._offer(self.client.gate.admit, failure, form)

    def forward(self, failure: str | None, form: str) -> None:
        self._offer(self.client.gate.forward, failure, form)

    def _offer(self, way: Callable[..., Any], failure: str | None, form: str) -> None:
        self.client.failure = FAILURES[failure]
        value = b"x" * RECORD
        args, kwargs = {
            "none": (("t", value), {}),
            "fifth": (("t", value, None, -1, self.told), {}),
            "sixth": (("t", value, None, -1, None, self.told), {}),
            "callback": (("t", value), {"callback": self.told}),
            "on_delivery": (("t",), {"value": value, "on_delivery": self.told}),
            "both": (("t", value), {"callback": self.told, "on_delivery": self.told}),
            "hidden": (("t", value), {"callback": None, "on_delivery": self.told}),
        }[form]
        try:
            self.seen.append(way("producer", *args, **kwargs))
        except (BufferError, ValueError) as error:
            self.seen.append(repr(error))
        self.seen.append((len(self.client.sent), len(self.client.at_edge)))

    def told(self, error: Any, message: Any) -> None:
        self.seen.append((error, message, self.client.gate.in_callback, self.client.gate.in_client))

    def report(self, put_off: bool) -> None:
        self.client.gate.deferring = get_ident() if put_off else 0
        for _, args, kwargs in self.client.sent:
            for given_ in (*args[4:6], kwargs.get("callback"), kwargs.get("on_delivery")):
                if given_ is not None:
                    given_(None, b"message")
        self.client.sent.clear()

    def run(self) -> None:
        self.client.gate.deferring = 0
        while self.client.deferred:
            callback, *arguments = self.client.deferred.popleft()
            self.client.gate.run(callback, *arguments)


@needs_compiled
@settings(max_examples=300)
@given(steps)
def test_whatever_is_done_the_two_gates_behave_alike(steps: list[tuple[Any, ...]]) -> None:
    pure, compiled = Walk(PureGate), Walk(compiled_gate)
    for step in steps:
        pure.take(step)
        compiled.take(step)
        assert pure.seen == compiled.seen


# ---- threads


class Reopening(Client):
    """A client whose callers meet the edge again and again; whoever does opens the gate for a few more."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.opening = threading.Lock()
        super().__init__(make)

    def meet_edge(self, producer: Any, *args: Any, **kwargs: Any) -> str:
        with self.opening:
            self.gate.open(7, MANY, 1.0)
        self.gate.forward(producer, *args)
        return "edge"


@pytest.mark.parametrize("make", MAKERS)
def test_no_ticket_is_lost_or_doubled_among_threads(make: Callable[..., Any]) -> None:
    offered, threads = 2_000, 16
    client = Reopening(make)
    start = threading.Barrier(threads)

    def offer(_: int) -> None:
        start.wait(timeout=30)
        for _ in range(offered):
            produce(client, "topic", b"v")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(offer, range(threads)))
    assert (client.gate.ticket, len(client.sent)) == (threads * offered, threads * offered)


# ---- memory


def test_a_stand_in_keeps_its_callback_no_longer_than_itself(client: Client) -> None:
    def callback(error: Any, message: Any) -> None: ...

    gone = weakref.ref(callback)
    report = client.gate.report(callback)
    del callback
    assert gone() is not None
    del report
    assert gone() is None


def test_a_cycle_through_a_callback_is_collected(client: Client) -> None:
    class Owner:
        def callback(self) -> None: ...

    owner = Owner()
    owner.stand_in = client.gate.stand_in(owner.callback)  # type: ignore[attr-defined]
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("make", MAKERS)
def test_a_cycle_through_the_gate_is_collected(make: Callable[..., Any]) -> None:
    class Owner:
        def meet_edge(self, *args: Any) -> None: ...

    owner = Owner()
    owner.gate = make(print, owner.meet_edge, deque())  # type: ignore[attr-defined]
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


def test_many_cycles_leave_nothing_behind(client: Client) -> None:
    def told(error: Any, message: Any) -> None: ...

    def cycle() -> None:
        for form in FORMS:
            args, kwargs = form.values[0](told)
            client.gate.open(1, MANY, 1.0)
            produce(client, *args, **kwargs)
            produce(client, *args, **kwargs)
            given_callback(client)(None, b"message")
            client.gate.deferring = get_ident()
            given_callback(client)(None, b"message")
            client.gate.deferring = 0
            client.failure = BufferError("full")
            produce(client, *args, **kwargs)
            client.failure = None
            client.gate.serve(client.gate.guard(len), ())
        client.sent.clear()
        client.at_edge.clear()
        client.deferred.clear()

    for _ in range(20):
        cycle()
    tracemalloc.start()
    try:
        cycle()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(300):
            cycle()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # One object of 40 bytes lost per call would be 60 000.
    assert grown < 10_000
