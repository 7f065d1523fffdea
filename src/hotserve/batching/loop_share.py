"""How much of the event loop's time goes to runs: reading, answering and everybody else have the rest.

No clock and no loop: `EngineThreads` has them, and says what time it is.
"""

from __future__ import annotations

from typing import Final

_RUNNING_SHARE: Final = 3.0
"""While requests wait, runs on the loop take up to so many times of what it does otherwise: reading, for the most part.

What comes while a run goes on waits in its socket, where it costs nothing. If all of it were read before the next run,
reading more and refusing most of it would take the time in which the others are to be answered."""

_LONGEST_TURN: Final = 0.05
"""How many seconds after the first one of a turn of the loop its last run may begin: everybody else waits meanwhile."""

_LONGEST_REFUSING_TURN: Final = 0.25
"""The same as a part of the time of those who are being refused. What comes from thousands of connections takes long to
read, if only to be refused, and the runs between must not become few."""

_LONGEST_OF_ALL: Final = 1.0
"""The same in seconds, however long those wait: others, and health checks, are read between two turns."""

_LONGEST_EARLY: Final = 0.5
"""How many seconds runs may take that do not wait for the end of a turn of the loop. The wires see to it that a turn
ends although clients go on whom these have answered; this is for clients with a great many calls under way."""

_EARLY_PART: Final = 0.1
"""The same as a part of the time of those who run. A turn that answers all whom it reads shows nobody who waits: those
who cannot send because their connections are taken would be late, and nobody be refused in their place."""


class LoopShare:
    """Follows the runs on one loop.

    Attributes:
        begun: How many runs have ever begun.
        ended: When the last one ended, in this turn or before.
    """

    __slots__ = ("_apart", "_began", "_early_seconds", "_other_since", "begun", "ended")

    def __init__(self) -> None:
        """Nothing has run."""
        self.begun = 0
        self.ended = 0.0
        self._began = 0.0  # the first run at the end of this turn; 0 if there has been none
        self._early_seconds = 0.0  # what those have taken that did not wait for the end of this turn
        self._other_since = 0.0  # when the last run ended, later by what early ones have taken since then
        self._apart = 0.0  # what the loop has done between turns' runs, in seconds

    def begin_turn(self) -> None:
        """The runs at the end of a turn come now."""
        self._began = 0.0

    def end_turn(self) -> None:
        """They are over."""
        self._early_seconds = 0.0

    def may_run(self, now: float, refused_patience: float) -> bool:
        """Whether a run may begin at the end of a turn: the first one of it, or a further one soon enough after that.

        Args:
            now: What time it is.
            refused_patience: How long those wait who are refused because of others like them; 0 if nobody is.
        """
        if not self._began:
            return True
        longest = _LONGEST_TURN
        if refused_patience:
            longest = max(longest, min(_LONGEST_OF_ALL, _LONGEST_REFUSING_TURN * refused_patience))
        return now - self._began + self._early_seconds < min(longest, _RUNNING_SHARE * self._apart)

    def begin_run(self, now: float) -> None:
        """A run begins."""
        self.begun += 1
        if not self._began:
            self._began = now
            self._apart = now - self._other_since

    def end_run(self, now: float) -> None:
        """It has ended."""
        self.ended = self._other_since = now

    def may_run_early(self, now: float, patience: float) -> bool:
        """Whether a run may begin before the end of the turn.

        Args:
            now: What time it is.
            patience: How long those wait for their answers who would run.
        """
        return self._early_seconds < min(
            _LONGEST_EARLY, _EARLY_PART * patience, _RUNNING_SHARE * (now - self._other_since)
        )

    def early_since(self) -> float:
        """To be given to `end_early` when a run that begins now before the end of the turn has ended."""
        return self._other_since

    def end_early(self, since: float, seconds: float) -> None:
        """A run that did not wait for the end of the turn has ended: meanwhile the loop has done nothing else.

        Args:
            since: What `early_since` said before it.
            seconds: What it took, with the writing of its answers.
        """
        self._early_seconds += seconds
        self._other_since = since + seconds
