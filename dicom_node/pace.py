"""How slowly a message may arrive: each of its pieces keeps its own deadline, and all together this one."""

from __future__ import annotations

import time

# A line of 20 kbit/s carries twice as much; what a busy device, or a line that broke down, is late by is
# forgiven up to a minute in all.
GRACE_SECONDS = 60.0
LEAST_BYTES_A_SECOND = 1024


class TooSlow(ValueError):
    """A message drips, and its sender holds a place that another device could have."""


class Pace:
    """The bytes of the message that is arriving, and since when."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._arrived = 0

    def arrived(self, size: int) -> None:
        """So many bytes more of a message. Raises TooSlow."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        self._arrived += size
        if self._arrived < (now - self._since - GRACE_SECONDS) * LEAST_BYTES_A_SECOND:
            raise TooSlow("a message arrives too slowly")

    def is_whole(self) -> None:
        self._since, self._arrived = None, 0
