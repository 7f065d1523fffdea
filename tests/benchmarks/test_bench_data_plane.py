from __future__ import annotations

import json
from pathlib import Path

from support.benchmark_process import run_benchmark


def test_a_short_run_ends_with_what_was_measured_and_which_aims_are_reached(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    flags = ["--questions", "half_plus_two", "--seconds=0.2", "--rounds=1", f"--json={result}"]
    done = run_benchmark("bench_data_plane.py", *flags)
    assert done.returncode == 0, done.stderr
    document = json.loads(result.read_text())
    turns = document["half_plus_two"]["turns"]
    assert [turn["contestant"] for turn in turns] == ["bare uvloop + httptools, REST", "ONNX, REST", "ONNX, gRPC"]
    assert all(turn["answers"] > 0 for turn in turns)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line[:1] == "|"]
    aims = rows[rows.index(["question", "measured", "aim", "reached"]) + 2 :]
    assert [row[2] for row in aims] == ["<= 2.2", "<= 3"]
    assert [row[3] for row in aims] == ["yes" if aim["measured"] <= aim["bound"] else "no" for aim in document["aims"]]


def test_the_server_in_process_answers_every_request_and_tells_where_its_time_goes() -> None:
    flags = ["--models=half_plus_two", "--connections", "1", "3", "--requests=300", "--rounds=1", "--profile=40"]
    done = run_benchmark("bench_in_process.py", *flags)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line[:1] == "|"]
    lines = [["half_plus_two", wire, count] for wire in ("rest", "grpc") for count in ("1", "3")]
    assert [row[:3] for row in rows[2:]] == lines
    assert all(float(row[3]) > float(row[4]) > 0 for row in rows[2:])
    assert "wires/http1.py data_received" in done.stderr
    assert "wires/grpc_http2.py data_received" in done.stderr
