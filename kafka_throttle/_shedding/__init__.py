"""What the policies do, beyond waiting and refusing: hold, sample, spill, dead-letter; and the thread that replays.

A record that finds no room, or whose ordering group is waiting already, goes along the links of its rule's `Way` until
one takes it. The `Pump` moves what waits to the client when there is room. `Shedding` is what the facade sees of it.
"""

from __future__ import annotations
