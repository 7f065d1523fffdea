"""One form of a log line, on standard error."""

from __future__ import annotations

import logging
import sys


def configure_logging(level: int = logging.INFO) -> None:
    """Sends hotserve's log lines to standard error; for the command line, not for embedding."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(name)s: %(message)s"))
    logger = logging.getLogger("hotserve")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
