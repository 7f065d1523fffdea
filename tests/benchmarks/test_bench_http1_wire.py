from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_a_short_run_ends_with_a_line_for_each_server() -> None:
    flags = ["--seconds=0.2", "--rounds=1", "--connections=2", "--body=10"]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "bench_http1_wire.py"), *flags], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line[:1] == "|"]
    names = ["bare uvloop + httptools", "hotserve's wire", "h2corn, ASGI", "uvicorn, ASGI"]
    assert [row[:3] for row in rows[2:]] == [["10", "2", name] for name in names]
    assert all(float(row[4]) > 0 and float(row[5]) > 0 for row in rows[2:])
    assert rows[2][4] == "1.00"
