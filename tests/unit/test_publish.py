"""Events reach every hook and the log, and nothing that a hook does comes back."""

from __future__ import annotations

import logging

import pytest

from kafka_throttle._publish import Publisher
from kafka_throttle.events import Event, SignalRaised, ThrottlingEnded, ThrottlingStarted

RAISED = SignalRaised(at=1.0, signal="standing-delay", value=0.5, threshold=0.1)


def started(at: float) -> ThrottlingStarted:
    return ThrottlingStarted(at=at, limit=100, in_flight=90)


def ended(at: float) -> ThrottlingEnded:
    return ThrottlingEnded(at=at, lasted=2.5, limit=100)


def test_every_hook_is_told_every_event_in_order() -> None:
    one: list[Event] = []
    other: list[Event] = []
    events = (RAISED, started(2.0), ended(5.0))
    Publisher("orders", [one.append, other.append]).publish(events)
    assert (one, other) == (list(events), list(events))


def test_a_hook_that_raises_is_counted_logged_once_and_keeps_no_other_from_its_events(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[Event] = []

    def broken(event: Event) -> None:
        raise LookupError("no such dashboard")

    publisher = Publisher("orders", [broken, told.append])
    publisher.publish([RAISED, RAISED])
    assert (publisher.hook_errors, told) == (2, [RAISED, RAISED])
    (complaint,) = caplog.records
    assert complaint.getMessage() == f"orders: hook {broken!r} failed on {RAISED!r}; it is logged once"
    assert "no such dashboard" in caplog.text


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_what_is_meant_to_end_the_process_passes_through_a_hook(interruption: type[BaseException]) -> None:
    def interrupted(event: Event) -> None:
        raise interruption

    with pytest.raises(interruption):
        Publisher("orders", [interrupted]).publish([RAISED])


def test_throttling_is_told_in_plain_words_when_it_starts_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "kafka_throttle")
    Publisher("orders", []).publish([started(1.0), ended(3.5)])
    assert caplog.record_tuples == [
        (
            "kafka_throttle",
            logging.WARNING,
            "orders: throttling: Kafka takes less than is offered; 90 records are in flight and the limit is 100",
        ),
        ("kafka_throttle", logging.INFO, "orders: no longer throttling: Kafka keeps up again, after 2.5 s"),
    ]


def test_short_spells_in_a_row_are_counted_and_told_with_the_next_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "kafka_throttle")
    publisher = Publisher("orders", [])
    for at in (0.0, 3.0, 6.0, 9.0, 12.0):
        publisher.publish([started(at), ended(at + 1.5)])
    assert [record.levelno for record in caplog.records] == [
        logging.WARNING, logging.INFO, logging.WARNING, logging.INFO,
    ]  # fmt: skip
    assert caplog.records[2].getMessage().endswith("(3 short spells before this were not logged)")


def test_other_events_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "kafka_throttle")
    Publisher("orders", []).publish([RAISED])
    assert caplog.records == []
