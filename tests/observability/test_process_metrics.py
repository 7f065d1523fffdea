from __future__ import annotations

import os
import platform
import resource
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from hotserve.observability.metrics import Metrics
from hotserve.observability.process_metrics import SUPERVISOR, ProcessMetrics, package_version, resident_bytes
from hotserve.version import __version__

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc, as on Linux")


@pytest.fixture
def process() -> ProcessMetrics:
    metrics = Metrics()
    process = ProcessMetrics(metrics)
    metrics.refresh()
    return process


def test_the_resident_memory_is_that_of_the_process(process: ProcessMetrics) -> None:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:"))
    ((_, told),) = process.resident.cells()
    assert 0.5 < told / (1024 * int(line.split()[1])) < 2
    assert resident_bytes() > 1 << 20


def test_memory_that_is_used_is_seen() -> None:
    before = resident_bytes()
    block = bytearray(os.urandom(1 << 20)) * 64
    assert resident_bytes() - before > 32 << 20
    assert len(block) == 64 << 20


def test_processor_time_grows(process: ProcessMetrics) -> None:
    ((_, before),) = process.cpu_seconds.cells()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    process.refresh()
    ((_, after),) = process.cpu_seconds.cells()
    assert after > before


def test_a_process_that_may_open_no_more_files_still_tells_its_metrics(process: ProcessMetrics) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The least number that is free is the next one that a file would get.
    with open(os.devnull, "rb") as free:
        limit = free.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        process.refresh()
        ((_, files),) = process.open_files.cells()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert files == limit


def test_open_files_and_threads_are_counted(process: ProcessMetrics) -> None:
    ((_, files),) = process.open_files.cells()
    ((_, threads),) = process.threads.cells()
    done = threading.Event()
    started = [threading.Thread(target=done.wait) for _ in range(20)]
    with ExitStack() as opened:
        for thread in started:
            thread.start()
            opened.enter_context(open(os.devnull, "rb"))
        process.refresh()
    done.set()
    for thread in started:
        thread.join()
    # What other tests have left behind may end meanwhile.
    ((_, files_then),) = process.open_files.cells()
    ((_, threads_then),) = process.threads.cells()
    assert files_then > files + 10
    assert threads_then > threads + 10
    ((_, most),) = process.max_files.cells()
    assert most == -1 or most > files


def test_the_process_has_begun_some_time_ago(process: ProcessMetrics) -> None:
    ((_, started),) = process.started_at.cells()
    assert 0 < time.time() - started < 24 * 3600


def test_the_build_is_told_by_labels(process: ProcessMetrics) -> None:
    ((labels, number),) = process.build.cells()
    assert number == 1
    assert labels[:2] == (__version__, platform.python_version())
    assert dict(zip(process.build.labels, labels, strict=True))["onnxruntime_version"][:2] == "1."


def test_a_package_that_is_not_installed_has_no_version() -> None:
    assert package_version("there-is-no-such-package") == ""


def test_one_of_several_processes_says_which_it_is_and_leaves_to_the_supervisor_what_all_have_in_common() -> None:
    metrics = Metrics()
    worker = ProcessMetrics(metrics, "worker 3")
    worker.refresh()
    assert [values for values, _ in worker.cpu_seconds.cells()] == [("worker 3",)]
    assert worker.build.cells() == []
    supervisor = ProcessMetrics(Metrics(), SUPERVISOR)
    supervisor.refresh()
    assert supervisor.build.cells() != []
