from __future__ import annotations

import json
from pathlib import Path

from support.benchmark_process import run_benchmark


def test_what_becomes_of_every_request_of_an_overload_is_told(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    # More connections than these would be refused on a slow machine, before the overload.
    flags = ["--rounds=1", "--seconds=0.6", "--timeout=1", "--layers=16", "--connections=4", f"--json={result}"]
    done = run_benchmark("bench_overload.py", *flags)
    assert done.returncode == 0, done.stderr
    turns = json.loads(result.read_text())["turns"]
    assert [turn["wire"] for turn in turns] == ["grpc", "rest"]
    for turn in turns:
        counts = turn["result"]
        assert counts["requests"] == sum(counts[name] for name in ("in_time", "refused", "others", "unsent"))
        assert counts["requests"] > 0
        assert turn["memory_most"] >= turn["memory_before"] > 0
    assert "share of the peak that is answered in time" in done.stdout
