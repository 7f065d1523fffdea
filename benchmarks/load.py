"""A closed loop of clients against one server, in a process of its own; every answer is compared with the right one.

Each connection has one request under way and sends the next as soon as it has the answer. At the end of the time the
requests under way are finished and counted. Writes one JSON object to standard output:

    python benchmarks/load.py --wire=rest --port=8501 --connections=16 --seconds=3

A wrong answer, an error status or a lost connection ends the run with exit code 1 and says on standard error which.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Protocol

import numpy as np
import uvloop
from http1_client import Http1Connection
from http2_client import Http2Connection
from numpy.typing import ArrayLike
from workloads import WORKLOADS, Workload, workload

TOLERANCE = 1e-5
"""How far a number may be off: batches of other sizes and other numbers of threads round otherwise."""


class Connection(Protocol):
    """A client's end of one connection."""

    async def call(self, request: bytes) -> bytes:
        """Sends one request and waits for the body of its answer."""
        ...

    def close(self) -> None:
        """Hangs up."""
        ...


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
    """Compares answers with the right ones, and remembers what it has found right: servers repeat themselves."""

    def __init__(self, work: Workload) -> None:
        self._read = work.read
        self._expected = [example.answer for example in work.examples]
        self._right: list[set[bytes]] = [set() for _ in self._expected]

    def check(self, index: int, answer: bytes) -> None:
        """Takes the answer to the request of example `index`.

        Raises:
            WrongAnswerError: It is not the right one.
        """
        if answer in self._right[index]:
            return
        expected = self._expected[index]
        try:
            got = self._read(answer)
        except (ValueError, KeyError, TypeError) as error:
            raise WrongAnswerError(f"example {index}: expected numbers, got {answer[:500]!r}: {error}") from error
        if got.shape != expected.shape or not np.allclose(got, expected, rtol=0, atol=TOLERANCE):
            raise WrongAnswerError(f"example {index}: expected {expected.tolist()}, got {got.tolist()}")
        self._right[index].add(answer)


async def run_load(
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
        WrongAnswerError: An answer is wrong.
        ConnectionError: The server has hung up.
        ValueError: An answer is an error.
    """
    checker = Checker(work)
    opened = await asyncio.gather(*(connect(work, wire, host, port, path) for _ in range(connections)))
    numbers = iter(range(requests))
    latencies: list[float] = []
    start, start_cpu = time.perf_counter(), time.process_time()

    async def client(connection: Connection) -> None:
        for number in numbers:
            index = number % len(work.examples)
            sent = time.perf_counter()
            if sent - start >= seconds:
                return
            answer = await connection.call(work.examples[index].request)
            latencies.append(time.perf_counter() - sent)
            checker.check(index, answer)

    try:
        await asyncio.gather(*map(client, opened))
        elapsed, used_cpu = time.perf_counter() - start, time.process_time() - start_cpu
    finally:
        for connection in opened:
            connection.close()
    return LoadResult(len(latencies), elapsed, percentiles_ms(latencies), used_cpu)


async def connect(work: Workload, wire: str, host: str, port: int, path: str = "") -> Http1Connection | Http2Connection:
    """Opens a connection for the requests of a workload; an empty path stands for the workload's own."""
    authority, path = f"{host}:{port}", path or work.path
    client: Callable[[], Http1Connection | Http2Connection] = partial(Http2Connection, authority, path)
    if wire == "rest":
        client = partial(Http1Connection, authority, path, work.content_type)
    _, connection = await asyncio.get_running_loop().create_connection(client, host, port)
    return connection


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
    load = run_load(
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
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(load)
    except (WrongAnswerError, ValueError, OSError) as error:
        print(f"{options.wire} on port {options.port}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
