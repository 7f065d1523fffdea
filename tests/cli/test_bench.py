from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hotserve.cli.bench import GOOD, INTERRUPTED, NOT_MEASURED, SOME_FAILED
from hotserve.cli.bench_progress import Progress
from hotserve.cli.main import main
from hotserve.loadgen.exchange import Request
from hotserve.loadgen.job import Job
from hotserve.loadgen.server import Access
from hotserve.loadgen.target import read_target
from support.scripted_server import SILENCE, ScriptedServer, answer
from support.server_process import COMMAND, ServerProcess, wait_until

FEW = ("--requests=6", "--warmup-seconds=0", "--connections", "2")


@pytest.fixture(scope="module")
def digits() -> Iterator[ServerProcess]:
    with ServerProcess(command=(COMMAND, "demo")) as server:
        yield server


def bench(*words: str) -> int:
    return main(["bench", *words])


def measured(target: str, tmp_path: Path, *words: str) -> tuple[int, dict[str, object]]:
    """The exit code, and the only measurement of the JSON document."""
    file = tmp_path / "result.json"
    code = bench(target, "--model=digits", f"--json={file}", *FEW, *words)
    (measurement,) = json.loads(file.read_text())["measurements"]
    return code, measurement


@pytest.mark.parametrize(
    "words",
    [
        ("rest",),
        ("rest", "--format=protobuf", "--check"),
        ("rest", "--format=npy", "--check"),
        ("rest", "--rows=3", "--check", "--version=1"),
        ("grpc",),
        ("grpc", "--rows=3", "--check", "--processes=2", "--signature=serving_default"),
        ("grpc", "--shape=image=2,28,28,1", "--header=x-user: somebody"),
        ("rest", "--rate", "200"),
        ("grpc", "--rate", "200", "--poisson"),
    ],
    ids=" ".join,
)
def test_every_request_of_a_good_server_is_answered(
    digits: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    code, measurement = measured(digits.url if words[0] == "rest" else digits.grpc_target, tmp_path, *words[1:])
    assert code == GOOD
    assert (measurement["requests"], measurement["failed"]) == (6, 0)
    latency = measurement["latency_ms"]
    assert isinstance(latency, dict)
    assert 0 < latency["p50"] <= latency["p99.9"] <= latency["max"]
    assert isinstance(measurement["generator_cpu_us_per_request"], float)
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "p99.9 ms" in captured.out


def test_there_is_a_line_for_each_number_of_connections_and_each_rate(
    digits: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--model=digits", "--requests=2", "--warmup-seconds=0")
    assert bench(digits.url, *few, "--connections", "1", "3") == GOOD
    assert bench(digits.url, *few, "--rate", "50", "100") == GOOD
    out = capsys.readouterr().out
    for load in ("1 connection ", "3 connections ", "50 requests/s on 64 connections ", "100 requests/s on 64"):
        assert f"\n{load}" in out


def test_the_server_s_own_figures_are_shown_where_its_process_is_named(
    digits: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, measurement = measured(digits.url, tmp_path, f"--pid={digits.pid}")
    assert code == GOOD
    assert isinstance(measurement["server_memory_bytes"], int)
    assert measurement["server_memory_bytes"] > 10_000_000
    assert "server CPU, µs/request  server memory, MB" in capsys.readouterr().out


def test_inputs_come_from_files(digits: ServerProcess, tmp_path: Path) -> None:
    image = np.zeros((2, 28, 28, 1), np.float32)
    np.save(tmp_path / "one.npy", image)
    np.savez(tmp_path / "all.npz", image=image)
    (tmp_path / "body.json").write_text(json.dumps({"instances": image.tolist()}))
    for target in (digits.url, digits.grpc_target):
        for name in ("one.npy", "all.npz", "body.json"):
            assert measured(target, tmp_path, f"--data={tmp_path / name}")[0] == GOOD


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("ftp://h", "--model=m"), "has the scheme ftp. Expected http://HOST:PORT"),
        (("127.0.0.1:1", "--model=m"), "127.0.0.1:1: Connection refused. Expected a server whose gRPC API listens"),
        (("{rest}", "--model=m"), "answers 404 to the question for the metadata of model m: "),
        (("{grpc}", "--model=m"), "answers NOT_FOUND to the question for the metadata of model m: "),
        (("{grpc}", "--model=digits", "--signature=s"), "no signature s. Give --signature, one of: serving_default"),
        (("{grpc}", "--model=digits", "--format=npy"), "--format is for REST"),
        (("{grpc}", "--model=digits", "--insecure"), "is without TLS"),
        (("{grpc}", "--model=digits", "--header=x"), "expected NAME: VALUE"),
        (("{grpc}", "--model=digits", "--shape=image"), "expected INPUT=SIZE,SIZE"),
        (("{grpc}", "--model=digits", "--shape=image=1,x"), "expected INPUT=SIZE,SIZE"),
        (("{grpc}", "--model=digits", "--shape=image=7"), "does not fit image: float [?,28,28,1]"),
        (("{grpc}", "--model=digits", "--version=1", "--label=x"), "--version and --label are both given"),
        (("{grpc}", "--model=digits", "--method=classify"), "--method=classify needs --data"),
        (("{grpc}", "--model=digits", "--data=x", "--rows=2"), "--rows and --shape are for data that is made up"),
        (("{grpc}", "--model=digits", "--data=/none.npy"), "/none.npy: No such file"),
        (("{grpc}", "--model=digits", "--pid=1073741824"), "there is no such process"),
        (("{rest}", "--model=digits", "--json=/none/x", *FEW), "--json=/none/x: there is no folder /none"),
    ],
)
def test_what_keeps_it_from_measuring_is_said_in_a_line(
    digits: ServerProcess, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], text: str
) -> None:
    code = bench(*(word.format(rest=digits.url, grpc=digits.grpc_target) for word in words))
    assert code == NOT_MEASURED
    out, error = capsys.readouterr()
    assert out == ""  # nothing was measured in vain
    assert error.startswith("hotserve bench: ")
    assert error.count("\n") == 1
    assert text in error


def test_a_request_that_the_server_refuses_is_told_before_the_load(
    digits: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "body.json").write_text('{"instances": [1]}')
    assert bench(digits.url, "--model=digits", f"--data={tmp_path / 'body.json'}") == NOT_MEASURED
    assert " answers 400: " in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--seconds=0",), ("--connections=0",), ("--rate=x",), ("--format=x",), ("--x",)])
def test_a_wrong_command_line_is_one(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench("h:1", "--model=m", *words)
    assert ended.value.code == 2
    assert "usage: hotserve bench" in capsys.readouterr().err


def scripted(tmp_path: Path, *bodies: bytes, status: str = "200 OK") -> tuple[ScriptedServer, tuple[str, ...]]:
    """A server that answers with these bodies in turns, but for the first answer, which is `first`."""
    (tmp_path / "body.json").write_text("{}")
    server = ScriptedServer(lambda number: answer(bodies[number % len(bodies)], status if number else "200 OK"))
    return server, ("--model=m", f"--data={tmp_path / 'body.json'}", "--requests=6", "--warmup-seconds=0")


def test_requests_that_fail_are_counted_and_make_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "body.json").write_text("{}")
    script = [answer(b"fine"), answer(b"fine"), answer(b'{"error":\n "busy"}', "503 Busy")]
    with ScriptedServer(lambda number: script[number % 3]) as server:
        words = ("--model=m", f"--data={tmp_path / 'body.json'}", "--requests=6", "--warmup-seconds=0")
        assert bench(server.url, *words, "--connections=1") == SOME_FAILED
    out = capsys.readouterr().out
    assert '  1 connection: 2 x 503, first: {"error": "busy"}' in out


def test_nothing_but_failures_is_no_measurement(tmp_path: Path) -> None:
    server, words = scripted(tmp_path, b"{}", status="500 No")
    with server:
        assert bench(server.url, *words) == NOT_MEASURED


def test_with_check_answers_that_differ_are_failures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server, words = scripted(
        tmp_path,
        b'{"predictions": [1.0, 2.0]}',
        b'{"predictions": [1.000001, 2.0]}',
        b'{"predictions": [1.0, 2.5]}',
    )
    with server:
        assert bench(server.url, *words, "--check", "--connections=1") == SOME_FAILED
    assert "2 x different answer, first: the answer.predictions[1] is 2.5, first was 2.0" in capsys.readouterr().out


def test_ctrl_c_prints_what_was_measured_so_far(tmp_path: Path) -> None:
    server, words = scripted(tmp_path, b"{}")
    command = [sys.executable, "-m", "hotserve", "bench", server.url, *words, "--requests=1000000000", "--seconds=600"]
    with server, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            # The first one comes before the load.
            wait_until(lambda: len(server.requests) > 20, what="the load is under way")
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == INTERRUPTED, error
    assert "1 connection: stopped after" in out


def test_ctrl_c_before_the_load_ends_it_at_once() -> None:
    with ScriptedServer(lambda number: SILENCE) as silent:
        command = [sys.executable, "-m", "hotserve", "bench", silent.url, "--model=m"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                wait_until(lambda: silent.requests, what="it asks the server for the model's signatures")
                process.send_signal(signal.SIGINT)
                out, error = process.communicate(timeout=30)
            finally:
                process.kill()
    assert (process.returncode, out, error) == (INTERRUPTED, "", "")


def test_progress_is_shown_on_a_terminal_only() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    job = Job(Access(read_target("h:1")), [Request("/", b"")], 2, seconds=10, warmup_seconds=1)
    for output in (Terminal(), io.StringIO()):
        progress = Progress(output)
        progress.begin(job)
        progress.show(progress._begin + 500_000_000, 0)
        progress.show(progress._begin + 6_000_000_000, 42)
        progress.clear()
        shown = output.getvalue()
        if not output.isatty():
            assert shown == ""
            continue
        assert "2 connections [#" in shown
        assert "0.5 s, warm-up" in shown
        assert "6.0 s, 42 requests" in shown
        assert shown.endswith("\r\x1b[K")
