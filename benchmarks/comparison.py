"""Several servers under the same load, in turns: what disturbs the machine for a while disturbs them alike."""

from __future__ import annotations

import json
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from digits import pixels, session
from load import LoadResult, load_words
from measure import RunningServer, ServerCommand, busy_seconds

FLOOR_RUNS = 300
"""Bare runs of the model in each round; a tenth of them go before, unmeasured."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One line of the results.

    Attributes:
        name: As the results show it.
        server: Which of the servers.
        wire: `rest` or `grpc`.
        path: What to post to; empty for that of TensorFlow Serving's API.
    """

    name: str
    server: ServerCommand
    wire: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how much.

    Attributes:
        connections: Each of these numbers of connections is measured.
        rounds: How often each contestant has its turn.
        seconds: How long a turn lasts.
        warm_up_seconds: How long the turn before the first one lasts, which does not count.
        rows: Digits in each request.
    """

    connections: Sequence[int]
    rounds: int
    seconds: float
    warm_up_seconds: float
    rows: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What one contestant did in one round.

    Attributes:
        contestant: Its name.
        connections: How many clients there were.
        round: Which round, from 0.
        requests_per_second: Answers in each second.
        p50_ms: The median latency.
        p99_ms: The latency that one in a hundred exceeds.
        server_cpu_us: Processor time of the server for each request, in microseconds.
        client_cpu_us: Processor time of the load generator for each request, in microseconds.
        others_cores: How many cores everything else on the machine kept busy meanwhile.
        answers: How many requests were answered, and compared with the right answer.
    """

    contestant: str
    connections: int
    round: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    server_cpu_us: float
    client_cpu_us: float
    others_cores: float
    answers: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """All turns, and the floor below them.

    Attributes:
        turns: In the order in which they were taken.
        floor_us: Processor time of one run of the model with one row, without a server, in microseconds; one value
            for each round.
    """

    turns: Sequence[Turn]
    floor_us: Sequence[float]


def compare(contestants: Sequence[Contestant], settings: Settings, say: Callable[[str], None]) -> Comparison:
    """Starts the servers and gives each contestant its turns.

    Args:
        contestants: What to compare; several may share a server.
        settings: How long and how much.
        say: Told what is going on, a line at a time.

    Raises:
        RuntimeError: A server does not start, or an answer is wrong.
    """
    turns = []
    floors = []
    with ExitStack() as stack:
        running: dict[str, RunningServer] = {}
        for contestant in contestants:
            if contestant.server.name not in running:
                say(f"starting {contestant.server.name}")
                running[contestant.server.name] = stack.enter_context(RunningServer(contestant.server))
        for connections in settings.connections:
            for contestant in contestants:
                say(f"warm-up: {contestant.name}, {connections} connections")
                _load(contestant, running, connections, settings.rows, settings.warm_up_seconds)
        for number in range(settings.rounds):
            floors.append(_floor_us())
            for connections in settings.connections:
                for contestant in contestants:
                    turn = _turn(contestant, running, connections, number, settings)
                    say(
                        f"round {number + 1}: {turn.contestant}, {connections} connections: "
                        f"{turn.requests_per_second:.0f} requests/s, {turn.server_cpu_us:.0f} µs of CPU each"
                    )
                    turns.append(turn)
    return Comparison(turns, floors)


def _turn(
    contestant: Contestant, running: Mapping[str, RunningServer], connections: int, number: int, settings: Settings
) -> Turn:
    server = running[contestant.server.name]
    start, busy, server_cpu, own_cpu = time.perf_counter(), busy_seconds(), server.cpu_seconds(), _own_cpu_seconds()
    result = _load(contestant, running, connections, settings.rows, settings.seconds)
    server_cpu = server.cpu_seconds() - server_cpu
    others = busy_seconds() - busy - server_cpu - (_own_cpu_seconds() - own_cpu)
    return Turn(
        contestant=contestant.name,
        connections=connections,
        round=number,
        requests_per_second=result.answers / result.seconds,
        p50_ms=result.latency_ms["p50"],
        p99_ms=result.latency_ms["p99"],
        server_cpu_us=1e6 * server_cpu / result.answers,
        client_cpu_us=1e6 * result.client_cpu_seconds / result.answers,
        others_cores=max(0.0, others) / (time.perf_counter() - start),
        answers=result.answers,
    )


def _load(
    contestant: Contestant, running: Mapping[str, RunningServer], connections: int, rows: int, seconds: float
) -> LoadResult:
    server = running[contestant.server.name]
    port = server.grpc_port if contestant.wire == "grpc" else server.rest_port
    words = load_words(
        wire=contestant.wire, port=port, path=contestant.path, connections=connections, rows=rows, seconds=seconds
    )
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        failure = f"{contestant.name} with {connections} connections: {done.stderr.strip()}"
        raise RuntimeError(f"{failure}\nThe server has printed:\n{server.output()}")
    return LoadResult(**json.loads(done.stdout))


def _own_cpu_seconds() -> float:
    """Processor time of this process and of the load generators that have ended."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def _floor_us() -> float:
    model = session()
    inputs = [{"image": image} for image in pixels()]

    def run(times: int) -> None:
        for number in range(times):
            model.run(None, inputs[number % len(inputs)])

    run(FLOOR_RUNS // 10)
    start = time.process_time()
    run(FLOOR_RUNS)
    return 1e6 * (time.process_time() - start) / FLOOR_RUNS
