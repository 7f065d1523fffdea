from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from hotserve.codecs.compiled import EXTENSION
from support.benchmark_process import run_benchmark
from support.server_process import COMMAND, ServerProcess


def load(*flags: str) -> dict[str, Any]:
    done = run_benchmark("load.py", *flags)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def digits() -> Iterator[ServerProcess]:
    with ServerProcess(command=(COMMAND, "demo")) as server:
        yield server


def port(server: ServerProcess, wire: str) -> str:
    return f"--port={server.grpc_port if wire == 'grpc' else server.rest_port}"


def test_a_short_run_ends_with_a_table_against_the_first_that_is_named_and_every_turn_as_json(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    named = ["grpc", "fastapi-plain", "fastapi-typed", "rest"]
    flags = ["--seconds=0.3", "--rounds=1", "--connections=3", f"--json={result}", "--contestants", *named]
    done = run_benchmark("bench_digits_against_fastapi.py", *flags)
    assert done.returncode == 0, done.stderr
    document = json.loads(result.read_text())
    contestants = ["hotserve, gRPC", "FastAPI, REST, plain JSON", "FastAPI, REST, pydantic", "hotserve, REST"]
    turns = [(turn["connections"], turn["contestant"]) for turn in document["turns"]]
    assert turns == [(3, name) for name in contestants]
    assert all(turn["answers"] > 0 and turn["server_cpu_us"] > 0 for turn in document["turns"])
    assert all(floor > 0 for floor in document["floor_us"])
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in done.stdout.splitlines() if line[:1] == "|"]
    assert rows[2:] == [["3", name] for name in contestants]
    assert "Ratios against 'hotserve, gRPC'" in done.stdout
    assert "Client and server share these cores" in done.stdout


def test_batching_is_measured_against_the_same_server_without_it() -> None:
    flags = ["--seconds=0.2", "--rounds=1", "--connections=2", "--contestants", "off", "natural"]
    done = run_benchmark("bench_batching.py", *flags)
    assert done.returncode == 0, done.stderr
    assert "Ratios against 'batching off, grpc'" in done.stdout
    assert "natural batching, grpc" in done.stdout


def test_several_workers_are_measured_against_one() -> None:
    done = run_benchmark("bench_workers.py", "--seconds=0.2", "--rounds=1", "--connections=2", "--wires", "grpc")
    assert done.returncode == 0, done.stderr
    assert "Ratios against '1 worker, gRPC'" in done.stdout
    assert "2 workers, gRPC" in done.stdout


@pytest.mark.parametrize("wire", ["rest", "grpc"])
def test_the_load_ends_after_the_requests_that_it_was_told(digits: ServerProcess, wire: str) -> None:
    result = load(f"--wire={wire}", port(digits, wire), "--connections=3", "--requests=7", "--seconds=60")
    assert result["answers"] == 7


@pytest.mark.parametrize("wire", ["rest", "grpc"])
def test_requests_beyond_the_flow_control_window_are_answered(digits: ServerProcess, wire: str) -> None:
    # 628 kB each over gRPC, where the first window has 64 KiB; and the answer comes packed.
    result = load(f"--wire={wire}", port(digits, wire), "--rows=200", "--requests=3", "--seconds=60")
    assert result["answers"] == 3


def test_a_call_that_fails_ends_the_load_with_its_status(digits: ServerProcess) -> None:
    method = "--path=/tensorflow.serving.PredictionService/None"
    done = run_benchmark("load.py", "--wire=grpc", port(digits, "grpc"), method, "--requests=1")
    assert done.returncode == 1
    assert "UNIMPLEMENTED: " in done.stderr


class Imposter(HTTPServer):
    """Answers every request with the `status` and the `body` that it has been given, in chunks if told so."""

    status = 200
    body = b""
    chunk_bytes = 0


class ImposterHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Imposter

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(self.server.status)
        if size := self.server.chunk_bytes:
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            body = self.server.body
            for chunk in [body[start : start + size] for start in range(0, len(body), size)] + [b""]:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            return
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def imposter() -> Iterator[Imposter]:
    with Imposter(("127.0.0.1", 0), ImposterHandler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b'{"predictions": [[0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]]}', "got [[0.1"),
        (200, b'{"predictions": [[1.0]]}', "got [[1.0]]"),
        (200, b'{"outputs": 1}', """got b'{"outputs": 1}'"""),
        (200, b"oops", "got b'oops'"),
        (503, b'{"error": "busy"}', '503: {"error": "busy"}'),
    ],
)
def test_a_wrong_answer_ends_the_load(imposter: Imposter, status: int, body: bytes, words: str) -> None:
    imposter.status, imposter.body = status, body
    done = run_benchmark("load.py", f"--port={imposter.server_port}", "--requests=1")
    assert done.returncode == 1
    assert words in done.stderr


def test_answers_in_chunks_are_put_together(imposter: Imposter) -> None:
    imposter.body, imposter.chunk_bytes = b'{"predictions": [2.5, 3.0, 4.5]}', 7
    result = load(f"--port={imposter.server_port}", "--workload=half_plus_two", "--requests=5")
    assert result["answers"] == 5


def test_a_turn_that_fails_ends_the_bench_and_says_which_it_was() -> None:
    done = run_benchmark(
        "bench_digits_against_fastapi.py", "--rows=201", "--seconds=0.1", "--rounds=1", "--contestants", "rest"
    )
    assert done.returncode == 1
    assert "hotserve, REST with 1 connections: " in done.stderr
    assert "1..200" in done.stderr
    assert "The server has printed:" in done.stderr


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed (Debian: nghttp2-client)")
def test_the_wire_of_grpc_is_measured_with_every_load(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    done = run_benchmark("bench_http2_wire.py", "--wires", "own", "--rounds=1", "--calls=200", f"--json={result}")
    assert done.returncode == 0, done.stderr
    document = json.loads(result.read_text())
    assert [(turn["connections"], turn["streams"]) for turn in document["turns"]] == [
        (1, 1),
        (1, 16),
        (1, 64),
        (16, 1),
        (64, 1),
    ]
    assert all(turn["calls_per_second"] > 0 for turn in document["turns"])
    assert document["large_mb_per_second"]["own"][0] > 0


@pytest.mark.skipif(EXTENSION is None, reason="hotserve was installed without a C compiler")
def test_the_json_codec_is_compared_with_its_twin_and_with_json_and_numpy() -> None:
    done = run_benchmark("bench_json_codec.py", "--rounds=1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| what | json + numpy, µs | plain Python, µs | compiled, µs |")
    assert "| write 10 floats |" in done.stdout
