"""Measures the asyncio facades against the bare clients: `python -m benchmarks.asyncio_clients PART...`.

- `clients` is a table of the clients: bare and facade differ in a class, and nothing else knows which is which;
- `worker` is one client on an event loop in a process of its own, which performs the `acts` that it is asked for;
- `stage` brings up Kafka and the workers, `speed`, `crowds` and `pressure` have them take turns and turn what they
  answer into figures, `parts` lists these and what must be reached.
"""
