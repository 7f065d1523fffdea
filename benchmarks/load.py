"""A closed loop of clients against one server, in a process of its own; every answer is compared with the right one.

Each connection has one request under way and sends the next as soon as it has the answer. At the end of the time the
requests under way are finished and counted. Writes one JSON object to standard output:

    python benchmarks/load.py --wire=rest --port=8501 --connections=16 --seconds=3

A wrong answer, an error status or a lost connection ends the run with exit code 1 and says on standard error which.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike
from workloads import WORKLOADS, Workload, workload

from hotserve.errors import ServingError
from hotserve.loadgen.exchange import Request
from hotserve.loadgen.histogram import Histogram
from hotserve.loadgen.pace import ClosedPace
from hotserve.loadgen.run import Run
from hotserve.loadgen.server import Access, Server
from hotserve.loadgen.target import read_target
from hotserve.loadgen.work import Hooks, Judge, Work

TOLERANCE = 1e-5
"""How far a number may be off: batches of other sizes and other numbers of threads round otherwise."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What the clients saw.

    Attributes:
        answers: How many requests were answered, all of them rightly.
        seconds: From the first request to the last answer.
        latency_ms: Percentile (`p50`, `p90`, `p99`, `max`) -> milliseconds from sending a request to having its answer.
        client_cpu_seconds: What the clients themselves used of the processors in that time.
    """

    answers: int
    seconds: float
    latency_ms: dict[str, float]
    client_cpu_seconds: float


class WrongAnswerError(Exception):
    """An answer is not what the model says."""


class Checker:
    """Compares answers with the right ones, and remembers what it has found right: servers repeat themselves.

    Attributes:
        wrong: What was wrong last; empty as long as nothing was.
    """

    def __init__(self, work: Workload) -> None:
        self.wrong = ""
        self._read = work.read
        self._expected = [example.answer for example in work.examples]
        self._right: list[set[bytes]] = [set() for _ in self._expected]

    def __call__(self, number: int, body: bytes) -> str:
        """What is wrong with the answer to the request of example `number`; empty if nothing is."""
        if body in self._right[number]:
            return ""
        expected = self._expected[number]
        try:
            got = self._read(body)
        except (ValueError, KeyError, TypeError) as error:
            self.wrong = f"example {number}: expected numbers, got {body[:500]!r}: {error}"
            return self.wrong
        if got.shape != expected.shape or not np.allclose(got, expected, rtol=0, atol=TOLERANCE):
            self.wrong = f"example {number}: expected {expected.tolist()}, got {got.tolist()}"
            return self.wrong
        self._right[number].add(body)
        return ""


def run_load(
    work: Workload, wire: str, host: str, port: int, path: str, *, connections: int, seconds: float, requests: int
) -> LoadResult:
    """Runs the closed loop.

    Args:
        work: What is sent and comes back.
        wire: `rest` or `grpc`.
        host: Where the server listens.
        port: Its port for this wire.
        path: What to post to, or the full name of the method; empty for the workload's own.
        connections: How many clients there are, each with a connection of its own.
        seconds: No request is sent after this time.
        requests: No more requests than these are sent.

    Raises:
        WrongAnswerError: An answer is wrong, or an error, or the server has hung up.
        ServingError: There is no connection to the server.
    """
    checker = Checker(work)
    run = Run(load_work(work, wire, host, port, path, checker), connections, Hooks(lambda: bool(checker.wrong)))
    run.open()
    outcome = run.go(ClosedPace(time.perf_counter_ns(), 0, seconds, requests))
    for kind, failures in outcome.tally.failures.items():
        raise WrongAnswerError(f"{kind}: {failures.first_text}")
    good = outcome.tally.good
    return LoadResult(good.count, outcome.seconds, histogram_ms(good), outcome.cpu_seconds)


def load_work(
    work: Workload, wire: str, host: str, port: int, path: str = "", judge: Judge | None = None, timeout: float = 60.0
) -> Work:
    """A workload as work for the clients of `hotserve bench`; an empty path stands for the workload's own."""
    target = read_target(f"{'http' if wire == 'rest' else 'grpc'}://{host}:{port}")
    server = Server(Access(target, timeout_seconds=timeout, sends_deadline=timeout < 60))
    requests = [Request(path or work.path, example.request, work.content_type) for example in work.examples]
    return Work(server.connect, requests, judge, timeout)


def histogram_ms(histogram: Histogram) -> dict[str, float]:
    """The percentiles `p50`, `p90`, `p99` and `max` of latencies, in milliseconds; empty without any."""
    if not histogram.count:
        return {}
    values = [*histogram.percentiles((50, 90, 99)), float(histogram.largest)]
    return {name: value / 1e6 for name, value in zip(("p50", "p90", "p99", "max"), values, strict=True)}


def percentiles_ms(seconds: ArrayLike) -> dict[str, float]:
    """The percentiles `p50`, `p90`, `p99` and `max` of some latencies, in milliseconds."""
    names = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    values = np.percentile(np.asarray(seconds), list(names.values())) * 1e3
    return dict(zip(names, values.tolist(), strict=True))


def load_words(**flags: object) -> list[str]:
    """The command line of a load on 127.0.0.1; flags as `--help` has them, and those that are empty are left out."""
    return [sys.executable, __file__, *(f"--{name}={value}" for name, value in flags.items() if value)]


def positive_int(text: str) -> int:
    """A flag's value from 1 on, for argparse."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def positive_float(text: str) -> float:
    """A flag's value above 0, for argparse."""
    if not (value := float(text)) > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=sorted(WORKLOADS), default="digits")
    parser.add_argument("--wire", choices=["grpc", "rest"], default="rest")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="", help="what to post to, or the method to call (the workload's own)")
    parser.add_argument("--connections", type=positive_int, default=1)
    parser.add_argument("--rows", type=positive_int, default=1, choices=range(1, 201), metavar="1..200")
    parser.add_argument("--seconds", type=positive_float, default=3.0, help="nothing is sent after this time")
    parser.add_argument("--requests", type=positive_int, default=sys.maxsize, help="no more than these are sent")
    return parser.parse_args()


def main() -> int:
    """The program."""
    options = _arguments()
    load = partial(
        run_load,
        workload(options.workload, options.wire, options.rows),
        options.wire,
        options.host,
        options.port,
        options.path,
        connections=options.connections,
        seconds=options.seconds,
        requests=options.requests,
    )
    try:
        result = load()
    except (WrongAnswerError, ServingError) as error:
        print(f"{options.wire} on port {options.port}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
