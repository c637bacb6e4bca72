"""The pacer against a broker's own arithmetic, in virtual time. Quotas are in bytes per second."""

from __future__ import annotations

import math

import pytest
from attrs import define, evolve, field

from kafka_throttle._core.pacer import Pacer
from kafka_throttle._core.path import AdmissionLog
from kafka_throttle._core.window import Reading
from kafka_throttle.testing._quota import BrokerQuota

QUOTA = 1_000_000.0
STEP = 0.005
# From the hand-over to the broker, and the same time back.
ONE_WAY = 0.004


@define
class Client:
    """Hands over what the pacer allows, and hears of each mute a round trip later; a mute holds what follows."""

    quota: BrokerQuota = field(factory=lambda: BrokerQuota(QUOTA))
    offered: float = 20 * QUOTA
    pacer: Pacer = field(factory=Pacer, init=False)
    log: AdmissionLog = field(factory=AdmissionLog, init=False)
    now: float = field(default=100.0, init=False)
    reading: Reading = field(factory=Reading, init=False)
    muted_until: float = field(default=0.0, init=False)
    sent: list[tuple[float, int]] = field(factory=list, init=False)
    waiting: list[tuple[float, int]] = field(factory=list, init=False)
    answers: list[tuple[float, int, float]] = field(factory=list, init=False)
    mutes: list[tuple[float, float]] = field(factory=list, init=False)
    caught: int = field(default=0, init=False)

    @classmethod
    def at_its_pace(cls) -> Client:
        """Return a client that has long spent its credit."""
        return cls().run(30.0)

    def run(self, seconds: float) -> Client:
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            self._hear()
            self._arrive()
            self._hand_over()
        return self

    def _hand_over(self) -> None:
        self.log.note(self.now, self.reading)
        size = int(min(self.pacer.budget(self.now, self.reading, self.log), self.offered * STEP))
        if size:
            self.reading = evolve(self.reading, admitted_bytes=self.reading.admitted_bytes + size)
            self.sent.append((self.now, size))
            self.waiting.append((self.now + ONE_WAY, size))

    def _arrive(self) -> None:
        while self.waiting and self.waiting[0][0] <= self.now:
            if self.now < self.muted_until:
                return
            at, size = self.waiting.pop(0)
            self.caught += size * (self.now - at > 1.0)
            mute = self.quota.note(self.now, size)
            if mute > 0:
                self.muted_until = self.now + mute
                self.mutes.append((self.now, mute))
            self.answers.append((self.now + ONE_WAY, size, mute))

    def _hear(self) -> None:
        while self.answers and self.answers[0][0] <= self.now:
            _, size, mute = self.answers.pop(0)
            self.reading = evolve(self.reading, acked_bytes=self.reading.acked_bytes + size)
            if mute > 0:
                self.pacer.note_throttle(self.now, mute, self.reading, self.log)

    def rate(self, seconds: float) -> float:
        return sum(size for at, size in self.sent if at > self.now - seconds) / seconds

    def muted(self, seconds: float) -> float:
        return sum(mute for at, mute in self.mutes if at > self.now - seconds)


def test_without_a_throttle_there_is_no_bound() -> None:
    assert Pacer().budget(0.0, Reading(), AdmissionLog()) == math.inf


@pytest.mark.parametrize("throttle", [0.02, 1.0, 11.0])
def test_a_throttle_time_of_any_length_tells_the_quota(throttle: float) -> None:
    pacer, log = Pacer(), AdmissionLog()
    for tenth in range(200):
        log.note(tenth / 10, Reading(admitted_bytes=tenth * 100_000))
    pacer.note_throttle(20.0, throttle, Reading(admitted_bytes=20_000_000, acked_bytes=20_000_000), log)
    assert pacer.quota == pytest.approx(1_000_000 / (1 + throttle / 11.5), rel=0.01)


def test_nothing_is_handed_over_until_a_mute_has_ended() -> None:
    client = Client.at_its_pace()
    client.quota.bytes_per_second = QUOTA / 2
    client.run(11.0)
    assert (client.rate(10.5), client.mutes[-1][1]) == (0.0, pytest.approx(11.5, abs=0.5))


def test_hardly_anything_is_caught_in_the_mute_after_a_quota_was_halved() -> None:
    client = Client.at_its_pace()
    client.quota.bytes_per_second = QUOTA / 2
    assert client.run(30.0).caught <= 0.1 * QUOTA / 2


def test_after_the_mute_of_a_halved_quota_the_new_one_is_used_with_none_but_tiny_mutes() -> None:
    client = Client.at_its_pace()
    client.quota.bytes_per_second = QUOTA / 2
    client.run(32.0)
    assert client.rate(20.0) / (QUOTA / 2) >= 0.985
    assert max(mute for at, mute in client.mutes if at > client.now - 20.0) <= 0.05


def test_at_the_quota_asking_costs_less_than_a_hundredth_of_the_time() -> None:
    client = Client.at_its_pace().run(60.0)
    assert client.rate(60.0) / QUOTA >= 0.985
    assert client.muted(60.0) <= 0.6
    assert max(mute for at, mute in client.mutes if at > client.now - 60.0) <= 0.05


@pytest.mark.parametrize("factor", [1.2, 2.0, 5.0])
def test_a_raised_quota_is_in_full_use_after_a_few_seconds(factor: float) -> None:
    client = Client.at_its_pace()
    client.quota.bytes_per_second = factor * QUOTA
    assert client.run(5.0).rate(5.0) / (factor * QUOTA) >= min(0.9, 2.5 / factor)
    assert client.run(15.0).rate(15.0) / (factor * QUOTA) >= 0.8
    assert client.run(20.0).rate(20.0) / (factor * QUOTA) == pytest.approx(0.99, abs=0.02)


def test_a_doubled_quota_is_in_full_use_after_two_seconds() -> None:
    client = Client.at_its_pace()
    client.quota.bytes_per_second = 2 * QUOTA
    assert client.run(3.0).rate(1.0) >= 2 * QUOTA


def test_a_removed_quota_is_no_bound_after_five_seconds() -> None:
    client = Client.at_its_pace()
    client.offered = 5 * QUOTA
    client.quota.bytes_per_second = math.inf
    assert client.run(5.5).rate(0.5) >= 0.99 * client.offered


def test_who_stays_below_the_quota_is_not_taken_for_a_proof_of_a_higher_one() -> None:
    client = Client.at_its_pace()
    client.offered = 0.5 * QUOTA
    client.run(12.0)
    assert client.pacer.quota == pytest.approx(QUOTA, rel=0.02)
    assert client.pacer.budget(client.now, client.reading, client.log) <= 0.025 * QUOTA


def test_long_after_the_last_mute_the_quota_is_forgotten() -> None:
    client = Client.at_its_pace()
    client.offered = 0.5 * QUOTA
    assert client.run(20.0).pacer.quota is None
