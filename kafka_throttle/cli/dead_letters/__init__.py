"""``kafka-throttle dead-letters``: what was put aside, shown and sent back.

`command` reads the options, `source` finds the letters in `file_source` or `topic_source`, `table` shows them, and
`resend` gives them to a client and tells the source which of them have arrived.
"""
