"""How many processors there are for us."""

from __future__ import annotations

import os


def usable_cpus() -> int:
    """The processors that this process may use, at least 1; on a pinned process fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
