"""Fakes for tests of your own: virtual time, a simulated path to Kafka, and a producer that decides on it as the real one does.

    clock = VirtualClock()
    path = SimulatedPath(clock, bytes_per_second=2_000_000, delay=0.02)
    producer = SimulatedProducer(path, Throttle(rules=[Rule("*", Reject())]))
    clock.call_at(3.0, path.stall)      # from the third second on, nothing is answered
    producer.produce("orders", b"...")  # waits in virtual time, raises what the real producer raises

Nothing here sleeps, starts a thread or opens a socket, and a run gives the same result every time.
"""

from kafka_throttle.testing._clock import VirtualClock
from kafka_throttle.testing._path import Outcome, SimulatedPath
from kafka_throttle.testing._producer import SimulatedProducer

__all__ = ["Outcome", "SimulatedPath", "SimulatedProducer", "VirtualClock"]
