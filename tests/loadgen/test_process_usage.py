from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hotserve.errors import InvalidArgument
from hotserve.loadgen.process_usage import ProcessUsage, process_tree


def test_a_process_uses_memory_and_the_processor_with_its_children() -> None:
    usage = ProcessUsage(os.getpid())
    before = usage.cpu_seconds()
    while usage.cpu_seconds() < before + 0.02:
        sum(range(10_000))
    alone = usage.memory_bytes()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in process_tree(os.getpid())
        assert usage.memory_bytes() > alone / 2 > 0


def test_a_process_that_is_not_there_is_an_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    with pytest.raises(InvalidArgument, match="there is no such process"):
        ProcessUsage(child.pid)
