from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_what_becomes_of_every_request_of_an_overload_is_told(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    # More connections than these would be refused on a slow machine, before the overload.
    flags = ["--rounds=1", "--seconds=0.6", "--timeout=0.2", "--layers=16", "--connections=4", f"--json={result}"]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "bench_overload.py"), *flags], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    turns = json.loads(result.read_text())["turns"]
    assert [turn["wire"] for turn in turns] == ["grpc", "rest"]
    for turn in turns:
        counts = turn["result"]
        assert counts["requests"] == sum(counts[name] for name in ("in_time", "refused", "others", "unsent"))
        assert counts["requests"] > 0
        assert turn["memory_most"] >= turn["memory_before"] > 0
    assert "share of the peak that is answered in time" in done.stdout
