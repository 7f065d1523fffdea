"""One server after the other, each alone on the machine: started, asked until it answers rightly, loaded, stopped.

Servers that wait their turn would cost the others processor time: some look after their processes all the time.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from comparison import Contestant, Course, Settings, Turn
from digits import session
from load import Checker
from measure import RunningServer
from open_load import OpenResult, open_load_words
from peer_servers import Peer, Serving
from workloads import Arrays, Workload, workload

ANSWER_SECONDS = 60.0
"""How long a server that listens may take until it answers rightly."""

RATE_TIMEOUT_SECONDS = 1.0
"""How long the clients of an open loop wait for an answer."""

RATE_CONNECTIONS = 100
"""The most connections of an open loop. They are opened at once, and some servers let no more than 128 wait."""

KEPT_UP = 0.95
"""The part of the requests of an open loop that has to be answered in time; a server that answers less is not asked
for more."""

_LOOK_SECONDS = 0.2
_FLOOR_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Stage:
    """What is served where.

    Attributes:
        cores: `one` or `all`.
        model: Its name.
    """

    cores: str
    model: str


@dataclass(frozen=True, slots=True)
class StageTurn:
    """A turn, and on which stage it was taken."""

    stage: Stage
    turn: Turn


@dataclass(frozen=True, slots=True)
class Start:
    """What starting a server took, and what it then held.

    Attributes:
        stage: What it served.
        server: Its title.
        round: Which round, from 0.
        ready_seconds: From its start to the first right answer.
        memory_ready: Memory of all of its processes after that answer, in bytes; shared pages count once.
        memory_peak: The most that was seen under load.
        memory_after: The same after all load.
    """

    stage: Stage
    server: str
    round: int
    ready_seconds: float
    memory_ready: int
    memory_peak: int
    memory_after: int


@dataclass(frozen=True, slots=True)
class Rate:
    """An open loop.

    Attributes:
        stage: What was served.
        contestant: Who answered.
        round: Which round, from 0.
        rate: Requests that were sent in a second.
        result: What became of them.
    """

    stage: Stage
    contestant: str
    round: int
    rate: float
    result: OpenResult

    @property
    def kept_up(self) -> bool:
        return self.result.in_time >= KEPT_UP * self.result.requests > 0


@dataclass(frozen=True, slots=True)
class Floor:
    """What a bare run of a model costs, one row, one thread: processor time and median time, in microseconds."""

    model: str
    cpu_us: float
    p50_us: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A server that did not start, or did not answer rightly.

    Attributes:
        stage: What it was to serve.
        server: Its title.
        round: Which round, from 0.
        reason: What happened, in a line.
    """

    stage: Stage
    server: str
    round: int
    reason: str


@dataclass(slots=True)
class Records:
    """All that was measured."""

    turns: list[StageTurn] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    rates: list[Rate] = field(default_factory=list)
    floors: list[Floor] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class OpenLoops:
    """Rates to try, in requests per second, from low to high, and how long each of them lasts."""

    rates: Sequence[float]
    seconds: float


@dataclass(frozen=True, slots=True)
class Visit:
    """What one server has to do in one round.

    Attributes:
        peer: The server.
        serving: What it serves and where.
        stage: The same for the records.
        number: Which round, from 0.
        settings: How much load, for how long.
        loops: Which open loops, after the closed ones; may be none.
    """

    peer: Peer
    serving: Serving
    stage: Stage
    number: int
    settings: Settings
    loops: OpenLoops


def run_peer(visit: Visit, records: Records, say: Callable[[str], None]) -> None:
    """Starts a server, gives all of its lines their turns, and stops it.

    Args:
        visit: What it has to do.
        records: Get all that was measured, and a failure that ended it.
        say: Told what is going on, a line at a time.
    """
    try:
        _run(visit, records, say)
    except RuntimeError as error:
        say(f"  failed: {error}")
        # Without what the server has printed: results are kept, and it is full of the folders of this machine.
        reason = str(error).partition("\n")[0]
        records.failures.append(Failure(visit.stage, visit.peer.title, visit.number, reason))


def _run(visit: Visit, records: Records, say: Callable[[str], None]) -> None:
    stage, number, settings = visit.stage, visit.number, visit.settings
    command = visit.peer.server(visit.serving)
    contestants = visit.peer.contestants(visit.serving, command)
    works = {contestant.name: workload(contestant.workload, contestant.wire) for contestant in contestants}
    with RunningServer(command) as server:
        rest = next(contestant for contestant in contestants if contestant.wire == "rest")
        _until_right(server, rest, works[rest.name])
        ready_seconds, memory_ready = time.perf_counter() - server.started, server.shared_memory_bytes()
        course = Course(settings, {command.name: server})
        with _Peak(server) as peak:
            for contestant in contestants:
                course.warm_up(contestant, max(settings.connections))
        for connections in settings.connections:
            for contestant in contestants:
                turn = course.turn(contestant, connections, number)
                records.turns.append(StageTurn(stage, turn))
                say(
                    f"  {turn.contestant}, {connections} connections: {turn.requests_per_second:.0f} requests/s,"
                    f" p50 {turn.p50_ms:.2f} ms, p99 {turn.p99_ms:.2f} ms, {turn.server_cpu_us:.0f} µs of CPU each"
                )
        memory_after = server.shared_memory_bytes()
        memory_peak = max(peak.bytes, memory_ready, memory_after)
        records.starts.append(
            Start(stage, command.name, number, ready_seconds, memory_ready, memory_peak, memory_after)
        )
        say(f"  ready in {ready_seconds:.2f} s, {memory_after / 1e6:.0f} MB")
        for contestant in contestants:
            records.rates += _rates(server, contestant, visit, say)


def floor(model: str, model_file: Path, inputs: Sequence[Arrays]) -> Floor:
    """Runs a model without a server for half a second."""
    bare = session(model_file)
    feeds = [dict(arrays) for arrays in inputs]
    bare.run(None, feeds[0])
    seconds: list[float] = []
    start, start_cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - start < _FLOOR_SECONDS:
        began = time.perf_counter()
        bare.run(None, feeds[len(seconds) % len(feeds)])
        seconds.append(time.perf_counter() - began)
    cpu = time.process_time() - start_cpu
    return Floor(model, 1e6 * cpu / len(seconds), 1e6 * median(seconds))


def _until_right(server: RunningServer, contestant: Contestant, work: Workload) -> None:
    """Asks until the answer is the right one.

    Raises:
        RuntimeError: It is not, in all of the time that there is.
    """
    deadline = time.monotonic() + ANSWER_SECONDS
    checker = Checker(work)
    while True:
        try:
            wrong = checker(0, _post(server.rest_port, contestant.path or work.path, work))
        except (OSError, http.client.HTTPException) as error:
            wrong = str(error) or type(error).__name__
        if not wrong:
            return
        if server.has_ended or time.monotonic() > deadline:
            raise RuntimeError(f"{contestant.name} has not answered rightly: {wrong}\n{server.output()}")
        time.sleep(0.01)


def _post(port: int, path: str, work: Workload) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("POST", path, work.examples[0].request, {"content-type": work.content_type})
        return connection.getresponse().read()
    finally:
        connection.close()


def _rates(server: RunningServer, contestant: Contestant, visit: Visit, say: Callable[[str], None]) -> Sequence[Rate]:
    port = server.grpc_port if contestant.wire == "grpc" else server.rest_port
    rates = []
    for rate in visit.loops.rates:
        words = open_load_words(
            workload=contestant.workload,
            wire=contestant.wire,
            path=contestant.path,
            port=port,
            rate=rate,
            seconds=visit.loops.seconds,
            timeout=RATE_TIMEOUT_SECONDS,
            connections=RATE_CONNECTIONS,
        )
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{contestant.name}, {rate:g} requests/s: {done.stderr}\n{server.output()}")
        result = OpenResult(**json.loads(done.stdout))
        rates.append(Rate(visit.stage, contestant.name, visit.number, rate, result))
        p99 = f"{result.in_time_ms['p99']:.2f} ms" if result.in_time_ms else "none"
        say(f"  {contestant.name}, {rate:g} requests/s: {result.in_time} of {result.requests} in time, p99 {p99}")
        if not rates[-1].kept_up:
            break
    return rates


class _Peak:
    """Looks at the memory of a server while it is loaded; a context manager.

    Attributes:
        bytes: The most that it has seen.
    """

    def __init__(self, server: RunningServer) -> None:
        self.bytes = 0
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            self.bytes = max(self.bytes, self._server.shared_memory_bytes())
