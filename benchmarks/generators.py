"""What makes the load: wrk and h2load, whose clients are written in C, where they are installed, and `load.py`.

wrk and h2load cost the machine a few microseconds a request, so that the server beside them has it to itself. They do
not look into answers: before them, `load.py` sends every request once and compares. An answer that is an error then
still ends the turn: wrk counts them by their status, and over gRPC they have no message.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from load import LoadResult, load_words, percentiles_ms
from workloads import Workload

TOOLS = {"rest": "wrk", "grpc": "h2load"}
OWN = "load.py"

_GRPC_PREFIX_BYTES = 5

_WRK_TIMEOUT = "60s"
"""Longer than a slow server takes with many connections; wrk counts what is later as an error."""

_WRK_SCRIPT = """\
wrk.headers["Content-Type"] = "{content_type}"
local lengths = {{ {lengths} }}
local requests, turn = {{}}, 0
init = function(args)
  local file = io.open("{bodies}", "rb")
  for number, length in ipairs(lengths) do
    requests[number] = wrk.format("POST", nil, nil, file:read(length))
  end
  file:close()
end
request = function()
  turn = turn % #requests + 1
  return requests[turn]
end
done = function(summary, latency, requests)
  local errors = summary.errors
  print(string.format(
    'result: {{"answers": %d, "microseconds": %d, "errors": %d, "p50": %f, "p90": %f, "p99": %f, "max": %f}}',
    summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
end
"""


def best(wire: str) -> str:
    """The generator that costs least of those that are installed.

    Args:
        wire: `rest` or `grpc`.
    """
    return TOOLS[wire] if shutil.which(TOOLS[wire]) else OWN


def run_tool(tool: str, work: Workload, *, path: str, port: int, connections: int, seconds: float) -> LoadResult:
    """Runs wrk or h2load against a server on 127.0.0.1; one request of a connection is under way at a time.

    Args:
        tool: `wrk` or `h2load`.
        work: What is sent; h2load sends its first request all the time.
        path: What to post to; empty for the workload's own.
        port: Where the server listens.
        connections: How many clients there are.
        seconds: How long; wrk takes whole seconds, at least one.

    Raises:
        RuntimeError: An answer is an error, or there is none.
    """
    run = _wrk if tool == "wrk" else _h2load
    return run(work, f"http://127.0.0.1:{port}{path or work.path}", connections, seconds)


def run_calls(message: bytes, url: str, *, connections: int, streams: int, calls: int) -> float:
    """Makes calls of gRPC with h2load, several of a connection at once; returns how many seconds they took.

    Args:
        message: What is sent.
        url: Where to, with the method as its path.
        connections: How many clients there are.
        streams: How many calls of each are under way.
        calls: How many there are in all.

    Raises:
        RuntimeError: Not every call was answered.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = [*_h2load_words(message, Path(folder), connections), f"-m{streams}", f"-n{calls}", url]
        start = time.perf_counter()
        output, _ = _run(words)
        seconds = time.perf_counter() - start
    match = re.search(r"status codes: (\d+) 2xx", output)
    if match is None or int(match[1]) != calls:
        raise RuntimeError(f"not every call was answered:\n{output}")
    return seconds


def run_own(
    workload: str, *, wire: str, path: str, port: int, connections: int, rows: int, seconds: float, requests: int = 0
) -> LoadResult:
    """Runs `load.py` in a process of its own; see there.

    Raises:
        RuntimeError: An answer is wrong, or there is none.
    """
    words = load_words(
        workload=workload,
        wire=wire,
        port=port,
        path=path,
        connections=connections,
        rows=rows,
        seconds=seconds,
        requests=requests,
    )
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return LoadResult(**json.loads(done.stdout))


def _wrk(work: Workload, url: str, connections: int, seconds: float) -> LoadResult:
    with tempfile.TemporaryDirectory() as folder:
        bodies, script = Path(folder, "bodies"), Path(folder, "requests.lua")
        requests = [example.request for example in work.examples]
        bodies.write_bytes(b"".join(requests))
        lengths = ", ".join(str(len(request)) for request in requests)
        script.write_text(_WRK_SCRIPT.format(content_type=work.content_type, lengths=lengths, bodies=bodies))
        words = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", _WRK_TIMEOUT]
        words += ["-s", str(script), url]
        output, cpu = _run(words)
    match = re.search(r"^result: (.*)$", output, re.MULTILINE)
    result = json.loads(match[1]) if match else {}
    if not result or result["errors"] or not result["answers"]:
        raise RuntimeError(f"wrk has had errors:\n{output}")
    latency = {name: result[name] / 1e3 for name in ("p50", "p90", "p99", "max")}
    return LoadResult(result["answers"], result["microseconds"] / 1e6, latency, cpu)


def _h2load(work: Workload, url: str, connections: int, seconds: float) -> LoadResult:
    message = work.examples[0].request
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        words = [*_h2load_words(message, Path(folder), connections), "-t1", "-m1", f"-D{round(seconds * 1000)}ms"]
        output, cpu = _run([*words, f"--log-file={log}", url])
        rows = [line.split("\t") for line in log.read_text().splitlines()]
    data = re.search(r"\((\d+)\) data", output)
    answers = len(rows)
    errors = sum(row[1] != "200" for row in rows)
    if errors or not answers or data is None or int(data[1]) <= _GRPC_PREFIX_BYTES * answers:
        raise RuntimeError(f"h2load has had errors:\n{output}")
    return LoadResult(answers, seconds, percentiles_ms(np.array([int(row[2]) for row in rows]) / 1e6), cpu)


def _h2load_words(message: bytes, folder: Path, connections: int) -> list[str]:
    """What makes calls of h2load, but for how many, and where to. Writes what is sent into a folder."""
    body = folder / "body"
    body.write_bytes(b"\x00" + len(message).to_bytes(4, "big") + message)
    headers = ("content-type: application/grpc", "te: trailers", "user-agent: hotserve-benchmark")
    return ["h2load", f"-c{connections}", f"-d{body}", *(f"-H{header}" for header in headers)]


def _run(words: Sequence[str]) -> tuple[str, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]} has ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
