"""The slow path on a virtual clock: who waits, who wakes, who is refused and in which words, and whose code runs where."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event as Flag
from types import SimpleNamespace
from typing import Any

import pytest

from kafka_throttle import Block, Fixed, Reject, Rule, Throttle
from kafka_throttle._adapters.confluent import ClientSettings
from kafka_throttle._blocking import BlockingAdmission
from kafka_throttle._core.window import Reading
from kafka_throttle._gates.gate import PureGate
from kafka_throttle.events import ThrottlingStarted
from kafka_throttle.exceptions import CallbackReentryError, ForkedProducerError, Rejected
from kafka_throttle.testing import VirtualClock

VALUE = b"x" * 100
TWO = Fixed(2)


class Client:
    """The client behind the gate, the counters of its reports, and the time that polling takes."""

    def __init__(self, throttle: Throttle, **settings: Any) -> None:
        self.clock = VirtualClock(1000.0)
        self.sent: list[Any] = []
        self.reported = 0
        self.polls: list[float] = []
        self.full = False
        self.callbacks: list[Any] = []  # run by the next poll
        self.admission = BlockingAdmission(
            throttle,
            ClientSettings(client_id="orders", **settings),
            self,
            partial(PureGate, self.send, self.at_edge),
            self.serve,
            self.clock,
        )

    # what the admission reads

    def brief(self, gate: Any) -> Reading:
        return Reading(
            len(self.sent),
            100 * len(self.sent),
            self.reported,
            100 * self.reported,
            client_full=gate.client_full,
        )

    reading = brief

    def errors(self) -> dict[int, int]:
        return {}

    def begin_window(self, records_per_second: float) -> None:
        pass

    expect_rate = begin_window

    # what the client does

    def send(self, producer: Any, topic: Any, value: Any = None, *args: Any, **kwargs: Any) -> None:
        if self.admission.closed:
            raise RuntimeError("Producer has been closed")
        if self.full:
            raise BufferError("Local: Queue full")
        self.sent.append(topic)

    def serve(self, producer: Any, timeout: float) -> int:
        self.polls.append(timeout)
        while self.callbacks:
            self.callbacks.pop(0)()
        self.clock.advance_to_next(timeout)
        return 0

    def at_edge(self, producer: Any, *args: Any, **kwargs: Any) -> None:
        self.admission.at_edge(producer, *args, **kwargs)

    # what a test does

    def produce(self, topic: Any = "orders", value: Any = VALUE, **kwargs: Any) -> None:
        self.admission.gate.admit(self, topic, value, **kwargs)  # type: ignore[attr-defined]

    def report_at(self, when: float, records: int = 1) -> None:
        def report() -> None:
            self.reported += records

        self.clock.call_at(when, report)

    def ledger(self) -> tuple[int, int, int, int]:
        now = self.admission.statistics()
        return now.offered, now.rejected, now.in_flight, now.delivered


def blocking(timeout: float = 60.0, limit: Fixed = TWO, **settings: Any) -> Client:
    return Client(Throttle(rules=[Rule("*", Block(timeout))], limit=limit, burst=0), **settings)


def rejecting(limit: Fixed = TWO, **settings: Any) -> Client:
    return Client(Throttle(rules=[Rule("*", Reject())], limit=limit, burst=0), **settings)


# ---- waiting


def test_below_the_limit_nobody_waits() -> None:
    client = blocking()
    client.produce()
    client.produce()
    assert (client.clock(), client.ledger()) == (1000.0, (2, 0, 2, 0))


def test_at_the_limit_a_caller_waits_until_a_report_makes_room() -> None:
    client = blocking()
    client.report_at(1003.0)
    for _ in range(3):
        client.produce()
    assert client.clock() == pytest.approx(1003.0, abs=0.006)
    assert client.ledger() == (3, 0, 2, 1)


def test_a_waiting_caller_sleeps_in_the_clients_poll_in_slices() -> None:
    client = blocking()
    client.report_at(1000.5)
    for _ in range(3):
        client.produce()
    assert 0.0 < max(client.polls) <= 0.005


def test_the_state_is_throttling_for_about_a_second_after_the_edge_was_reached() -> None:
    client = blocking()
    client.report_at(1000.2)
    states = [client.admission.state]
    for _ in range(3):
        client.produce()
    states.append(client.admission.state)
    client.clock.advance(1.5)
    client.admission.statistics()
    states.append(client.admission.state)
    assert states == ["open", "throttling", "open"]


def test_while_somebody_waits_nobody_overtakes() -> None:
    client = blocking(timeout=30.0)
    order: list[str] = []
    waiting = Flag()
    release = Flag()

    def poll_until_released(producer: Any, timeout: float) -> int:
        waiting.set()
        if not release.wait(0.01):
            client.clock.advance(0.001)
        return 0

    client.admission.polling._client_poll = poll_until_released
    client.produce()
    client.produce()

    def offer(name: str) -> None:
        client.produce(name)
        order.append(name)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(offer, "first")
        assert waiting.wait(30.0)
        second = threads.submit(offer, "second")
        while client.admission.statistics().waiting < 2:
            pass
        client.reported += 1
        release.set()
        first.result(30.0)
        assert client.sent == ["orders", "orders", "first"]
        client.reported += 1
        second.result(30.0)
    assert (order, client.sent[-1]) == (["first", "second"], "second")


def test_in_a_stall_nobody_waits_for_long() -> None:
    client = Client(Throttle(limit=TWO, burst="1 MB"))
    for _ in range(100):
        client.produce()
    assert client.clock() < 1000.5


# ---- refusing


def test_at_the_deadline_a_caller_is_told_what_is_full_how_long_it_waited_and_what_to_do() -> None:
    client = blocking(timeout=2.0)
    client.produce()
    client.produce()
    with pytest.raises(Rejected) as caught:
        client.produce()
    assert str(caught.value) == (
        "not accepted: topic 'orders', waited 2 s for room; 2 records (200 B) are in flight and the limit is 2 "
        "(16 KiB); state throttling, raised: request-imbalance; Kafka acknowledges nothing at the moment. The record was "
        "not kept: offer it again later, wait longer (Block(timeout=...)), or offer less"
    )
    assert isinstance(caught.value, BufferError)
    assert (caught.value.topic, caught.value.reason, caught.value.retry_after) == ("orders", "deadline", None)
    assert caught.value.waited == pytest.approx(2.0)
    assert client.ledger() == (3, 1, 2, 0)


def test_a_deadline_of_nothing_is_one_try() -> None:
    client = blocking(timeout=0.0)
    client.produce()
    client.produce()
    with pytest.raises(Rejected) as caught:
        client.produce()
    assert (client.clock(), caught.value.waited) == (1000.0, 0.0)


def test_who_gave_up_has_left_the_line() -> None:
    client = blocking(timeout=1.0)
    client.produce()
    client.produce()
    with pytest.raises(Rejected):
        client.produce()
    client.reported += 1
    client.produce()
    assert (client.admission.statistics().waiting, client.ledger()) == (0, (4, 1, 2, 1))


def test_reject_refuses_at_once_in_words() -> None:
    client = rejecting()
    client.produce()
    client.produce()
    with pytest.raises(Rejected) as caught:
        client.produce()
    assert str(caught.value) == (
        "not accepted: topic 'orders', there is no room; 2 records (200 B) are in flight and the limit is 2 (16 KiB); "
        "state throttling, no signal is raised; Kafka acknowledges nothing at the moment. The record was not kept: offer "
        "it again later, wait longer (Block(timeout=...)), or offer less"
    )
    assert (caught.value.reason, client.clock()) == ("limit", 1000.0)


def test_each_topic_has_its_own_rule() -> None:
    client = Client(Throttle(rules=[Rule("clicks", Reject()), Rule("*", Block(3.0))], limit=TWO, burst=0))
    client.produce()
    client.produce()
    waited = []
    for topic in ("clicks", "orders"):
        with pytest.raises(Rejected) as caught:
            client.produce(topic)
        waited.append(caught.value.waited)
    assert waited == [0.0, pytest.approx(3.0)]


def test_a_value_that_can_never_fit_is_refused_at_once() -> None:
    client = blocking(buffer_bytes=1000)
    client.produce(value=b"x" * 1000)
    client.produce()
    with pytest.raises(Rejected) as caught:
        client.produce(value=b"x" * 1001)
    assert str(caught.value) == (
        "not accepted: topic 'orders', the value of 1,001 bytes can never fit into the client's buffer of 1,000 bytes "
        "(queue.buffering.max.kbytes): raise that setting, or send less at once"
    )
    assert (caught.value.reason, caught.value.retry_after, client.clock()) == ("too_large", None, 1000.0)


def test_an_application_that_never_polls_is_told_so() -> None:
    client = blocking(max_messages=3)
    for _ in range(2):
        client.produce()
    client.admission.gate.deferred.extend((print, "a report"))
    for _ in range(3):
        client.admission.gate.deferred.append((print, "a report"))
    with pytest.raises(Rejected) as caught:
        client.produce()
    assert str(caught.value) == (
        "not accepted: topic 'orders', 5 callbacks (delivery reports, statistics, errors) wait for the application: call "
        "poll() or flush() regularly, as the client needs it too"
    )
    assert caught.value.reason == "callbacks"


# ---- what goes to the client as it is


def test_what_is_no_topic_goes_to_the_client_which_has_the_words_for_it() -> None:
    client = rejecting()
    for topic in ("orders", "orders", 42):
        client.produce(topic)
    assert client.sent == ["orders", "orders", 42]


def test_switched_off_everything_goes_to_the_client() -> None:
    client = Client(Throttle(limit=TWO, enabled=False))
    for _ in range(10):
        client.produce()
    assert len(client.sent) == 10


def test_after_close_the_client_says_so() -> None:
    client = rejecting()
    client.produce()
    client.admission.close()
    with pytest.raises(RuntimeError, match=r"^Producer has been closed$"):
        client.produce()
    assert (client.admission.state, client.ledger()) == ("closed", (2, 1, 1, 0))


def test_a_caller_that_waits_while_the_producer_is_closed_is_told() -> None:
    client = blocking()
    client.clock.call_at(1001.0, client.admission.close)
    client.produce()
    client.produce()
    with pytest.raises(RuntimeError, match=r"^Producer has been closed$"):
        client.produce()
    assert client.clock() == pytest.approx(1001.0, abs=0.06)


def test_a_client_that_is_full_before_the_limit_is_polled_and_waited_for() -> None:
    client = blocking(limit=Fixed(100))
    client.produce()
    client.full = True
    client.clock.call_at(1000.3, lambda: setattr(client, "full", False))
    client.produce()
    assert client.clock() == pytest.approx(1000.3, abs=0.006)
    assert client.admission.gate.client_full > 0
    assert client.ledger() == (2, 0, 2, 0)


# ---- other people's code


def test_inside_a_callback_nobody_waits() -> None:
    client = blocking()
    client.produce()
    client.produce()
    client.callbacks.append(client.produce)
    client.report_at(1000.1, 2)
    client.produce()
    assert (len(client.sent), client.clock() < 1001.0) == (4, True)


def test_a_wait_puts_the_users_callbacks_off_until_the_user_polls() -> None:
    client = blocking()
    ran: list[str] = []
    client.produce()
    client.produce()
    client.callbacks.append(partial(client.admission.gate.stand_in(ran.append), "report"))
    client.report_at(1000.1)
    client.produce()
    assert (ran, client.admission.statistics().deferred_callbacks) == ([], 1)
    assert client.admission.polling.run_deferred() == 1
    assert ran == ["report"]


def test_a_callback_that_raises_leaves_the_rest_for_the_next_poll() -> None:
    client = blocking()
    ran: list[int] = []
    client.admission.gate.deferred.extend([(ran.append, 1), (int, "no number"), (ran.append, 2)])
    with pytest.raises(ValueError, match="no number"):
        client.admission.polling.run_deferred()
    assert ran == [1]
    assert client.admission.polling.run_deferred() == 1
    assert ran == [1, 2]


def test_a_flush_runs_them_all_and_hands_one_exception_back() -> None:
    client = blocking()
    ran: list[int] = []
    client.admission.gate.deferred.extend([(int, "no number"), (ran.append, 1), (ran.append, 2)])
    assert isinstance(client.admission.polling.run_all_deferred(), ValueError)
    assert ran == [1, 2]


def test_a_waiting_call_inside_a_callback_is_refused_where_the_client_would_abort() -> None:
    client = blocking()
    with pytest.raises(CallbackReentryError) as caught:
        client.admission.gate.run(client.admission.polling.call, "flush", list)
    assert str(caught.value) == (
        "flush() was called from inside a callback of the same producer, where the client would abort the process: only "
        "produce(), purge() and len() are possible there"
    )


def test_after_such_a_refusal_the_next_call_works() -> None:
    client = blocking()
    with pytest.raises(CallbackReentryError):
        client.admission.gate.run(client.admission.polling.call, "flush", list)
    assert client.admission.polling.call("poll", list, "ab") == ["a", "b"]


def test_hooks_cannot_disturb_a_produce() -> None:
    told: list[Any] = []

    def broken(event: Any) -> None:
        told.append(event)
        raise LookupError("no such dashboard")

    client = Client(Throttle(limit=TWO, hooks=[broken]))
    client.report_at(1000.1)
    for _ in range(3):
        client.produce()
    assert [type(event) for event in told[:1]] == [ThrottlingStarted]
    assert (len(client.sent), client.admission.statistics().hook_errors) == (3, len(told))


def test_an_open_gate_is_polled_for_about_once_a_window() -> None:
    client = rejecting(limit=Fixed(1000))
    for _ in range(1000):
        client.produce()
        client.reported += 1
        client.clock.advance(0.001)
    assert 3 <= len(client.polls) <= 11
    assert set(client.polls) == {0.0}


# ---- batches


def test_a_batch_gets_as_much_as_there_is_room_for() -> None:
    client = rejecting(limit=Fixed(160))
    assert 10 <= client.admission.reserve(client, "orders", 1000, 100) <= 160


def test_a_batch_smaller_than_the_room_gets_all() -> None:
    assert rejecting(limit=Fixed(160)).admission.reserve(None, "orders", 3, 100) == 3


def test_without_patience_a_batch_gets_nothing_at_the_edge() -> None:
    client = rejecting()
    client.produce()
    client.produce()
    assert (client.admission.reserve(client, "orders", 10, 100), client.clock()) == (0, 1000.0)


def test_a_batch_waits_as_long_as_its_rule_says() -> None:
    client = blocking(timeout=2.0)
    client.produce()
    client.produce()
    client.report_at(1001.0)
    assert client.admission.reserve(client, "orders", 10, 100) == 1
    assert client.clock() == pytest.approx(1001.0, abs=0.006)
    client.produce()
    assert client.admission.reserve(client, "orders", 10, 100) == 0
    assert client.clock() == pytest.approx(1003.0, abs=0.02)


def test_what_found_no_room_of_a_batch_is_counted_as_rejected() -> None:
    client = rejecting()
    client.admission.refusals.count_batch(5, 500)
    now = client.admission.statistics()
    assert (now.offered, now.rejected, now.rejected_bytes) == (5, 5, 500)


# ---- forks


def test_in_a_forked_child_the_producer_says_what_to_do() -> None:
    client = blocking(limit=Fixed(100))
    client.produce()
    client.admission.orphan()
    with pytest.raises(ForkedProducerError) as caught:
        client.produce()
    assert str(caught.value) == (
        "this producer (orders) was created before os.fork(), and in the child the client would send nothing: create a "
        "new Producer in the child process"
    )
    assert client.admission.polling.orphaned


@pytest.mark.parametrize("name", ["poll", "flush"])
def test_in_a_forked_child_the_client_is_not_called(name: str) -> None:
    client = blocking()
    client.admission.orphan()
    with pytest.raises(ForkedProducerError):
        client.admission.polling.call(name, pytest.fail)


def test_a_fork_in_the_middle_of_a_decision_leaves_no_lock_behind() -> None:
    client = blocking()
    with ThreadPoolExecutor(1) as parent_thread:
        parent_thread.submit(client.admission._deciding.acquire).result()
        client.admission.orphan()
    assert client.admission.statistics().state == "open"


# ---- quotas


def test_a_throttle_event_closes_the_gate_so_that_the_quota_is_seen_at_once() -> None:
    client = rejecting(limit=Fixed(1000))
    client.produce()
    client.admission.note_broker_throttle(SimpleNamespace(throttle_time=0.5))
    with pytest.raises(Rejected):
        client.produce()
    client.clock.advance(20.0)
    client.produce()
    assert len(client.sent) == 2
