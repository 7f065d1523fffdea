"""What another process on this machine uses of it, with all processes that it has started.

Source: proc(5).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from hotserve.errors import InvalidArgument
from hotserve.observability.process_metrics import resident_bytes

_PROC = Path("/proc")


class ProcessUsage:
    """Looks at a process and its children."""

    def __init__(self, pid: int) -> None:
        """Begins to look.

        Raises:
            InvalidArgument: There is no such process, or this system does not tell.
        """
        if not _PROC.joinpath("self", "stat").exists():
            raise InvalidArgument("--pid needs /proc, which this system does not have. Leave it out.")
        if not _PROC.joinpath(str(pid)).exists():
            raise InvalidArgument(f"--pid={pid}: there is no such process. Expected that of a server on this machine.")
        self._pid = pid

    def cpu_seconds(self) -> float:
        """The processor time that they have used since they were started, in steps of the kernel's clock, 10 ms."""
        return sum(_cpu_seconds(pid) for pid in process_tree(self._pid))

    def memory_bytes(self) -> int:
        """Their resident memory; pages that they share count for each."""
        return sum(resident_bytes(_PROC / str(pid)) for pid in process_tree(self._pid))


def process_tree(pid: int) -> Sequence[int]:
    """A process and all that it and its children have started."""
    pids = [pid]
    for parent in pids:
        # Each thread lists the children that it has started.
        for path in _PROC.joinpath(str(parent), "task").glob("*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                pids += map(int, path.read_text().split())
    return pids


def _cpu_seconds(pid: int) -> float:
    """User and system time of all threads: fields 14 and 15, counted behind the name, which may hold anything."""
    try:
        fields = _PROC.joinpath(str(pid), "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        # A child that has ended; its parent counts it no more than we do.
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
