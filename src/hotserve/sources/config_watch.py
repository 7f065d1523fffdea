"""Looks at the model config file from time to time.

Threads: one, owned by `ConfigWatch`, ended by `stop`; none where the period is zero. It reads the file on a thread of
its own, not the poller's, so that a base path on a storage that hangs does not keep the config from being corrected.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class ConfigWatch:
    """Calls a function once a period."""

    def __init__(self, look: Callable[[], None], period_seconds: float) -> None:
        """Makes a watch; `start` begins.

        Args:
            look: Looks at the file; called on one thread.
            period_seconds: The pause between two looks; never if it is not above 0.
        """
        self._look = look
        self._period_seconds = period_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hotserve-config-watch", daemon=True)

    def start(self) -> None:
        """Starts the thread; the first look is one period from now."""
        if self._period_seconds > 0:
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread; waits for a look under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def _run(self) -> None:
        while not self._stop.wait(self._period_seconds):
            try:
                self._look()
            except Exception:  # a fault of ours must not end the watch
                logger.exception("Looking at the config file failed; trying again")
