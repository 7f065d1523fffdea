from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_latencies_between_swaps_and_during_one_are_told(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    flags = ["--kinds", "onnx-table", "--workers", "1", "--mebibytes=1", "--swaps=1", "--seconds=0.6", "--load=0.1"]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "bench_swap_latency.py"), *flags, f"--json={result}"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (turn,) = json.loads(result.read_text())["turns"]
    assert (turn["kind"], turn["workers"], turn["refused"]) == ("onnx-table", 1, 0)
    assert turn["requests"] > 0
    assert len(turn["swap_seconds"]) == 1
    for latencies in (turn["between_ms"], turn["during_ms"]):
        assert 0 < latencies["p50"] <= latencies["p99"] <= latencies["p99.9"] <= latencies["max"]
    assert "onnx-table, workers: 1: p99 during swaps, ratio" in done.stdout
