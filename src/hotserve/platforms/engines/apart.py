"""How a process behaves that works for a server beside it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from hotserve.child_python import end_with_parent

logger = logging.getLogger(__name__)

_NICE = 15


def stand_back() -> None:
    """Takes what others leave of the processors, is the first to go when memory is short, and ends with the server.

    On Linux the system ends it together with the thread that has started it, however that came to its end.
    """
    os.nice(_NICE)
    end_with_parent()
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError as error:
        logger.debug("This system has no order in which processes go: %s", error)
