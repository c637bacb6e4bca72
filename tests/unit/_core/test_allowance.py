"""What may go beyond the limit while something is stuck, and what may not."""

from __future__ import annotations

from attrs import define, field

from kafka_throttle._core.allowance import Allowance
from kafka_throttle._core.path import AdmissionLog
from kafka_throttle._core.window import Reading

SIZE = 1000
BURST = 500  # records
LIMIT = 100.0


@define
class Client:
    """An allowance with the counters of a client; a second passes with each step."""

    allowance: Allowance = field(factory=lambda: Allowance(BURST * SIZE))
    log: AdmissionLog = field(factory=AdmissionLog)
    now: float = 1000.0
    admitted: int = 0
    acked: int = 0
    usual: float = 0.01

    @property
    def reading(self) -> Reading:
        return Reading(self.admitted, self.admitted * SIZE, self.acked, self.acked * SIZE)

    def step(self, admit: int = 0, report: int = 0, seconds: float = 1.0) -> float:
        """Return the records that may be in the client beyond the limit after one step."""
        self.now += seconds
        self.admitted += admit
        self.acked += report
        self.log.note(self.now, self.reading)
        return self.allowance.records(
            self.now, self.reading, self.log, limit=LIMIT, patience=0.3, usual=self.usual, record_bytes=SIZE
        )


def test_while_reports_come_nothing_goes_beyond_the_limit() -> None:
    client = Client()
    client.step(admit=90)
    client.step(report=85)
    assert [client.step(admit=80, report=80) for _ in range(5)] == [0.0] * 5


def test_a_stall_is_absorbed_up_to_the_burst() -> None:
    client = Client()
    client.step(admit=90)
    assert client.step(admit=10) == BURST
    assert client.allowance.stalled


def test_silence_within_the_patience_is_no_stall() -> None:
    client = Client()
    client.step(admit=90)
    assert client.step(seconds=0.2) == 0.0


def test_silence_with_young_records_only_is_no_stall() -> None:
    # Nothing was reported for long because nothing was offered.
    client = Client()
    client.step(admit=10)
    client.step(report=10)
    client.step(admit=50, seconds=60.0)
    assert client.step(admit=40, seconds=0.1) == 0.0


def test_with_nothing_in_flight_there_is_no_stall() -> None:
    client = Client()
    client.step(admit=90)
    client.step(report=90)
    assert (client.step(seconds=60.0), client.allowance.stalled) == (0.0, False)


def test_a_mute_after_a_broker_throttle_is_no_stall() -> None:
    client = Client()
    client.step(admit=90)
    client.allowance.note_broker_throttle(client.now)
    assert [client.step() for _ in range(10)] == [0.0] * 10


def test_long_after_the_last_mute_has_ended_silence_is_a_stall_again() -> None:
    client = Client()
    client.step(admit=90)
    client.allowance.note_broker_throttle(client.now + 11.0)
    assert client.step(seconds=25.0) == 0.0
    assert client.step(seconds=2.0) == BURST


def test_what_was_absorbed_is_paid_back_with_half_of_the_reports() -> None:
    client = Client(usual=10.0)
    client.step(admit=90)
    client.step(admit=410)
    # The stall ends with 500 in flight, 400 beyond the limit; each 100 reports take 50 from it.
    beyond = [client.step(report=20), client.step(admit=50, report=100), client.step(admit=50, report=100)]
    assert beyond == [380.0, 330.0, 280.0]


def test_once_paid_back_nothing_goes_beyond_the_limit() -> None:
    client = Client(usual=10.0)
    client.step(admit=90)
    client.step(admit=410)
    client.step(report=400)
    client.step(report=60)
    client.step(admit=10, report=10)
    assert client.step(admit=10, report=10) == 0.0
    assert not client.allowance.absorbing


def test_while_it_absorbs_and_pays_back_it_says_so() -> None:
    client = Client()
    client.step(admit=90)
    assert not client.allowance.absorbing
    client.step(admit=410)
    assert client.allowance.absorbing
    client.step(report=20)
    assert client.allowance.absorbing


def test_a_stuck_partition_does_not_count_while_the_others_move() -> None:
    client = Client()
    client.step(admit=300)  # of a partition that does not answer
    for _ in range(10):
        beyond = client.step(admit=10, report=10)
    # What was admitted within the last 1.2 s may be moving: two steps.
    assert (beyond, client.allowance.stuck) == (280.0, True)


def test_what_was_stuck_is_paid_back_once_it_moves() -> None:
    client = Client()
    client.step(admit=400)
    for _ in range(10):
        client.step(admit=10, report=10)
    client.usual = 10.0  # its reports come now, and they tell of long delays
    assert client.step(report=100) == 200.0
    assert client.step(admit=80, report=100) == 150.0
    assert not client.allowance.stuck


def test_on_a_path_where_everything_is_slow_nothing_is_stuck() -> None:
    # 500 records in flight, each for 10 s, all in order: a queue, which the limit has to bring down.
    client = Client(usual=10.0)
    client.step(admit=500, seconds=0.0)
    beyond = [client.step(admit=50, report=50) for _ in range(20)]
    assert max(beyond) == 0.0


def test_what_is_stuck_counts_up_to_the_burst_only() -> None:
    client = Client()
    client.step(admit=2000)
    beyond = [client.step(admit=50, report=50) for _ in range(10)]
    assert beyond[-1] == BURST
