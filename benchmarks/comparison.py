"""Several servers under the same load, in turns: what disturbs the machine for a while disturbs them alike."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

from digits import pixels, session
from generators import OWN, run_own, run_tool
from load import LoadResult
from measure import RunningServer, ServerCommand, busy_seconds
from workloads import Workload, workload

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
        workload: Which of the workloads it is given.
        generator: What makes the load; see `generators`.
    """

    name: str
    server: ServerCommand
    wire: str
    path: str = ""
    workload: str = "digits"
    generator: str = OWN


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how much.

    Attributes:
        connections: Each of these numbers of connections is measured.
        rounds: How often each contestant has its turn.
        seconds: How long a turn lasts.
        warm_up_seconds: How long the turn before the first one lasts, which does not count.
        rows: Rows in each request.
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
        floor_us: Processor time of one run of the digit model with one row, without a server, in microseconds; one
            value for each round.
        floor_p50_us: The median time that such a run takes, in microseconds; one value for each round.
    """

    turns: Sequence[Turn]
    floor_us: Sequence[float]
    floor_p50_us: Sequence[float]

    def of(self, contestant: str, connections: int) -> Sequence[Turn]:
        """The turns of a contestant with so many connections, by round."""
        return [turn for turn in self.turns if turn.contestant == contestant and turn.connections == connections]


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
    course = Course(settings)
    with ExitStack() as stack:
        for contestant in contestants:
            if contestant.server.name not in course.running:
                say(f"starting {contestant.server.name}")
                course.running[contestant.server.name] = stack.enter_context(RunningServer(contestant.server))
        for connections in settings.connections:
            for contestant in contestants:
                say(f"warm-up: {contestant.name}, {connections} connections")
                course.warm_up(contestant, connections)
        for number in range(settings.rounds):
            floors.append(_floor_us())
            for connections in settings.connections:
                for contestant in contestants:
                    turn = course.turn(contestant, connections, number)
                    say(
                        f"round {number + 1}: {turn.contestant}, {connections} connections: "
                        f"{turn.requests_per_second:.0f} requests/s, {turn.server_cpu_us:.0f} µs of CPU each"
                    )
                    turns.append(turn)
    return Comparison(turns, [cpu for cpu, _ in floors], [p50 for _, p50 in floors])


@dataclass(frozen=True, slots=True)
class Course:
    """What turns are taken on.

    Attributes:
        settings: How long they are.
        running: Name of a server -> the server.
    """

    settings: Settings
    running: dict[str, RunningServer] = field(default_factory=dict)
    _works: dict[tuple[str, str], Workload] = field(default_factory=dict)

    def turn(self, contestant: Contestant, connections: int, number: int) -> Turn:
        """Gives a contestant whose server runs its turn.

        Raises:
            RuntimeError: An answer is wrong, or there is none.
        """
        server = self.running[contestant.server.name]
        work = self._work(contestant)
        start, busy, server_cpu, own_cpu = time.perf_counter(), busy_seconds(), server.cpu_seconds(), _own_cpu_seconds()
        result = self._load(contestant, work, connections)
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

    def warm_up(self, contestant: Contestant, connections: int) -> None:
        """Loads the server of a contestant, and compares every answer with the right one.

        Raises:
            RuntimeError: An answer is wrong, or there is none.
        """
        # Whatever makes the load later, here every answer is compared.
        self._own_load(contestant, connections, self.settings.warm_up_seconds)

    def _work(self, contestant: Contestant) -> Workload:
        key = contestant.workload, contestant.wire
        if key not in self._works:
            self._works[key] = workload(*key, self.settings.rows)
        return self._works[key]

    def _load(self, contestant: Contestant, work: Workload, connections: int) -> LoadResult:
        if contestant.generator == OWN:
            return self._own_load(contestant, connections, self.settings.seconds)
        try:
            return run_tool(
                contestant.generator,
                work,
                path=contestant.path,
                port=self._port(contestant),
                connections=connections,
                seconds=self.settings.seconds,
            )
        except RuntimeError as error:
            raise self._failure(contestant, connections, error) from error

    def _own_load(self, contestant: Contestant, connections: int, seconds: float) -> LoadResult:
        try:
            return run_own(
                contestant.workload,
                wire=contestant.wire,
                path=contestant.path,
                port=self._port(contestant),
                connections=connections,
                rows=self.settings.rows,
                seconds=seconds,
            )
        except RuntimeError as error:
            raise self._failure(contestant, connections, error) from error

    def _port(self, contestant: Contestant) -> int:
        server = self.running[contestant.server.name]
        return server.grpc_port if contestant.wire == "grpc" else server.rest_port

    def _failure(self, contestant: Contestant, connections: int, error: Exception) -> RuntimeError:
        output = self.running[contestant.server.name].output()
        return RuntimeError(
            f"{contestant.name} with {connections} connections: {error}\nThe server has printed:\n{output}"
        )


def _own_cpu_seconds() -> float:
    """Processor time of this process and of the load generators that have ended."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def _floor_us() -> tuple[float, float]:
    """What one bare run costs: processor time, and the median of the time that it takes."""
    model = session()
    inputs = [{"image": image} for image in pixels()]

    def run(times: int) -> list[float]:
        seconds = []
        for number in range(times):
            start = time.perf_counter()
            model.run(None, inputs[number % len(inputs)])
            seconds.append(time.perf_counter() - start)
        return seconds

    run(FLOOR_RUNS // 10)
    start = time.process_time()
    seconds = run(FLOOR_RUNS)
    return 1e6 * (time.process_time() - start) / FLOOR_RUNS, 1e6 * median(seconds)
