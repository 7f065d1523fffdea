from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_a_short_run_ends_with_what_was_measured_and_which_aims_are_reached(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    flags = ["--questions", "half_plus_two", "--seconds=0.2", "--rounds=1", f"--json={result}"]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "bench_data_plane.py"), *flags], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(result.read_text())
    turns = document["half_plus_two"]["turns"]
    assert [turn["contestant"] for turn in turns] == ["bare uvloop + httptools, REST", "ONNX, REST", "ONNX, gRPC"]
    assert all(turn["answers"] > 0 for turn in turns)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line[:1] == "|"]
    aims = rows[rows.index(["question", "measured", "aim", "reached"]) + 2 :]
    assert [row[2] for row in aims] == ["<= 2.2", "<= 3"]
    assert [row[3] for row in aims] == ["yes" if aim["measured"] <= aim["bound"] else "no" for aim in document["aims"]]
