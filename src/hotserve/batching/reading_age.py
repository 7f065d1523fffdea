"""How long what the event loop reads now may have been in its socket: overload that no queue of ours shows.

The loop reads a connection once in each of its turns. What it reads there has come since it read the connection the
time before, so that nothing is older than since the turn before began. Only where the loop had to wait for anything to
come is it newer: it came then.

No clock and no loop: `EngineThreads` has them.
"""

from __future__ import annotations

from typing import Final

_IDLE_SECONDS: Final = 0.002
_IDLE_SHARE: Final = 0.5
"""The loop has waited if it reads the first request so much later than the end of the turn before: in seconds, and as a
part of that turn. Otherwise it wrote answers, or read something else."""


class ReadingAge:
    """Follows the turns of one loop, by the requests that it reads first in each.

    Attributes:
        is_reading: Whether a request has been read in this turn: `end_turn` is to be called at its end.
    """

    __slots__ = ("_began", "_ended", "_since", "is_reading")

    def __init__(self) -> None:
        """Nothing has been read."""
        self.is_reading = False  # in this turn
        self._began = 0.0  # to read, in this turn or the one before
        self._ended = 0.0
        self._since = 0.0  # nothing that is read in this turn came earlier

    def read(self, now: float) -> None:
        """A request is read; of no effect but for the first one of a turn."""
        if not self.is_reading:
            self.is_reading = True
            idle = now - self._ended
            has_waited = idle > _IDLE_SECONDS and idle > _IDLE_SHARE * (self._ended - self._began)
            self._since = now if has_waited else self._began
            self._began = now

    def end_turn(self, now: float) -> None:
        """All that could be run has been run; the loop goes on to write, and to read."""
        if not self.is_reading:
            self._began = now  # what is read next was not there when the loop looked last
        self.is_reading = False
        self._ended = now

    def at(self, now: float) -> float:
        """How long ago a request that is read now may have come, in seconds; `read` has to have been told of one."""
        return now - self._since
