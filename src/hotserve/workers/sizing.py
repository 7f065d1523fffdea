"""`--workers=auto`: how many workers, and how many processors each of them may count on.

The rule, in this order:

1. Short runs are answered on the event loop, of which each process has one: a worker for each processor, with one
   thread for a run. Long runs go to threads, which one process has enough of: a worker for every four processors.
2. All workers together take at most a part of the memory, with room for one version more in each, because a version is
   loaded before the one that it replaces is unloaded.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hotserve.core.servable import Servable
from hotserve.errors import ServingError
from hotserve.platforms.warmup import made_up_inputs

SHORT_RUN_SECONDS = 0.005
"""Runs up to that are short. They take no longer on one processor than the answers around them cost all in all."""

CPUS_FOR_LONG_RUNS = 4
"""How many processors a worker has where runs are long."""

MEMORY_SHARE = 0.7
"""The part of the memory that workers may take, as far as it can be told at the start."""

_MEASURED_RUNS = 3
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class Sizing:
    """What has been chosen.

    Attributes:
        workers: How many.
        cpus: How many processors each of them may count on.
        reason: Why, in words for the log.
    """

    workers: int
    cpus: int
    reason: str


def choose(cpus: int, run_seconds: float | None, worker_bytes: int, version_bytes: int, memory_bytes: int) -> Sizing:
    """Chooses.

    Args:
        cpus: The processors that there are for all workers.
        run_seconds: How long the slowest run takes on one processor; None if no model could be measured, which counts
            as short.
        worker_bytes: What a worker holds with all models loaded.
        version_bytes: The size of the files of the largest version.
        memory_bytes: The memory that there is for all.
    """
    is_short = run_seconds is None or run_seconds <= SHORT_RUN_SECONDS
    workers = cpus if is_short else max(1, cpus // CPUS_FOR_LONG_RUNS)
    fit = max(1, int(MEMORY_SHARE * memory_bytes / max(1, worker_bytes + version_bytes)))
    took = "no run was measured" if run_seconds is None else f"the slowest run takes {1e3 * run_seconds:.1f} ms"
    texts = [f"{cpus} processors", f"{took} ({'short' if is_short else 'long'})"]
    if fit < workers:
        workers = fit
        texts.append(
            f"only so many fit in {MEMORY_SHARE:.0%} of {_mebibytes(memory_bytes)}, at {_mebibytes(worker_bytes)} each"
            f" and {_mebibytes(version_bytes)} for a version to come"
        )
    return Sizing(workers, max(1, cpus // workers), "; ".join(texts))


def slowest_run_seconds(servable: Servable) -> float | None:
    """How long a run of the slowest signature takes with the smallest inputs; None where no signature can be tried."""
    times = []
    for name, signature in servable.signatures.items():
        inputs = made_up_inputs(signature) if signature.inputs else None
        if inputs is None:
            continue
        with contextlib.suppress(ServingError):  # a signature that refuses made-up values tells nothing
            measured = []
            for _ in range(_MEASURED_RUNS):
                start = time.perf_counter()
                servable.run(name, inputs, list(signature.outputs))
                measured.append(time.perf_counter() - start)
            times.append(min(measured))
    return max(times, default=None)


def folder_bytes(folder: Path) -> int:
    """The size of all files below a folder, as far as they can be seen."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total


def memory_limit(groups: Path = _CGROUPS, own_groups: Path = _OWN_GROUPS) -> int:
    """The memory that this process may use with its children, in bytes: that of the machine, or less in a container.

    Args:
        groups: Where the control groups are mounted.
        own_groups: The file that says which of them this process is in.

    Source: Documentation/admin-guide/cgroup-v2.rst (memory.max) and cgroup-v1/memory.rst (memory.limit_in_bytes) of the
        Linux kernel.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for folder in _own_folders(groups, own_groups):
        for file in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):  # no such file, or `max`
                limits.append(int((folder / file).read_text()))
    return min(limits)


def _own_folders(groups: Path, own_groups: Path) -> Sequence[Path]:
    """The folders of the control groups that this process is in, and of those above them."""
    folders = []
    try:
        lines = own_groups.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ()
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root = groups / "memory" if controllers else groups
        folder = root / group.lstrip("/")
        while folder != root and root in folder.parents:
            folders.append(folder)
            folder = folder.parent
        folders.append(root)
    return folders


def _mebibytes(number: int) -> str:
    return f"{number / 2**20:.0f} MiB"
