from __future__ import annotations

from support.benchmark_process import run_benchmark


def test_a_short_run_ends_with_a_line_for_each_server() -> None:
    flags = ["--seconds=0.2", "--rounds=1", "--connections=2", "--body=10"]
    done = run_benchmark("bench_http1_wire.py", *flags)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line[:1] == "|"]
    names = ["bare uvloop + httptools", "hotserve's wire", "h2corn, ASGI", "uvicorn, ASGI"]
    assert [row[:3] for row in rows[2:]] == [["10", "2", name] for name in names]
    assert all(float(row[4]) > 0 and float(row[5]) > 0 for row in rows[2:])
    assert rows[2][4] == "1.00"
