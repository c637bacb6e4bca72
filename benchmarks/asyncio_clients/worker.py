"""One asyncio client in a process of its own: ``python -m benchmarks.asyncio_clients.worker``, driven by lines of JSON.

The first line of standard input is the job; "ready" is the answer. Each further line asks for an act, and its answer
is what came out. The end of the input is the end of the process.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

from benchmarks.asyncio_clients.acts import ACTS
from benchmarks.asyncio_clients.clients import open_client

if TYPE_CHECKING:
    from benchmarks.asyncio_clients.clients import Client

_LONGEST_ACT = 300.0
_LONGEST_STOP = 10.0


def _say(content: dict[str, Any]) -> None:
    print(json.dumps(content), flush=True)


async def _lines() -> asyncio.StreamReader:
    """Return standard input as a stream: a thread that waits for it would keep the process from ending."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


async def _connected(job: dict[str, Any]) -> Client | None:
    if job["client"] is None:
        return None
    client = await open_client(
        job["client"], job["side"], job["bootstrap"], job["topic"], job["settings"], job["throttle"]
    )
    await asyncio.wait_for(client.warm_up(), 30)
    return client


async def _stop(client: Client) -> None:
    """End the client; one that does not end in time ends with the process."""
    try:
        await asyncio.wait_for(client.stop(), _LONGEST_STOP)
    except asyncio.TimeoutError:
        print(f"{client.producer!r} has not stopped within {_LONGEST_STOP:g} s", file=sys.stderr, flush=True)


async def _work() -> None:
    lines = await _lines()
    line = await lines.readline()
    if not line:  # the parent has failed before it came to this
        return
    client = await _connected(json.loads(line))
    _say({"kind": "ready"})
    while line := await lines.readline():
        order = json.loads(line)
        act = ACTS[order["act"]](client, **order["parameters"])
        _say(await asyncio.wait_for(act, _LONGEST_ACT))
    if client is not None:
        await _stop(client)


async def _work_and_exit() -> None:
    """Work, and leave without the burial that asyncio.run() gives to each of a hundred thousand tasks."""
    status = 0
    try:
        await _work()
    except BaseException:  # noqa: BLE001 - said here, because nothing comes after it
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    """Do the job that standard input describes."""
    # What the facade tells people about throttling would only interleave with the progress.
    logging.getLogger("kafka_throttle").addHandler(logging.NullHandler())
    asyncio.run(_work_and_exit())


if __name__ == "__main__":
    main()
