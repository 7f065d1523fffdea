from __future__ import annotations

import json
from pathlib import Path

from support.benchmark_process import run_benchmark


def test_the_latencies_between_swaps_and_during_one_are_told(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    flags = ["--kinds", "onnx-table", "--workers", "1", "--mebibytes=1", "--swaps=1", "--seconds=0.6", "--load=0.1"]
    flags.append("--ordinary-load")
    done = run_benchmark("bench_swap_latency.py", *flags, "--wires", "grpc", f"--json={result}")
    assert done.returncode == 0, done.stderr
    (turn,) = json.loads(result.read_text())["turns"]
    assert (turn["kind"], turn["workers"], turn["refused"]) == ("onnx-table", 1, 0)
    assert turn["requests"] > 0
    assert not turn["has_real_time_load"]
    assert len(turn["swap_seconds"]) == 1
    assert min(turn["between_late_ms"]["p50"], turn["during_late_ms"]["p50"]) >= 0
    for latencies in (turn["between_ms"], turn["during_ms"]):
        assert 0 < latencies["p50"] <= latencies["p99"] <= latencies["p99.9"] <= latencies["max"]
    assert "onnx-table, workers: 1, grpc: p99 during swaps, ratio" in done.stdout
