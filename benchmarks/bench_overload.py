"""What becomes of requests when three times as many come as the server can answer?

    python benchmarks/bench_overload.py --json=result.json

First a closed loop finds the peak: what the server answers in a second when clients wait for each other. Then an open
loop sends a multiple of that, from clients that each wait for a second (over gRPC that is the call's deadline, over
REST the server's `--rest_api_timeout_in_ms`). Told is how much of the peak is still answered in time, what becomes of
the rest, how long either takes, and what the server's memory does; and how late the load itself has sent requests,
which is not the server's delay. The same clients make both loops.

The model `slow` takes ten milliseconds for one number, so that the engine is what is short. With `--model=digits` it
is the reading and writing of requests, and the load takes a core for itself; with `--model=half_plus_two` it is nothing
else. An open loop needs as many connections and streams as there are requests before the oldest is too late: where it
has fewer, requests wait in the client, where no server can refuse them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import models
from aims import Aim, aims_table
from bench_digits_against_fastapi import HOTSERVE
from generators import run_own
from load import positive_float, positive_int
from measure import RunningServer, ServerCommand, busy_seconds, circumstances
from open_load import OpenResult, open_load_words
from report import finish, line

PACKAGES = ("hotserve", "onnxruntime", "numpy", "uvloop")
_LOOK_SECONDS = 0.05
_COLUMNS = (
    "wire",
    "peak/s",
    "sent/s",
    "in time/s",
    "of the peak",
    "refused",
    "otherwise",
    "in time: p50, p99 ms",
    "refused: p50, p99 ms",
    "sent late: p99 ms",
    "memory before, at most MB",
)


@dataclass(frozen=True, slots=True)
class Turn:
    """One overload.

    Attributes:
        wire: `rest` or `grpc`.
        peak: Answers in a second of the closed loop just before.
        rate: Requests in a second of the open loop.
        result: What became of them.
        memory_before: Resident memory of the server before the overload, in bytes.
        memory_most: The most that it had meanwhile.
        others_cores: How many cores everything else on the machine kept busy, the load generator included.
    """

    wire: str
    peak: float
    rate: float
    result: OpenResult
    memory_before: int
    memory_most: int
    others_cores: float

    @property
    def share(self) -> float:
        """What is answered in time, as a part of the peak."""
        return self.result.in_time / self.result.seconds / self.peak


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    options = _parser().parse_args(arguments)
    where = circumstances(PACKAGES)
    turns = []
    with tempfile.TemporaryDirectory(prefix="hotserve-bench-") as folder:
        words = tuple(HOTSERVE.words)
        if options.model == "slow":
            base_path = Path(folder, "slow")
            models.slow(base_path, options.layers)
            words = (*words[:-2], "--model_name=slow", f"--model_base_path={base_path}")
        elif options.model == "half_plus_two":
            base_path = Path(folder, "half_plus_two")
            models.half_plus_two(base_path)
            words = (*words[:-2], "--model_name=half_plus_two", f"--model_base_path={base_path}")
        words += (f"--rest_api_timeout_in_ms={round(options.timeout * 1e3)}", *options.flags)
        try:
            with RunningServer(ServerCommand("hotserve", words)) as server:
                for number in range(options.rounds):
                    for wire in options.wires:
                        turns.append(_turn(server, wire, options))
                        _say(f"round {number + 1}, {wire}: {turns[-1].share:.2f} of the peak in time")
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
    print(line(_COLUMNS))
    print(line(["---"] + ["---:"] * (len(_COLUMNS) - 1)))
    aims = []
    for wire in options.wires:
        of_it = [turn for turn in turns if turn.wire == wire]
        print(line(_cells(of_it)))
        aims.append(Aim(f"{wire}: share of the peak that is answered in time", _middle(of_it).share, 0.9, True))
        rest = median(turn.result.others / max(1, turn.result.requests - turn.result.in_time) for turn in of_it)
        aims.append(Aim(f"{wire}: part of the rest that is not refused with 503 or UNAVAILABLE", rest, 0.01))
    notes = [
        f"- {options.rounds} rounds of {options.seconds:g} s, at {options.times:g} times the peak; clients wait for"
        f" {options.timeout:g} s. What comes in the first one does not count. Shown is the round with the median"
        " share.",
    ]
    finish(aims_table(aims), notes, turns, where, options.json)
    return 0


def _turn(server: RunningServer, wire: str, options: argparse.Namespace) -> Turn:
    port = server.grpc_port if wire == "grpc" else server.rest_port
    closed = run_own(
        options.model, wire=wire, path="", port=port, connections=options.connections, rows=1, seconds=options.seconds
    )
    peak = closed.answers / closed.seconds
    before, most = server.memory_bytes(), 0
    start, busy, cpu = time.perf_counter(), busy_seconds(), server.cpu_seconds()
    rate = options.times * peak
    words = open_load_words(
        workload=options.model, wire=wire, port=port, rate=rate, seconds=options.seconds, timeout=options.timeout
    )
    if options.open_connections:
        words = [*words, f"--connections={options.open_connections}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as load:
        while load.poll() is None:
            most = max(most, server.memory_bytes())
            time.sleep(_LOOK_SECONDS)
        output, errors = load.communicate()
    if load.returncode != 0:
        raise RuntimeError(f"{wire}: {errors}\nThe server has printed:\n{server.output()}")
    result = OpenResult(**json.loads(output))
    others = (busy_seconds() - busy - (server.cpu_seconds() - cpu)) / (time.perf_counter() - start)
    return Turn(wire, peak, rate, result, before, max(most, before), max(0.0, others))


def _middle(turns: Sequence[Turn]) -> Turn:
    """The turn with the median share."""
    return sorted(turns, key=lambda turn: turn.share)[len(turns) // 2]


def _cells(turns: Sequence[Turn]) -> Sequence[str]:
    turn = _middle(turns)
    result = turn.result
    return (
        turn.wire,
        f"{turn.peak:.0f}",
        f"{result.requests / result.seconds:.0f}",
        f"{result.in_time / result.seconds:.0f}",
        f"{turn.share:.2f}",
        f"{result.refused / result.requests:.0%}",
        f"{(result.others + result.unsent) / result.requests:.0%}",
        _latencies(result.in_time_ms),
        _latencies(result.refused_ms),
        f"{result.behind_ms['p99']:.1f}" if result.behind_ms else "none",
        f"{turn.memory_before / 1e6:.0f}, {turn.memory_most / 1e6:.0f}",
    )


def _latencies(latencies: dict[str, float]) -> str:
    return f"{latencies['p50']:.1f}, {latencies['p99']:.1f}" if latencies else "none"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["slow", "digits", "half_plus_two"], default="slow")
    parser.add_argument("--wires", nargs="+", choices=["grpc", "rest"], default=["grpc", "rest"])
    parser.add_argument("--times", type=positive_float, default=3.0, help="the load, as a multiple of the peak")
    parser.add_argument("--seconds", type=positive_float, default=5.0, help="how long each loop lasts")
    parser.add_argument("--timeout", type=positive_float, default=1.0, help="how long a client waits, in seconds")
    parser.add_argument("--connections", type=positive_int, default=16, help="of the closed loop")
    parser.add_argument("--open-connections", type=positive_int, help="of the open loop (REST: 4000, gRPC: 256)")
    parser.add_argument("--layers", type=positive_int, default=32, help="how much the slow model calculates")
    parser.add_argument("--rounds", type=positive_int, default=3)
    parser.add_argument("--flags", nargs="*", default=[], help="more flags of the server")
    parser.add_argument("--json", type=Path, help="file for every single turn")
    return parser


if __name__ == "__main__":
    sys.exit(main())
