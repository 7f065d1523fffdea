from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.server_process import wait_until

CHILD = """
import sys, os, time
from hotserve.platforms.engines.apart import stand_back
stand_back()
print(os.getpid(), os.getpriority(os.PRIO_PROCESS, 0), flush=True)
time.sleep(600)
"""
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE, text=True)
print(child.stdout.readline(), end="", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems leave it to run to its end")
def test_it_gives_way_and_ends_with_whoever_started_it_even_if_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, priority = map(int, parent.stdout.readline().split())
        assert priority > os.getpriority(os.PRIO_PROCESS, 0)
        assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "1000\n"
        parent.kill()
    wait_until(lambda: is_gone(pid), what="the end of the child")


def is_gone(pid: int) -> bool:
    try:
        # Nobody may have reaped it: a process that has ended counts as gone.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
