"""How many processors there are for us."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path

CPUS_VARIABLE = "HOTSERVE_CPUS"
"""The environment variable that says how many processors this process may count on: workers share those that there are.
"""

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def usable_cpus() -> int:
    """The processors that this process may use, at least 1.

    On a pinned process there are fewer than the machine has, and so there are in a container with a quota of processor
    time: of 1.5 processors, 2 are worth using. One of several workers counts on its share.
    """
    share = os.environ.get(CPUS_VARIABLE, "")
    if share.isdecimal() and int(share) > 0:
        return int(share)
    cpus = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        # Of the main thread: one that loads may leave a processor alone for a while, which its engine is to use later.
        cpus = len(os.sched_getaffinity(os.getpid()))
    quota = cpu_quota()
    return max(1, cpus if quota is None else min(cpus, ceil(quota)))


def cpu_quota(groups: Path = _CGROUPS, own_groups: Path = _OWN_GROUPS) -> float | None:
    """The processors' time that the control groups of this process allow, in processors; None for all of it.

    Args:
        groups: Where the control groups are mounted.
        own_groups: The file that says which of them this process is in.

    Source: Documentation/admin-guide/cgroup-v2.rst (cpu.max) and Documentation/scheduler/sched-bwc.rst
        (cpu.cfs_quota_us) of the Linux kernel.
    """
    quotas = []
    for line in _lines(own_groups):
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            root = groups
        elif "cpu" in controllers.split(","):
            root = next((groups / name for name in (controllers, "cpu") if (groups / name).is_dir()), groups / "cpu")
        else:
            continue
        # A container sees its own group as the root, whatever it is called outside. The limits above it count, too.
        folder = root / group.lstrip("/")
        while True:
            quotas.append(_quota_of(folder))
            if folder == root or root not in folder.parents:
                break
            folder = folder.parent
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota_of(folder: Path) -> float | None:
    words = " ".join(_lines(folder / "cpu.max")).split()
    if not words:
        words = [*_lines(folder / "cpu.cfs_quota_us"), *_lines(folder / "cpu.cfs_period_us")]
    try:
        quota, period = map(int, words)
    except ValueError:
        return None  # `max`, or no such files
    return quota / period if quota > 0 and period > 0 else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
