"""``kafka-throttle demo``: the bare client and kafka_throttle side by side on a Kafka that cannot keep up.

`command` reads the options, `stage` finds a Kafka and limits it, `conductor` runs the two `side` processes and
collects their `figures`; `screen` and `lines` show them while they come, `verdict` and `picture` at the end.
"""
