"""What is offered, and when."""

from __future__ import annotations

from itertools import islice

from benchmarks.load import Bursts, OpenLoop, TightLoop, load_from_dict, load_to_dict


def test_a_steady_load_arrives_at_even_intervals() -> None:
    load = OpenLoop(rate=4, record_bytes=100, duration=1)
    assert list(islice(load.arrivals(), 5)) == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_a_load_with_gaps_starts_each_spell_with_its_burst() -> None:
    load = OpenLoop(rate=2, record_bytes=100, duration=9, on=1.0, off=3.0, burst=2)
    assert list(islice(load.arrivals(), 9)) == [0.0, 0.0, 0.0, 0.5, 4.0, 4.0, 4.0, 4.5, 8.0]


def test_a_load_survives_the_way_to_the_worker() -> None:
    loads = [OpenLoop(4, 100, 1), TightLoop(1024, 8), Bursts("threads", topics=5)]
    assert loads == [load_from_dict(load_to_dict(load)) for load in loads]


def test_a_smoke_run_is_short_and_still_has_something_to_do() -> None:
    assert OpenLoop(4, 100, 6.0, on=2.0, off=1.0) == OpenLoop(4, 100, 60.0, on=20.0, off=10.0).shortened(0.1)
    assert Bursts("plain", turns=10).shortened(0.1).turns == 3
    assert Bursts("plain", topics=10).shortened(0.1).topics == 1
