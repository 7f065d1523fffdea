"""How late the event loop is: a timer that measures by how much it is behind its time.

Whatever holds the loop up holds up every request; a run on the loop, a large body, a garbage collection.
"""

from __future__ import annotations

import asyncio

from hotserve.observability.instruments import Histogram

PERIOD_SECONDS = 0.25
"""How often it measures; each time costs a few microseconds."""


class LoopLag:
    """Measures from `start` to `stop`, on the running loop. Timers of the loop count whole milliseconds."""

    def __init__(self, histogram: Histogram) -> None:
        """Begins nothing yet.

        Args:
            histogram: Where the delays are counted, in microseconds.
        """
        self._histogram = histogram
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins, on the running loop."""
        self._wait(asyncio.get_running_loop())

    def stop(self) -> None:
        """Ends it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + PERIOD_SECONDS
        self._timer = loop.call_at(due, self._measure, loop, due)

    def _measure(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._histogram.observe(max(0.0, 1e6 * (loop.time() - due)))
        self._wait(loop)
