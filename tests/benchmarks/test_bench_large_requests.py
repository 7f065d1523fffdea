from __future__ import annotations

import json
from pathlib import Path

from support.benchmark_process import run_benchmark


def test_a_short_run_ends_with_what_became_of_the_small_requests_beside_large_ones(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    forms = ["REST, JSON", "answer: gRPC"]
    flags = ["--mebibytes=8", "--rounds=1", "--seconds=0.2", f"--json={result}", "--forms", *forms]
    done = run_benchmark("bench_large_requests.py", *flags)
    assert done.returncode == 0, done.stderr
    results = json.loads(result.read_text())
    assert [each["name"] for each in results] == forms
    assert all(each["large_seconds"] > 0 for each in results)
    assert all(0 < each["p50_ms"] <= each["p99_ms"] <= each["max_ms"] for each in results)
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line[:1] == "|"]
    assert rows[2:] == forms
