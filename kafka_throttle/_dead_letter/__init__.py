"""Dead letters: records that are put aside in a topic or a file, with what is known of why.

`letter` says what one is, `dialects` how it becomes the headers of a message, `lines` how it becomes a line of a file;
`topic_sink` and `file_sink` write it, and `files` reads the files and takes letters out of them.
"""

from __future__ import annotations

from kafka_throttle._dead_letter.letter import Letter
from kafka_throttle._dead_letter.sinks import Sink, open_sink

__all__ = ["Letter", "Sink", "open_sink"]
