"""An open loop: requests come at a rate, whether earlier ones have been answered or not; what becomes of each.

    python benchmarks/open_load.py --workload=slow --wire=grpc --port=8500 --rate=600 --seconds=5 --timeout=1

Requests come one by one, with the gaps of a Poisson process whose seed is fixed. Each takes a free connection, or opens
one: clients that do not wait for each other. Writes one JSON object to standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import uvloop
from http1_client import Http1Connection, StatusError
from http2_client import Http2Connection
from load import Checker, percentiles_ms, positive_float
from workloads import WORKLOADS, Workload, workload

REFUSED = {"rest": 503, "grpc": 14}
"""What says that the server is too busy: Service Unavailable, UNAVAILABLE."""

MAX_CONNECTIONS = 4000

_SEED = 3


@dataclass(frozen=True, slots=True)
class OpenResult:
    """What became of the requests of the time that counts.

    Attributes:
        seconds: How long that time is.
        requests: How many there were.
        in_time: How many had their answer before the client's time was over.
        refused: How many were refused, because the server was too busy.
        others: How many ended in another way: too late, for the most part.
        unsent: How many were not sent, because all connections were taken.
        in_time_ms: Percentile -> milliseconds, of those answered in time; empty if none was.
        refused_ms: The same of those refused.
        connections: How many connections were needed.
    """

    seconds: float
    requests: int
    in_time: int
    refused: int
    others: int
    unsent: int
    in_time_ms: dict[str, float]
    refused_ms: dict[str, float]
    connections: int


class OpenLoop:
    """The clients."""

    def __init__(self, work: Workload, wire: str, port: int, timeout_seconds: float) -> None:
        self._work = work
        self._checker = Checker(work)
        self._wire = wire
        self._port = port
        self._timeout = timeout_seconds
        self._free: list[Http1Connection | Http2Connection] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.in_time: list[float] = []
        self.refused: list[float] = []
        self.others = 0
        self.unsent = 0

    async def run(self, rate: float, seconds: float, lead_seconds: float) -> int:
        """Sends requests; returns how many there were after the first `lead_seconds`, which do not count."""
        loop = asyncio.get_running_loop()
        gaps = np.random.default_rng(_SEED).exponential(1 / rate, int(rate * seconds * 2) + 10)
        start = time.perf_counter()
        counted = 0
        for due in np.cumsum(gaps).tolist():
            if due >= seconds:
                break
            delay = start + due - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            counts = due >= lead_seconds
            counted += counts
            task = loop.create_task(self._request(counts))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        while self._tasks:
            await asyncio.gather(*self._tasks)
        return counted

    async def _request(self, counts: bool) -> None:
        start = time.perf_counter()
        connection: Http1Connection | Http2Connection | None = None
        try:
            connection = self._free.pop() if self._free else await self._open()
            if connection is None:
                self.unsent += counts
                return
            answer = await connection.call(self._work.examples[0].request)
            seconds = time.perf_counter() - start
            self._free.append(connection)
            self._checker.check(0, answer)
            if not counts:
                return
            if seconds <= self._timeout:
                self.in_time.append(seconds)
            else:
                self.others += 1
        except StatusError as error:
            if connection is not None:
                self._free.append(connection)
            if not counts:
                return
            if error.status == REFUSED[self._wire]:
                self.refused.append(time.perf_counter() - start)
            else:
                self.others += 1
        except OSError:  # the server has hung up, or takes no connection
            self.others += counts

    async def _open(self) -> Http1Connection | Http2Connection | None:
        if self.connections >= MAX_CONNECTIONS:
            return None
        self.connections += 1
        authority = f"127.0.0.1:{self._port}"

        def client() -> Http1Connection | Http2Connection:
            if self._wire == "rest":
                return Http1Connection(authority, self._work.path, self._work.content_type)
            return Http2Connection(authority, self._work.path, self._timeout, reads_headers=True)

        _, connection = await asyncio.get_running_loop().create_connection(client, "127.0.0.1", self._port)
        return connection


async def run_open_load(options: argparse.Namespace) -> OpenResult:
    """Runs it, as the flags say."""
    loop = OpenLoop(workload(options.workload, options.wire), options.wire, options.port, options.timeout)
    lead = min(options.timeout, options.seconds / 2)
    requests = await loop.run(options.rate, options.seconds, lead)
    return OpenResult(
        seconds=options.seconds - lead,
        requests=requests,
        in_time=len(loop.in_time),
        refused=len(loop.refused),
        others=loop.others,
        unsent=loop.unsent,
        in_time_ms=percentiles_ms(loop.in_time) if loop.in_time else {},
        refused_ms=percentiles_ms(loop.refused) if loop.refused else {},
        connections=loop.connections,
    )


def open_load_words(**flags: object) -> Sequence[str]:
    """The command line, with these flags."""
    return [sys.executable, __file__, *(f"--{name}={value}" for name, value in flags.items())]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=sorted(WORKLOADS), default="slow")
    parser.add_argument("--wire", choices=["grpc", "rest"], default="rest")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=positive_float, required=True, help="requests in a second")
    parser.add_argument("--seconds", type=positive_float, default=5.0, help="how long requests are sent")
    parser.add_argument("--timeout", type=positive_float, default=1.0, help="how long a client waits, in seconds")
    return parser.parse_args()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(asdict(runner.run(run_open_load(_arguments())))))
