"""One form of a log line, on standard error."""

from __future__ import annotations

import logging
import sys


def configure_logging(level: int = logging.INFO, process: str = "") -> None:
    """Sends hotserve's log lines to standard error; for the command line, not for embedding.

    Args:
        level: From which level on.
        process: Stands before each message, where there are several processes.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname).1s %(name)s: {process}%(message)s"))
    logger = logging.getLogger("hotserve")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
