"""What do requests notice of a swap of a large model?

    python benchmarks/bench_swap_latency.py --mebibytes=200 --swaps=5

A small model is asked at half of what the server can answer, from clients that do not wait for each other, while a new
version of a large model takes the place of the old one, again and again: it is loaded and warmed up, takes over, and
the old one is unloaded. Latencies count from the moment at which a request was due, so that a server, or a client, that
is held up hides nothing. Shown are those of requests that were due between swaps and during one, and their ratio: that
of the median of all swaps to the median of all times between two of them.

A swap lasts from the moment at which the new version's folder is there to the END of the old one. Beside each latency
stands how late the load itself has sent requests. Its clients stand for others on other machines: it has a real-time
priority where the system lets it, so that neither the server nor the swap keeps it from a processor. With
--ordinary-load, or where the system does not let it, it competes for processors as the server's threads do, and what
it loses there is in the latencies as well.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import models
import numpy as np
import saved_models
from aims import Aim, aims_table
from generators import run_own
from load import Checker, WrongAnswerError, load_work, positive_float, positive_int
from measure import RunningServer, ServerCommand, busy_seconds, circumstances, stolen_seconds
from numpy.typing import NDArray
from open_load import CONNECTIONS, STREAMS
from report import finish, line
from workloads import workload

from hotserve.loadgen.compiled_loop import IS_COMPILED
from hotserve.loadgen.pace import OpenPace
from hotserve.loadgen.run import Run
from hotserve.loadgen.work import Hooks

PACKAGES = ("hotserve", "onnxruntime", "tensorflow", "numpy", "uvloop")
SMALL, LARGE = "half_plus_two", "large"
POLL_SECONDS = 0.1
MOST_CONNECTIONS = 256

_PAUSE_SECONDS = 1.5
_LONGEST_SECONDS = 3600.0
_TIMEOUT_SECONDS = 10.0
_SWAP_SECONDS = 120.0
_SEED = 5
_REAL_TIME, _ORDINARY = "real-time", "ordinary"
_COLUMNS = (
    "large model",
    "workers",
    "wire",
    "requests/s",
    "swaps of s",
    "between: p50, p99, p99.9, max ms",
    "during: p50, p99, p99.9, max ms",
    "p50, ratio",
    "p99, ratio",
    "sent late, p99 ms: between, during",
    "errors",
)

KINDS: dict[str, Callable[[Path, int], None]] = {
    "onnx-matrices": models.matrices,
    "onnx-table": models.table,
    "saved-model": saved_models.matrices,
}


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of a server.

    Attributes:
        kind: What the large model is.
        workers: How many workers the server has.
        wire: `rest` or `grpc`.
        rate: Requests in a second.
        swap_seconds: How long each swap took.
        between_ms: Percentile -> milliseconds, of the requests between swaps; medians of all times between two.
        during_ms: The same of those during one; medians of all swaps.
        between_late_ms: How late the load has sent requests: percentile -> milliseconds, likewise.
        during_late_ms: The same during swaps.
        p99_of_swaps_ms: The p99 of the requests during each swap.
        p99_of_pauses_ms: The p99 of the requests between each two.
        requests: How many requests there were during swaps.
        refused: How many requests were answered with an error, at any time.
        others_cores: How many cores everything else on the machine kept busy, the load generator included.
        stolen_cores: How many cores the host gave to others while this machine had work for them.
        has_real_time_load: Whether the load took a processor whenever it wanted one.
    """

    kind: str
    workers: int
    wire: str
    rate: float
    swap_seconds: Sequence[float]
    between_ms: dict[str, float]
    during_ms: dict[str, float]
    between_late_ms: dict[str, float]
    during_late_ms: dict[str, float]
    p99_of_swaps_ms: Sequence[float]
    p99_of_pauses_ms: Sequence[float]
    requests: int
    refused: int
    others_cores: float
    stolen_cores: float
    has_real_time_load: bool

    def ratio(self, percentile: str) -> float:
        """How much longer requests take during swaps."""
        return self.during_ms[percentile] / self.between_ms[percentile]


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    options = _parser().parse_args(arguments)
    if options.send:
        _send(options)
        return 0
    where = circumstances(PACKAGES)
    turns = []
    with tempfile.TemporaryDirectory(prefix="hotserve-bench-") as folder:
        models.half_plus_two(Path(folder, SMALL))
        for kind in options.kinds:
            KINDS[kind](Path(folder, kind), options.mebibytes << 20)
        try:
            for kind in options.kinds:
                for workers in options.workers:
                    for wire in options.wires:
                        turns.append(_turn(Path(folder), kind, workers, wire, options))
                        print(turns[-1], file=sys.stderr, flush=True)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
    print(line(_COLUMNS))
    print(line(["---"] + ["---:"] * (len(_COLUMNS) - 1)))
    for turn in turns:
        print(line(_cells(turn)))
    aims = [
        Aim(f"{turn.kind}, workers: {turn.workers}, {turn.wire}: p99 during swaps, ratio", turn.ratio("p99"), 1.5)
        for turn in turns
    ]
    stolen = [turn.stolen_cores for turn in turns]
    notes = [
        f"- {options.mebibytes} MiB, {options.swaps} swaps each.",
        f"- The host gave {median(stolen):.2f} of the machine's cores to others in the median turn,"
        f" {max(stolen):.2f} in the worst: what that delays is nobody's here.",
    ]
    real_time = sum(turn.has_real_time_load for turn in turns)
    notes.append(f"- The load had a real-time priority in {real_time} of {len(turns)} turns.")
    finish(aims_table(aims), notes, turns, where, options.json)
    return 0


def _turn(folder: Path, kind: str, workers: int, wire: str, options: argparse.Namespace) -> Turn:
    base_path = folder / f"{kind}-{workers}-{wire}"
    _publish(folder / kind, base_path, 1)
    config = folder / "models.config"
    places = {SMALL: folder / SMALL, LARGE: base_path}
    entries = "".join(f'config {{ name: "{name}" base_path: "{path}" }}\n' for name, path in places.items())
    config.write_text(f"model_config_list {{ {entries} }}", encoding="utf-8")
    words = (
        *(sys.executable, "-m", "hotserve", "serve", "--host=127.0.0.1", "--port={grpc_port}"),
        *("--rest_api_port={rest_port}", f"--model_config_file={config}", f"--workers={workers}"),
        *(f"--file_system_poll_wait_seconds={POLL_SECONDS}", *options.flags),
    )
    with RunningServer(ServerCommand("hotserve", words)) as server:
        port = server.grpc_port if wire == "grpc" else server.rest_port
        peak = run_own(SMALL, wire=wire, path="", port=port, connections=16, rows=1, seconds=options.seconds)
        rate = options.load * peak.answers / peak.seconds
        file = folder / "latencies.npy"
        send = [f"--send={file}", f"--port={port}", f"--rate={rate}", f"--wire={wire}"]
        send += ["--ordinary-load"] * options.ordinary_load
        busy, stolen, cpu, start = busy_seconds(), stolen_seconds(), server.cpu_seconds(), time.monotonic()
        with subprocess.Popen(
            [sys.executable, __file__, *send], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as sender:
            assert sender.stdout is not None
            begun = sender.stdout.readline()  # it sends
            swaps = _swap(server, folder / kind, base_path, options)
            sender.communicate("stop\n")
        if sender.returncode:
            raise RuntimeError(f"the load has ended; the server has printed:\n{server.output()}")
        took = time.monotonic() - start
        stolen = (stolen_seconds() - stolen) / took
        others = (busy_seconds() - busy - (server.cpu_seconds() - cpu)) / took
    due, seconds, late = np.load(file)
    during = [(due >= begin) & (due <= end) for begin, end in swaps]
    # What was due just before a swap or after it belongs to neither.
    ends = [due[0] + 0.5, *(end + 0.2 for _, end in swaps)]
    begins = [*(begin - 0.1 for begin, _ in swaps), due[-1]]
    between = [(due >= end) & (due <= begin) for end, begin in zip(ends, begins, strict=True)]
    between = [of_it for of_it in between if of_it.any()]
    return Turn(
        kind=kind,
        workers=workers,
        wire=wire,
        rate=rate,
        swap_seconds=[end - begin for begin, end in swaps],
        between_ms=_medians(seconds, between),
        during_ms=_medians(seconds, during),
        between_late_ms=_medians(late, between),
        during_late_ms=_medians(late, during),
        p99_of_swaps_ms=[_percentiles(seconds[of_it])["p99"] for of_it in during],
        p99_of_pauses_ms=[_percentiles(seconds[of_it])["p99"] for of_it in between],
        requests=int(sum(of_it.sum() for of_it in during)),
        refused=int(np.isnan(seconds).sum()),
        others_cores=max(0.0, others - stolen),
        stolen_cores=stolen,
        has_real_time_load=begun.strip() == _REAL_TIME,
    )


def _swap(
    server: RunningServer, prepared: Path, base_path: Path, options: argparse.Namespace
) -> Sequence[tuple[float, float]]:
    """Swaps again and again; returns when each swap began and ended."""
    swaps = []
    with closing(http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)) as connection:
        _look_on(connection, options.seconds)
        for number in range(2, options.swaps + 2):
            begin = time.monotonic()
            _publish(prepared, base_path, number)
            while _states(connection) != {number: "AVAILABLE", number - 1: "END"}:
                if time.monotonic() > begin + _SWAP_SECONDS:
                    raise RuntimeError(f"no swap; the server has printed:\n{server.output()}")
                time.sleep(POLL_SECONDS / 2)
            swaps.append((begin, time.monotonic()))
            _look_on(connection, _PAUSE_SECONDS)
        _look_on(connection, options.seconds)
    return swaps


def _look_on(connection: http.client.HTTPConnection, seconds: float) -> None:
    """Lets time pass in which the server is asked for states as it is during swaps, so that these cost no more then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        _states(connection)
        time.sleep(POLL_SECONDS / 2)


def _publish(prepared: Path, base_path: Path, number: int) -> None:
    """Links a version into place, which is no work for the disk."""
    for source in sorted((prepared / "1").rglob("*")):
        if source.is_file():
            target = base_path / str(number) / source.relative_to(prepared / "1")
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, target)


def _states(connection: http.client.HTTPConnection) -> dict[int, str]:
    """The states of the two newest versions of the large model."""
    connection.request("GET", f"/v1/models/{LARGE}")
    statuses = json.load(connection.getresponse())["model_version_status"]
    states = {int(status["version"]): status["state"] for status in statuses}
    return {number: states[number] for number in sorted(states)[-2:]}


def _send(options: argparse.Namespace) -> None:
    """What the process of the clients does: sends requests until something comes over standard input.

    Writes when each was due and how long it took, NaN for an error, and how late it was sent, in seconds.
    """
    work = workload(SMALL, options.wire)
    checker = Checker(work)
    parts: list[NDArray[np.float64]] = []

    def note(kind: str, dues: NDArray[np.int64], took: NDArray[np.int64], behind: NDArray[np.int64]) -> None:
        parts.append(np.array([dues / 1e9, np.full(len(took), np.nan) if kind else took / 1e9, behind / 1e9]))

    def should_stop() -> bool:
        return bool(select.select([sys.stdin], [], [], 0)[0])

    load = load_work(work, options.wire, "127.0.0.1", options.port, "", checker, _TIMEOUT_SECONDS)
    streams = STREAMS if options.wire == "grpc" and IS_COMPILED else 1
    connections = min(CONNECTIONS[options.wire] if IS_COMPILED else MOST_CONNECTIONS, MOST_CONNECTIONS)
    run = Run(load, connections, Hooks(should_stop, on_ended=note), streams)
    run.open()
    print(_ORDINARY if options.ordinary_load or not _take_real_time() else _REAL_TIME, flush=True)
    run.go(OpenPace(time.perf_counter_ns(), 0, _LONGEST_SECONDS, None, rate=options.rate, poisson_seed=_SEED))
    if checker.wrong:
        raise WrongAnswerError(checker.wrong)
    rows = np.concatenate(parts, axis=1)
    np.save(options.send, rows[:, np.argsort(rows[0])])


def _take_real_time() -> bool:
    """Has this process run whenever it has something to do, whatever else there is; returns whether the system lets it.

    Source: sched(7), SCHED_FIFO.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except (AttributeError, OSError):
        return False
    return True


def _percentiles(seconds: NDArray[np.float64]) -> dict[str, float]:
    names = {"p50": 50, "p99": 99, "p99.9": 99.9, "max": 100}
    return dict(zip(names, (np.nanpercentile(seconds, list(names.values())) * 1e3).tolist(), strict=True))


def _medians(seconds: NDArray[np.float64], parts: Sequence[NDArray[np.bool_]]) -> dict[str, float]:
    """The percentiles of each part of the requests, and of these the medians; of the maximum the largest."""
    of_parts = [_percentiles(seconds[part]) for part in parts]
    middle = {name: median(of_it[name] for of_it in of_parts) for name in of_parts[0]}
    return {**middle, "max": max(of_it["max"] for of_it in of_parts)}


def _cells(turn: Turn) -> Sequence[str]:
    return (
        turn.kind,
        str(turn.workers),
        turn.wire,
        f"{turn.rate:.0f}",
        f"{median(turn.swap_seconds):.2f}",
        ", ".join(f"{value:.2f}" for value in turn.between_ms.values()),
        ", ".join(f"{value:.2f}" for value in turn.during_ms.values()),
        f"{turn.ratio('p50'):.2f}",
        f"{turn.ratio('p99'):.2f}",
        f"{turn.between_late_ms['p99']:.2f}, {turn.during_late_ms['p99']:.2f}",
        str(turn.refused),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), help="large models")
    parser.add_argument("--workers", nargs="+", type=positive_int, default=[1, 2])
    parser.add_argument("--wires", nargs="+", choices=["rest", "grpc"], default=["rest", "grpc"])
    parser.add_argument("--mebibytes", type=positive_int, default=200, help="size of the large model")
    parser.add_argument("--swaps", type=positive_int, default=5)
    parser.add_argument("--load", type=positive_float, default=0.5, help="the load, as a part of the peak")
    parser.add_argument(
        "--seconds", type=positive_float, default=3.0, help="of the peak, and before and after the swaps"
    )
    parser.add_argument(
        "--ordinary-load", action="store_true", help="no real-time priority for the load, though the system lets it"
    )
    parser.add_argument("--flags", nargs="*", default=[], help="more flags of the server")
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--send", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=positive_int, help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=positive_float, help=argparse.SUPPRESS)
    parser.add_argument("--wire", choices=["rest", "grpc"], help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
