"""Measures kafka_throttle against the bare client on real Kafka: `python -m benchmarks list`.

From a scenario to a figure:

- `catalogue` says, as data, what is offered, on what capacity, what happens meanwhile and what must be reached;
- `runner` brings up Kafka (and, for a limited path, the proxy) and lets `worker` processes, one for each client, take
  turns; a worker offers the `load` and sends back what its `recorder` saw;
- `measures` turn the outcomes of a round into numbers, `results` keep them, `report` and `pictures` show them.

What does not fit a scenario has a command of its own: `spool` and `spool_kills`, `shedding`, `asyncio_clients`.
"""
