"""Do `hotserve bench`, wrk and h2load tell the same of a server?

    python benchmarks/bench_generators.py --rounds=15 --json=result.json

wrk (REST) and h2load (gRPC) are written in C; Debian: wrk, nghttp2-client. They and `hotserve bench` have turns against
the same server with the same body and the same number of connections. Each figure is the median over the rounds of the
ratio within a round, so that what slows the machine down for a while cancels out.

With `--delay=0.02` the server is one that answers after so many seconds and costs next to nothing
(peers/delayed_answers.py): then nobody waits for a processor, and the figures compare how the generators count and
measure, also on a machine that does other things.

`--model=half_plus_two` has a model that costs nothing: then what the generators cost shows most.

The lines with a pause are the client of `hotserve bench` that does nothing for so long before each call: what a client
that costs more does to the server's own processor time per call, with the same bytes.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from aims import Aim, aims_table
from digits import MODEL_FILE
from generators import TOOLS, run_tool
from load import positive_float, positive_int
from made_models import made_model
from measure import RunningServer, ServerCommand, busy_seconds, circumstances
from report import finish, line
from workloads import workload

from hotserve.loadgen.connection import Connection
from hotserve.loadgen.exchange import Request
from hotserve.loadgen.pace import ClosedPace
from hotserve.loadgen.run import Run
from hotserve.loadgen.server import Access, Server
from hotserve.loadgen.target import read_target
from hotserve.loadgen.work import Work

DELAYED_FILE = Path(__file__).parent / "peers" / "delayed_answers.py"
BENCH = "hotserve bench"
MODELS = ("digits", "half_plus_two")
PAUSES_US = (50, 150)
WITHIN = 0.05

_COLUMNS = ("wire", "connections", "generator", "requests/s", "p50 ms", "server CPU, µs", "own CPU, µs")
_RATIOS = ("requests/s, ratio", "p50, ratio", "server CPU, ratio")


@dataclass(frozen=True, slots=True)
class Turn:
    """What one generator saw in one round.

    Attributes:
        wire: `rest` or `grpc`.
        connections: How many there were.
        generator: Its name.
        round: Which round, from 0.
        requests_per_second: Answers in each second.
        p50_ms: The median latency.
        server_cpu_us: Processor time of the server for each request.
        own_cpu_us: Processor time of the generator for each request.
        others_cores: How many cores everything else on the machine kept busy meanwhile.
    """

    wire: str
    connections: int
    generator: str
    round: int
    requests_per_second: float
    p50_ms: float
    server_cpu_us: float
    own_cpu_us: float
    others_cores: float


class _Generators:
    """The generators, in front of one server."""

    def __init__(self, server: RunningServer, model: str, folder: Path, seconds: float) -> None:
        self._server = server
        self._model = model
        self._folder = folder
        self._seconds = seconds
        works = {wire: workload(model, wire) for wire in TOOLS}
        # One body for all of them: h2load knows no more.
        self._works = {wire: replace(work, examples=work.examples[:1]) for wire, work in works.items()}
        for wire, work in self._works.items():
            self._file(wire).write_bytes(work.examples[0].request)

    def turn(self, wire: str, connections: int, generator: str, number: int) -> Turn:
        begin, busy, before = time.perf_counter(), busy_seconds(), self._server.cpu_seconds()
        if generator == BENCH:
            rate, p50, cpu, answers = self._bench(wire, connections)
        elif generator in TOOLS.values():
            rate, p50, cpu, answers = self._tool(generator, wire, connections)
        else:
            rate, p50, cpu, answers = self._pausing(wire, connections, int(generator.split()[-2]))
        used = self._server.cpu_seconds() - before
        others = max(0.0, busy_seconds() - busy - used - cpu) / (time.perf_counter() - begin)
        return Turn(wire, connections, generator, number, rate, p50, 1e6 * used / answers, 1e6 * cpu / answers, others)

    def _tool(self, tool: str, wire: str, connections: int) -> tuple[float, float, float, int]:
        work = self._works[wire]
        result = run_tool(tool, work, path="", port=self._port(wire), connections=connections, seconds=self._seconds)
        return result.answers / result.seconds, result.latency_ms["p50"], result.client_cpu_seconds, result.answers

    def _bench(self, wire: str, connections: int) -> tuple[float, float, float, int]:
        result = self._folder / "result.json"
        words = [sys.executable, "-m", "hotserve", "bench", self._target(wire), f"--model={self._model}"]
        words += [f"--data={self._file(wire)}", f"--connections={connections}", f"--seconds={self._seconds}"]
        done = subprocess.run([*words, "--warmup-seconds=0", f"--json={result}"], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{done.stderr}{done.stdout}\nThe server has printed:\n{self._server.output()}")
        (measured,) = json.loads(result.read_text())["measurements"]
        answers = measured["requests"]
        cpu = measured["generator_cpu_us_per_request"] * answers / 1e6
        return measured["requests_per_second"], measured["latency_ms"]["p50"], cpu, answers

    def _pausing(self, wire: str, connections: int, microseconds: int) -> tuple[float, float, float, int]:
        work = self._works[wire]
        server = Server(Access(read_target(self._target(wire))))
        requests = [Request(work.path, work.examples[0].request, work.content_type)]
        run = Run(Work(lambda: _Pausing(server.connect(), microseconds * 1e-6), requests), connections)  # type: ignore[arg-type,return-value]
        run.open()
        outcome = run.go(ClosedPace(time.perf_counter_ns(), 0, self._seconds, None))
        good = outcome.tally.good
        return good.count / outcome.seconds, good.percentile(50) / 1e6, outcome.cpu_seconds, good.count

    def _file(self, wire: str) -> Path:
        return self._folder / ("body.json" if wire == "rest" else "request.pb")

    def _port(self, wire: str) -> int:
        return self._server.rest_port if wire == "rest" else self._server.grpc_port

    def _target(self, wire: str) -> str:
        return f"http://127.0.0.1:{self._port(wire)}" if wire == "rest" else f"127.0.0.1:{self._port(wire)}"


class _Pausing:
    """A connection that does nothing for a while before each request, and keeps its processor busy meanwhile."""

    def __init__(self, connection: Connection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds

    def begin(self, request: Request) -> None:
        until = time.perf_counter() + self._seconds
        while time.perf_counter() < until:
            pass
        self._connection.begin(request)

    def repeated(self, requests: Sequence[Request]) -> None:
        """Nobody else can send them in its place, who would make no pause."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    options = _parser().parse_args(arguments)
    missing = [TOOLS[wire] for wire in options.wires if shutil.which(TOOLS[wire]) is None]
    if missing:
        print(f"{' and '.join(missing)} missing. Debian: apt-get install wrk nghttp2-client.", file=sys.stderr)
        return 1
    where = circumstances(("hotserve", "uvloop", "numpy", "onnxruntime"))
    turns: list[Turn] = []
    try:
        with (
            tempfile.TemporaryDirectory(prefix="hotserve-bench-") as folder,
            RunningServer(_server(options.model, options.delay)) as server,
        ):
            generators = _Generators(server, options.model, Path(folder), options.seconds)
            for number in range(options.rounds):
                for wire, connections, generator in _lines(options):
                    turns.append(generators.turn(wire, connections, generator, number))
                print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(line((*_COLUMNS, *_RATIOS)))
    print(line(["---"] * 3 + ["---:"] * (len(_COLUMNS) - 3 + len(_RATIOS))))
    aims: list[Aim] = []
    for wire, connections, generator in _lines(options):
        found = _ratios(turns, wire, connections, generator)
        print(line(_cells(turns, wire, connections, generator, found)))
        if generator == BENCH:
            aims += [
                Aim(f"{wire}, {connections} connections: {name} beside {TOOLS[wire]}, apart", abs(ratio - 1), WITHIN)
                for name, ratio in zip(_RATIOS[:2], found[:2], strict=True)
            ]
    notes = [
        f"- {options.model}, {options.rounds} rounds of {options.seconds:g} s for each line. What `hotserve bench` does"
        " before and after the load counts as something else on the machine."
    ]
    finish(aims_table(aims), notes, turns, where, options.json)
    return 0


def _server(model: str, delay: float | None) -> ServerCommand:
    if delay is None:
        base_path = MODEL_FILE.parent.parent if model == "digits" else made_model(model)
        words = (sys.executable, "-m", "hotserve", "serve", "--host=127.0.0.1")
        ports = ("--port={grpc_port}", "--rest_api_port={rest_port}")
        return ServerCommand("hotserve", (*words, *ports, f"--model_name={model}", f"--model_base_path={base_path}"))
    ports = ("--rest_port={rest_port}", "--grpc_port={grpc_port}")
    return ServerCommand("delayed answers", (sys.executable, str(DELAYED_FILE), *ports, f"--delay={delay}"))


def _lines(options: argparse.Namespace) -> Sequence[tuple[str, int, str]]:
    lines = []
    for wire in options.wires:
        for connections in options.connections:
            lines += [(wire, connections, generator) for generator in (TOOLS[wire], BENCH)]
            if connections == 1 and options.delay is None:
                lines += [(wire, 1, f"a pause of {pause} µs") for pause in PAUSES_US]
    return lines


def _of(turns: Sequence[Turn], wire: str, connections: int, generator: str) -> Sequence[Turn]:
    return [turn for turn in turns if (turn.wire, turn.connections, turn.generator) == (wire, connections, generator)]


def _ratios(turns: Sequence[Turn], wire: str, connections: int, generator: str) -> Sequence[float]:
    """Of requests/s, p50 and server CPU, against the generator in C; medians of the rounds."""
    pairs = list(zip(_of(turns, wire, connections, generator), _of(turns, wire, connections, TOOLS[wire]), strict=True))
    figures: Sequence[Callable[[Turn], float]] = (
        lambda turn: turn.requests_per_second,
        lambda turn: turn.p50_ms,
        lambda turn: turn.server_cpu_us,
    )
    # The system counts processor time in steps, of which there may have been none.
    return [median(figure(turn) / (figure(other) or math.nan) for turn, other in pairs) for figure in figures]


def _cells(
    turns: Sequence[Turn], wire: str, connections: int, generator: str, ratios: Sequence[float]
) -> Sequence[str]:
    of_it = _of(turns, wire, connections, generator)
    return (
        wire,
        str(connections),
        generator,
        f"{median(turn.requests_per_second for turn in of_it):.0f}",
        f"{median(turn.p50_ms for turn in of_it):.2f}",
        f"{median(turn.server_cpu_us for turn in of_it):.0f}",
        f"{median(turn.own_cpu_us for turn in of_it):.0f}",
        *(f"{ratio:.2f}" for ratio in ratios),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wires", nargs="+", choices=list(TOOLS), default=list(TOOLS))
    parser.add_argument("--connections", nargs="+", type=positive_int, default=[1, 16, 64])
    parser.add_argument("--model", choices=MODELS, default="digits", help="what the server runs")
    parser.add_argument("--delay", type=positive_float, help="a server that answers after so many seconds")
    parser.add_argument("--rounds", type=positive_int, default=9)
    parser.add_argument("--seconds", type=positive_float, default=1.0, help="how long each turn lasts; wrk: whole ones")
    parser.add_argument("--json", type=Path, help="file for every single turn")
    return parser


if __name__ == "__main__":
    sys.exit(main())
