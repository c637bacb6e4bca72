"""``kafka-throttle demo``: the bare client and kafka_throttle side by side on a Kafka that cannot keep up.

`command` reads the options, `stage` finds a Kafka and limits it, `conductor` runs a `process` for each side and collects
its `figures`; `screen` and `lines` show them while they come, `performance` and `picture` at the end. A `story` has the
words, for threads (`side`, `words`, `verdict`) or for tasks (`asyncio_side`, `asyncio_words`).
"""
