"""The programs of `benchmarks/`, run as users run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run_benchmark(program: str, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end; returns its exit code and what it has printed.

    Args:
        program: The name of its file.
        flags: Its command line.
        environment: Variables beside those that are there.

    Raises:
        subprocess.TimeoutExpired: It has not ended in five minutes.
    """
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / program), *flags],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
        check=False,
    )
