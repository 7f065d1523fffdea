"""What does our HTTP/1.1 wire cost beside others, and beside as little as a server can do?

    python benchmarks/bench_http1_wire.py

One process each with the same trivial answer (see peers/http1_servers.py), in turns; the load comes from a process of
its own: wrk where it is installed, a client in Python where it is not. Prints the processor time of the server per
request, and its ratio to the bare server's in the same round.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from generators import best, run_tool
from load import positive_float, positive_int
from measure import RunningServer, ServerCommand, circumstances
from workloads import JSON, Example, Workload

from hotserve.loadgen.exchange import Request
from hotserve.loadgen.pace import ClosedPace
from hotserve.loadgen.run import Run
from hotserve.loadgen.server import Access, Server
from hotserve.loadgen.target import read_target
from hotserve.loadgen.work import Work

SERVERS_FILE = Path(__file__).parent / "peers" / "http1_servers.py"
NAMES = {
    "bare": "bare uvloop + httptools",
    "hotserve": "hotserve's wire",
    "h2corn": "h2corn, ASGI",
    "uvicorn": "uvicorn, ASGI",
}
NEEDS = {"bare": "httptools", "hotserve": "hotserve", "h2corn": "h2corn", "uvicorn": "uvicorn"}
PACKAGES = ("hotserve", "uvloop", "httptools", "h2corn", "uvicorn")
PATH = "/v1/models/digits:predict"


@dataclass(frozen=True, slots=True)
class Turn:
    """One server under one load.

    Attributes:
        cpu_us: Processor time of the server per request, in microseconds.
        per_second: Requests per second.
    """

    cpu_us: float
    per_second: float


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    options = _parser().parse_args(arguments)
    if options.load:
        print(_load(options.load, options.connections[0], options.seconds, options.body[0]))
        return 0
    names = [name for name in options.servers if find_spec(NEEDS[name]) is not None]
    where = circumstances(PACKAGES)
    with ExitStack() as stack:
        running = {name: stack.enter_context(RunningServer(command(name))) for name in names}
        print(f"{where.date}, commit {where.commit}, {where.machine}; {dict(where.versions)}; load: {best('rest')}\n")
        print("| body | connections | server | server CPU, us/request | ratio to the first | requests/s |")
        print("| ---: | ---: | --- | ---: | ---: | ---: |")
        for body in options.body:
            for connections in options.connections:
                rounds = [
                    {name: _turn(running[name], connections, options.seconds, body) for name in names}
                    for _ in range(options.rounds)
                ]
                for name in names:
                    ratio = statistics.median(turns[name].cpu_us / turns[names[0]].cpu_us for turns in rounds)
                    cpu = statistics.median(turns[name].cpu_us for turns in rounds)
                    rate = statistics.median(turns[name].per_second for turns in rounds)
                    print(f"| {body} | {connections} | {NAMES[name]} | {cpu:.1f} | {ratio:.2f} | {rate:.0f} |")
    return 0


def command(name: str) -> ServerCommand:
    """How to start one of the servers."""
    return ServerCommand(NAMES[name], (sys.executable, str(SERVERS_FILE), name, "{rest_port}"), ready_path="/")


def _turn(server: RunningServer, connections: int, seconds: float, body: int) -> Turn:
    cpu, start = server.cpu_seconds(), time.perf_counter()
    if best("rest") == "wrk":
        requests = _wrk(server.rest_port, connections, seconds, body)
    else:
        requests = _own_load(server.rest_port, connections, seconds, body)
    return Turn(1e6 * (server.cpu_seconds() - cpu) / requests, requests / (time.perf_counter() - start))


def _wrk(port: int, connections: int, seconds: float, body: int) -> int:
    work = Workload(PATH, JSON, [Example(b"7" * body, np.empty(0, np.float32))], lambda _: np.empty(0, np.float32))
    return run_tool("wrk", work, path="", port=port, connections=connections, seconds=seconds).answers


def _own_load(port: int, connections: int, seconds: float, body: int) -> int:
    words = [sys.executable, __file__, f"--load=127.0.0.1:{port}", f"--connections={connections}"]
    done = subprocess.run(
        [*words, f"--seconds={seconds}", f"--body={body}"], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def _load(authority: str, connections: int, seconds: float, body: int) -> int:
    server = Server(Access(read_target(f"http://{authority}")))
    run = Run(Work(server.connect, [Request(PATH, b"7" * body)]), connections)
    run.open()
    tally = run.go(ClosedPace(time.perf_counter_ns(), 0, seconds, None)).tally
    if tally.failed:
        raise SystemExit(f"expected answers, got {dict(tally.failures)}")
    return tally.good.count


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", nargs="+", choices=NAMES, default=list(NAMES), help="the first is the reference")
    parser.add_argument("--connections", nargs="+", type=positive_int, default=[1, 16])
    parser.add_argument("--body", nargs="+", type=positive_int, default=[30, 9400], help="bytes in each request")
    parser.add_argument("--seconds", type=positive_float, default=2.0, help="of each turn")
    parser.add_argument("--rounds", type=positive_int, default=3)
    parser.add_argument("--load", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
