"""One client in a process of its own: ``python -m benchmarks.worker``, driven by lines of JSON.

The first line of standard input is the job; "prepared" is the answer. For each further line the load is offered once
(for bursts: one turn) and the answer is what came out. A line "started" with the time precedes it, so that the
parent can do its steps on time. The end of the input is the end of the process.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from benchmarks.bursts import BurstTimer
from benchmarks.clients import gate_of, make_client, state_of
from benchmarks.load import Bursts, OpenLoop, load_from_dict
from benchmarks.offering import Client, offer_open, offer_tight


def _say(kind: str, **content: Any) -> None:
    print(json.dumps({"kind": kind, **content}), flush=True)


def _prepare(job: dict[str, Any]) -> Client:
    def make(throttled: Any) -> Any:
        config = {**job["config"], **({"throttle_cb": throttled} if job["throttle_events"] else {})}
        return make_client(job["client"], config, job["rules"], job["limit"], policies=job["policies"])

    client = Client(make, job["topic"])
    client.warm_up(job["load"]["record_bytes"])
    return client


def main() -> None:
    """Do the job that standard input describes."""
    # What the facade tells people about throttling would only interleave with the progress.
    logging.getLogger("kafka_throttle").addHandler(logging.NullHandler())
    line = sys.stdin.readline()
    if not line:  # the parent has failed before it came to this
        return
    job = json.loads(line)
    load = load_from_dict(job["load"])
    client = _prepare(job)
    timer = None
    if isinstance(load, Bursts):
        timer = BurstTimer(client.producer, client.topic, load)
        timer.warm_up([f"seen-{number}" for number in range(load.topics)])
    _say("prepared", gate=gate_of(client.producer))
    for _ in sys.stdin:
        if timer is not None:
            _say("turn", nanoseconds=timer.turn(), limit=state_of(client.producer)()[1])
            continue
        if isinstance(load, OpenLoop):
            outcome = offer_open(client, load, lambda start: _say("started", at=start))
        else:
            assert not isinstance(load, Bursts)
            outcome = offer_tight(client, load, lambda start: _say("started", at=start))
        _say("outcome", outcome=outcome.to_dict())


if __name__ == "__main__":
    main()
