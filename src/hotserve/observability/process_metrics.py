"""Metrics of the process: memory, processor time, files and threads, looked up when somebody asks.

Source: proc(5). Where there is no /proc (macOS), what can only be read there is left out.
"""

from __future__ import annotations

import errno
import os
import platform
import resource
from pathlib import Path

from hotserve.observability.instruments import Gauge, ReadCounter
from hotserve.observability.metrics import Metrics
from hotserve.version import __version__

ENGINES = ("onnxruntime", "tensorflow")
"""The packages whose versions the page tells; empty where one is not installed."""

SUPERVISOR = "supervisor"
"""The name of the process that directs the others, where there are several. It alone tells what all have in common."""

_PROCESS = Path("/proc/self")


def resident_bytes(process: Path = _PROCESS) -> int:
    """The resident memory of a whole process, by its folder in /proc; 0 where it cannot be told."""
    try:
        pages = int((process / "statm").read_bytes().split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def package_version(name: str) -> str:
    """The version of an installed package, without importing it; empty if it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


class ProcessMetrics:
    """Keeps the metrics of this process."""

    def __init__(self, metrics: Metrics, process: str = "") -> None:
        """Adds its metrics to those of the server.

        Args:
            metrics: Those of the server.
            process: Which of several processes this is, which a label says then; empty for the only one.
        """
        labels = ("process",) if process else ()
        self._values = (process,) if process else ()
        self.resident = Gauge("hotserve_process_resident_memory_bytes", labels)
        self.cpu_seconds = ReadCounter("hotserve_process_cpu_seconds_total", labels)
        self.open_files = Gauge("hotserve_process_open_fds", labels)
        self.max_files = Gauge("hotserve_process_max_fds", labels)
        self.threads = Gauge("hotserve_process_threads", labels)
        self.started_at = Gauge("hotserve_process_start_time_seconds", labels)
        self.build = Gauge(
            "hotserve_build_info", ("version", "python_version", *(f"{name}_version" for name in ENGINES))
        )
        self._tells_build = not process or process == SUPERVISOR
        self._on_linux = _PROCESS.exists()
        if self._on_linux:
            self.started_at.set(_start_time(), *self._values)
        metrics.add_group(
            (
                self.resident,
                self.cpu_seconds,
                self.open_files,
                self.max_files,
                self.threads,
                self.started_at,
                self.build,
            ),
            self.refresh,
        )

    def refresh(self) -> None:
        """Looks everything up."""
        if self._tells_build:
            self._tells_build = False
            self.build.set(1, __version__, platform.python_version(), *map(package_version, ENGINES))
        times = os.times()
        self.cpu_seconds.set(round(times.user + times.system, 3), *self._values)
        max_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.max_files.set(max_files, *self._values)
        if not self._on_linux:
            return
        try:
            # Without the one that lists them.
            self.open_files.set(len(os.listdir(_PROCESS / "fd")) - 1, *self._values)
            self.resident.set(resident_bytes(), *self._values)
            self.threads.set(len(os.listdir(_PROCESS / "task")), *self._values)
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
            # All are open, which is when the page is needed most; the rest stays as it was.
            self.open_files.set(max_files, *self._values)


def _start_time() -> float:
    """When the process began, in seconds since the epoch."""
    # The name of the program stands in brackets and may hold anything; the 22nd field is the 20th after it.
    ticks = int((_PROCESS / "stat").read_text().rpartition(")")[2].split()[19])
    booted = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    return int(booted.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
