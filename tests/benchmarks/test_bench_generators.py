from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from support.benchmark_process import run_benchmark


@pytest.mark.skipif(
    shutil.which("wrk") is None or shutil.which("h2load") is None,
    reason="wrk or h2load is not installed (Debian: wrk, nghttp2-client)",
)
def test_each_generator_has_its_turns_and_is_compared_with_the_one_in_c(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    flags = ["--rounds=1", "--seconds=0.3", "--connections", "1", "2", f"--json={result}"]
    done = run_benchmark("bench_generators.py", *flags)
    assert done.returncode == 0, done.stderr
    turns = json.loads(result.read_text())["turns"]
    pauses = ["a pause of 50 µs", "a pause of 150 µs"]
    expected = [
        (wire, connections, generator)
        for wire, tool in (("rest", "wrk"), ("grpc", "h2load"))
        for connections in (1, 2)
        for generator in [tool, "hotserve bench", *(pauses if connections == 1 else [])]
    ]
    assert [(turn["wire"], turn["connections"], turn["generator"]) for turn in turns] == expected
    assert all(turn["requests_per_second"] > 0 and turn["p50_ms"] > 0 for turn in turns)
    assert "| grpc, 2 connections: p50, ratio beside h2load, apart |" in done.stdout
