"""What a measurement needs beside the load: servers to start, the processor time they use, and where it happened."""

from __future__ import annotations

import contextlib
import http.client
import os
import platform
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType, TracebackType

from hotserve.loadgen.process_usage import ProcessUsage, process_tree

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 120.0
_ORPHAN_SECONDS = 1.0
_LOOK_SECONDS = 0.02
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """How to start a server.

    Attributes:
        name: As the results show it.
        words: Its command line; `{rest_port}`, `{grpc_port}` and `{spare_port}` stand for the ports it is to take.
        ready_path: GET answers 200 there once it is ready.
        environment: What it needs there beside what is there; the ports stand in it as in the command line.
        folder: Where it runs; None for here.
        stop_seconds: How long it has to stop by itself.
    """

    name: str
    words: Sequence[str]
    ready_path: str = "/readyz"
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    folder: Path | None = None
    stop_seconds: float = 30.0


class RunningServer:
    """A server process on 127.0.0.1, on ports of its own; a context manager.

    Attributes:
        rest_port: Where HTTP answers.
        grpc_port: Where gRPC answers, if the server has it.
        started: When its process was started, as `time.perf_counter()` has it; once it runs.
    """

    def __init__(self, command: ServerCommand) -> None:
        self._command = command
        self.rest_port = _free_port()
        self.grpc_port = _free_port()
        self._spare_port = _free_port()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether its process has ended by itself."""
        return self._process.poll() is not None

    def __enter__(self) -> RunningServer:
        """Starts it, and returns once it is ready.

        Raises:
            RuntimeError: It has ended, or is not ready in time; with what it has printed.
        """
        words = [self._with_ports(word) for word in self._command.words]
        environment = {name: self._with_ports(value) for name, value in self._command.environment.items()}
        self._log = tempfile.TemporaryFile()
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            words,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            cwd=self._command.folder,
        )
        try:
            self._wait_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def cpu_seconds(self) -> float:
        """The processor time that it and its children have used since they were started."""
        return ProcessUsage(self.pid).cpu_seconds()

    def memory_bytes(self) -> int:
        """The resident memory of it and its children; pages that they share count for each."""
        return ProcessUsage(self.pid).memory_bytes()

    def shared_memory_bytes(self) -> int:
        """The memory of it and its children, in which a page that several of them have counts once, and not for each.

        Source: Documentation/filesystems/proc.rst of the Linux kernel, /proc/pid/smaps_rollup: the proportional set
            size, in which a page counts for each of its owners by their share of it.
        """
        return sum(_proportional_bytes(pid) for pid in process_tree(self.pid))

    def output(self) -> str:
        """What it has printed since it was started."""
        # The server writes at the position that the two processes share: read without moving it.
        log = self._log.fileno()
        return os.pread(log, os.fstat(log).st_size, 0).decode(errors="replace")

    def _with_ports(self, text: str) -> str:
        return text.format(rest_port=self.rest_port, grpc_port=self.grpc_port, spare_port=self._spare_port)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if self.has_ended:
                raise RuntimeError(f"{self._command.name} has ended with {self._process.returncode}:\n{self.output()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self._command.name} is not ready in {_START_SECONDS} s:\n{self.output()}")
            time.sleep(_LOOK_SECONDS)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(_HOST, self.rest_port, timeout=5)
        try:
            connection.request("GET", self._command.ready_path)
            return connection.getresponse().status == 200
        except OSError:
            # Nobody listens yet.
            return False
        finally:
            connection.close()

    def _stop(self) -> None:
        tree = process_tree(self.pid)
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(self._command.stop_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _end(tree[1:])
        self._log.close()


def _end(pids: Sequence[int]) -> None:
    """Waits for processes to end, and ends those that do not: not every server stops all that it has started."""
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while (left := [pid for pid in pids if _is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _is_alive(pid: int) -> bool:
    try:
        return _first_line(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def busy_seconds() -> float:
    """The time that all processors of the machine together have not been idle, in seconds.

    Source: proc(5), /proc/stat; the fields are user, nice, system, idle, iowait, irq, softirq, steal.
    """
    user, nice, system, _, _, irq, softirq, steal = map(int, _first_line("/proc/stat").split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS_PER_SECOND


def stolen_seconds() -> float:
    """The time that a virtual machine's processors had work and did not get to run, all together, in seconds.

    Source: proc(5), /proc/stat, the field steal.
    """
    return int(_first_line("/proc/stat").split()[8]) / _TICKS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where and with what a measurement was made.

    Attributes:
        date: The day, UTC.
        machine: Processor, cores that may be used, memory.
        commit: Of the working tree, with a plus if it has changes; "unknown" outside of a repository.
        versions: Package -> version.
    """

    date: str
    machine: str
    commit: str
    versions: Mapping[str, str]


def circumstances(packages: Sequence[str]) -> Circumstances:
    """Looks around.

    Args:
        packages: The packages whose versions matter.
    """
    versions = {"python": platform.python_version(), **{name: _version(name) for name in packages}}
    return Circumstances(datetime.now(UTC).date().isoformat(), _machine(), _commit(), versions)


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _first_line(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.readline()


def _machine() -> str:
    model = "processor unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, {platform.system()}"


def _commit() -> str:
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + "+" * bool(changes.stdout)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
