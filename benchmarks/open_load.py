"""An open loop: requests come at a rate, whether earlier ones have been answered or not; what becomes of each.

    python benchmarks/open_load.py --workload=slow --wire=grpc --port=8500 --rate=600 --seconds=5 --timeout=1

Requests come one by one, with the gaps of a Poisson process whose seed is fixed. Each takes a free connection, or a
free stream of gRPC: clients that do not wait for each other. The time of a client begins when its request is due. Every
answer is compared with the right one. Writes one JSON object to standard output.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from load import Checker, WrongAnswerError, histogram_ms, load_work, positive_float, positive_int
from workloads import WORKLOADS, workload

from hotserve.loadgen.compiled_loop import IS_COMPILED
from hotserve.loadgen.histogram import Histogram
from hotserve.loadgen.pace import OpenPace
from hotserve.loadgen.run import Run
from hotserve.loadgen.work import UNSENT

REFUSED = {"rest": ("503",), "grpc": ("UNAVAILABLE", "RESOURCE_EXHAUSTED")}
"""What says that the server is too busy."""

CONNECTIONS = {"rest": 4000, "grpc": 256}
STREAMS = 256
"""How many connections there are at most, and how many calls may be under way on each of those of gRPC."""

BEHIND_SECONDS = 0.005
"""A request that is sent so long after it could be is not the server's delay."""

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
        kinds: How requests have failed -> how many have.
        in_time_ms: Percentile -> milliseconds, of those answered in time; empty if none was.
        refused_ms: The same of those refused.
        connections: How many connections there were.
        behind: How many requests were sent `BEHIND_SECONDS` or more too late, by the fault of this load.
        behind_ms: How late requests were sent by its fault: percentile -> milliseconds.
        client_cpu_seconds: What the load itself used of the processors in that time.

    The last four are empty in results that were kept before they were measured.
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
    behind: int = 0
    behind_ms: dict[str, float] = field(default_factory=dict)
    client_cpu_seconds: float = 0.0
    kinds: dict[str, int] = field(default_factory=dict)


def run_open_load(options: argparse.Namespace) -> OpenResult:
    """Runs it, as the flags say."""
    lead = min(options.timeout, options.seconds / 2)
    # As many as can be under way at once before the oldest is too late.
    streams = STREAMS if options.wire == "grpc" and IS_COMPILED else 1
    most = options.connections or (CONNECTIONS[options.wire] if IS_COMPILED else CONNECTIONS["rest"])
    connections = min(most, math.ceil(2 * options.rate * options.timeout / streams))
    work = workload(options.workload, options.wire)
    if options.path:
        work = replace(work, path=options.path)
    checker = Checker(work)
    load = load_work(work, options.wire, "127.0.0.1", options.port, "", checker, options.timeout)
    run = Run(load, connections, streams=streams)
    run.open()
    pace = OpenPace(time.perf_counter_ns(), lead, options.seconds - lead, None, rate=options.rate, poisson_seed=_SEED)
    outcome = run.go(pace)
    tally = outcome.tally
    if checker.wrong:
        raise WrongAnswerError(checker.wrong)
    refused = Histogram()
    for kind in REFUSED[options.wire]:
        if kind in tally.failures:
            refused.merge(tally.failures[kind].latencies)
    unsent = tally.failures[UNSENT].latencies.count if UNSENT in tally.failures else 0
    return OpenResult(
        seconds=options.seconds - lead,
        requests=tally.requests,
        in_time=tally.good.count,
        refused=refused.count,
        others=tally.failed - refused.count - unsent,
        unsent=unsent,
        in_time_ms=histogram_ms(tally.good),
        refused_ms=histogram_ms(refused),
        connections=connections,
        behind=tally.lateness.above(round(BEHIND_SECONDS * 1e9)),
        behind_ms=histogram_ms(tally.lateness),
        client_cpu_seconds=outcome.cpu_seconds,
        kinds={kind: failures.latencies.count for kind, failures in tally.failures.items()},
    )


def open_load_words(**flags: object) -> Sequence[str]:
    """The command line, with these flags."""
    return [sys.executable, __file__, *(f"--{name}={value}" for name, value in flags.items())]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=sorted(WORKLOADS), default="slow")
    parser.add_argument("--wire", choices=["grpc", "rest"], default="rest")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="", help="what to post to (the workload's own)")
    parser.add_argument("--rate", type=positive_float, required=True, help="requests in a second")
    parser.add_argument("--seconds", type=positive_float, default=5.0, help="how long requests are sent")
    parser.add_argument("--timeout", type=positive_float, default=1.0, help="how long a client waits, in seconds")
    parser.add_argument("--connections", type=positive_int, help="no more than these (REST: 4000, gRPC: 256)")
    return parser.parse_args()


if __name__ == "__main__":
    print(json.dumps(asdict(run_open_load(_arguments()))))
