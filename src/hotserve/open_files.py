"""How many files a process may have open: every connection is one."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

_ENOUGH: Final = 1 << 20
"""No process needs more; some systems allow a billion, which programs that count to the limit do not expect."""

_FEW: Final = 16
"""As many files fewer than the limit are as good as the limit: models, logs and the metrics need some, too."""

_SILENCE_SECONDS: Final = 60.0


def raise_limit() -> int:
    """Raises the limit of this process to the most that the system allows it.

    Shells and service managers set 1024 for programs that cannot deal with more, and leave the rest to the others.

    Returns:
        The limit now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (ValueError, OSError) as error:  # macOS says that there is no limit, and has one
        logger.debug("The limit of %d open files stays: %s", soft, error)
        return soft
    return most


class OpenFiles:
    """Says so when a process has nearly as many files open as it may."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Has said nothing yet.

        Args:
            clock: Seconds: it is said once a minute.
        """
        self._clock = clock
        self._said: float | None = None

    def opened(self, number: int) -> None:
        """Notes the number of a connection's file, which is the lowest that was free."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit == resource.RLIM_INFINITY or number < limit - _FEW:
            return
        now = self._clock()
        if self._said is None or now - self._said >= _SILENCE_SECONDS:
            self._said = now
            logger.warning(
                "This process may have %d files open, and has nearly as many: connections that come beyond are closed"
                " at once. Raise the limit (ulimit -Hn, LimitNOFILE=), start more workers, or have clients keep fewer"
                " connections.",
                limit,
            )
