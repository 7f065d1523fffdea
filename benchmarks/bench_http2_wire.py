"""What does a gRPC call cost in hotserve's own HTTP/2, beside h2corn and grpcio's asyncio server?

The method echoes its message, so that only the wire is measured. The load is h2load (Debian: nghttp2-client), a
process of its own with a client written in C; a large message goes both ways with grpcio's client.

    python benchmarks/bench_http2_wire.py --json=result.json
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
from generators import run_calls
from measure import RunningServer, ServerCommand, circumstances
from peers.echo_grpc import PATH, WIRES

_PEER = Path(__file__).parent / "peers" / "echo_grpc.py"
_MESSAGE = bytes(range(64))
_LARGE_BYTES = 64 << 20
_SHAPES = ((1, 1), (1, 16), (1, 64), (16, 1), (64, 1))


@dataclass(frozen=True, slots=True)
class Turn:
    """One server under one load.

    Attributes:
        wire: Which server.
        connections: How many there were.
        streams: How many calls at once each of them had.
        server_cpu_us: What the server used of the processors for one call.
        calls_per_second: How many it answered.
    """

    wire: str
    connections: int
    streams: int
    server_cpu_us: float
    calls_per_second: float


def command(wire: str) -> ServerCommand:
    words = (sys.executable, str(_PEER), f"--wire={wire}", "--rest_port={rest_port}", "--grpc_port={grpc_port}")
    return ServerCommand(wire, words)


def load(server: RunningServer, connections: int, streams: int, calls: int) -> float:
    """Makes so many calls; returns how many seconds they took."""
    url = f"http://127.0.0.1:{server.grpc_port}{PATH}"
    return run_calls(_MESSAGE, url, connections=connections, streams=streams, calls=calls)


def turn(server: RunningServer, wire: str, connections: int, streams: int, calls: int) -> Turn:
    before = server.cpu_seconds()
    seconds = load(server, connections, streams, calls)
    used = server.cpu_seconds() - before
    return Turn(wire, connections, streams, used / calls * 1e6, calls / seconds)


def large_message(server: RunningServer) -> float:
    """Echoes a large message; MB/s, both ways counted."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    message = bytes(_LARGE_BYTES)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options=options) as channel:
        echo = channel.unary_unary(PATH)
        if echo(_MESSAGE) != _MESSAGE:
            raise SystemExit("the echo is wrong")
        start = time.perf_counter()
        answer = echo(message)
        seconds = time.perf_counter() - start
    if answer != message:
        raise SystemExit("the large echo is wrong")
    return 2 * _LARGE_BYTES / seconds / 1e6


def main(arguments: argparse.Namespace) -> None:
    if shutil.which("h2load") is None:
        raise SystemExit("h2load is missing. Install nghttp2 (Debian: apt-get install nghttp2-client).")
    turns: list[Turn] = []
    large: dict[str, list[float]] = {wire: [] for wire in arguments.wires}
    for _ in range(arguments.rounds):
        for wire in arguments.wires:
            with RunningServer(command(wire)) as server:
                load(server, 1, 1, 200)
                for connections, streams in _SHAPES:
                    turns.append(turn(server, wire, connections, streams, arguments.calls))
                large[wire].append(large_message(server))
    report(turns, large, arguments.wires)
    if arguments.json:
        document = {"turns": [asdict(one) for one in turns], "large_mb_per_second": large}
        Path(arguments.json).write_text(json.dumps(document, indent=1))


def report(turns: Sequence[Turn], large: dict[str, list[float]], wires: Sequence[str]) -> None:
    where = circumstances(["h2corn", "grpcio", "uvloop", "hpack"])
    print(f"{where.date}, {where.machine}, commit {where.commit}, {dict(where.versions)}\n")
    print("| connections x streams | wire | server CPU, µs/call | ratio | calls/s |")
    print("|---|---|---|---|---|")
    for connections, streams in _SHAPES:
        reference = 0.0
        for wire in wires:
            of_it = [one for one in turns if (one.wire, one.connections, one.streams) == (wire, connections, streams)]
            cpu = statistics.median(one.server_cpu_us for one in of_it)
            speed = statistics.median(one.calls_per_second for one in of_it)
            reference = reference or cpu or math.nan  # the clock ticks in steps of 10 ms
            print(f"| {connections} x {streams} | {wire} | {cpu:.1f} | {cpu / reference:.2f} | {speed:.0f} |")
    print("\n| wire | 64 MiB each way, MB/s |\n|---|---|")
    for wire in wires:
        print(f"| {wire} | {statistics.median(large[wire]):.0f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wires", nargs="+", choices=WIRES, default=list(WIRES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--json", default="")
    main(parser.parse_args())
