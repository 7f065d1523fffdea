"""One measurement: what is sent where at which pace, in this process or in several."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Final

from hotserve.errors import ServingError, Unavailable
from hotserve.loadgen.exchange import Request
from hotserve.loadgen.pace import ClosedPace, OpenPace, Pace
from hotserve.loadgen.run import Run
from hotserve.loadgen.server import Access, Server
from hotserve.loadgen.work import Hooks, Judge, Outcome, Work

_TELL_EVERY: Final = 200_000_000
_START_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.05
_SPARE_SECONDS: Final = 10.0
_SEED: Final = 3


@dataclass(frozen=True, slots=True)
class Job:
    """A measurement. Can be handed to other processes.

    Attributes:
        access: How to speak with the server.
        requests: What is sent, in turns.
        connections: How many clients there are; each has one request under way at a time.
        streams: Of gRPC: how many calls may be under way on each connection.
        seconds: How long requests are begun that count.
        warmup_seconds: How long requests are sent before that.
        max_requests: At most so many count; None for as many as there is time for.
        rate: Requests in a second, of an open loop; None for a closed one.
        is_poisson: Whether the requests of an open loop come at random times.
        judge: Says whether answers are right; None where nobody looks.
        part: Which of several parts of a measurement this is, from 0.
        parts: How many parts there are; each has its own share of connections, requests and rate.
    """

    access: Access
    requests: Sequence[Request]
    connections: int
    seconds: float
    warmup_seconds: float = 0.0
    max_requests: int | None = None
    rate: float | None = None
    is_poisson: bool = False
    judge: Judge | None = None
    part: int = 0
    parts: int = 1
    streams: int = 1

    def split(self, parts: int) -> Sequence[Job]:
        """The same work for several processes; none of them gets none."""
        parts = min(parts, self.connections, self.max_requests or self.connections)
        return [
            replace(
                self,
                connections=_share(self.connections, part, parts),
                max_requests=None if self.max_requests is None else _share(self.max_requests, part, parts),
                rate=None if self.rate is None else self.rate / parts,
                part=part,
                parts=parts,
            )
            for part in range(parts)
        ]

    def pace(self, begin: int) -> Pace:
        """When requests begin, on a clock of nanoseconds."""
        if self.rate is None:
            return ClosedPace(begin, self.warmup_seconds, self.seconds, self.max_requests)
        # The parts of equal gaps take turns.
        offset = 0 if self.is_poisson else round(1e9 * self.part / (self.rate * self.parts))
        return OpenPace(
            begin + offset,
            self.warmup_seconds,
            self.seconds,
            self.max_requests,
            rate=self.rate,
            poisson_seed=_SEED + self.part if self.is_poisson else None,
        )


def run_job(job: Job, hooks: Hooks | None = None) -> Outcome:
    """Runs a measurement in this process.

    Raises:
        Unavailable: A connection cannot be opened.
    """
    run = _open(job, hooks)
    return run.go(job.pace(time.perf_counter_ns()))


def run_jobs(jobs: Sequence[Job], hooks: Hooks) -> Sequence[Outcome]:
    """Runs the parts of a measurement, each in a process of its own; all begin at the same time.

    Processes: each ends with its part, and is ended where it does not.

    Args:
        jobs: The parts.
        hooks: Who is asked and told, in this process.

    Raises:
        ServingError: One of the processes cannot open its connections, or has ended.
    """
    context = multiprocessing.get_context("spawn")
    pipes: list[Pipe] = []
    children = []
    try:
        for job in jobs:
            mine, theirs = context.Pipe()
            child = context.Process(target=_work, args=(job, theirs), daemon=True)
            child.start()
            theirs.close()
            pipes.append(mine)
            children.append(child)
        _gather(pipes, hooks, _START_SECONDS + jobs[0].access.timeout_seconds)
        begin = time.perf_counter_ns()
        for pipe in pipes:
            pipe.send(begin)
        return _follow(pipes, jobs[0], hooks, begin)
    finally:
        for child in children:
            child.join(_LOOK_SECONDS if len(pipes) == len(jobs) else 0)
            if child.is_alive():
                child.terminate()
                child.join()
        for pipe in pipes:
            pipe.close()


def merged(outcomes: Sequence[Outcome]) -> Outcome:
    """The parts of a measurement as one."""
    first = outcomes[0]
    for other in outcomes[1:]:
        first.tally.merge(other.tally)
    return Outcome(
        first.tally,
        max(outcome.seconds for outcome in outcomes),
        sum(outcome.cpu_seconds for outcome in outcomes),
        sum(outcome.sent_bytes for outcome in outcomes),
        sum(outcome.received_bytes for outcome in outcomes),
        any(outcome.is_stopped for outcome in outcomes),
    )


def _open(job: Job, hooks: Hooks | None) -> Run:
    work = Work(Server(job.access).connect, job.requests, job.judge, job.access.timeout_seconds)
    run = Run(work, job.connections, hooks, job.streams)
    run.open()
    return run


def _gather(pipes: Sequence[Pipe], hooks: Hooks, seconds: float) -> None:
    """Waits until all processes have opened their connections."""
    until = time.monotonic() + seconds
    waiting = dict(enumerate(pipes))
    while waiting:
        for number in _ready(waiting):
            said = _received(waiting.pop(number))
            if isinstance(said, str):
                raise Unavailable(said)
        if hooks.should_stop() or time.monotonic() > until:
            raise Unavailable("The processes of the load have not all started. Give fewer --processes.")


def _follow(pipes: Sequence[Pipe], job: Job, hooks: Hooks, begin: int) -> Sequence[Outcome]:
    """Waits for the outcomes of all processes, and passes on what the hooks say meanwhile."""
    measured_from = begin + round(job.warmup_seconds * 1e9)
    seconds = job.warmup_seconds + job.seconds + job.access.timeout_seconds + _SPARE_SECONDS
    outcomes: dict[int, Outcome] = {}
    counts = [0] * len(pipes)
    is_measured = is_stopped = False
    while len(outcomes) < len(pipes):
        now = time.perf_counter_ns()
        if not is_measured and now >= measured_from:
            is_measured = True
            hooks.on_measured()
        hooks.on_time(now, sum(counts))
        if not is_stopped and hooks.should_stop():
            is_stopped = True
            for pipe in pipes:
                pipe.send(None)
        if now > begin + seconds * 1e9:
            raise Unavailable("A process of the load does not end.")
        for number in _ready({number: pipe for number, pipe in enumerate(pipes) if number not in outcomes}):
            said = _received(pipes[number])
            if isinstance(said, Outcome):
                outcomes[number] = said
            elif isinstance(said, int):
                counts[number] = said
            else:
                raise Unavailable(str(said))
    return [outcomes[number] for number in range(len(pipes))]


def _ready(pipes: Mapping[int, Pipe]) -> list[int]:
    """The numbers of the pipes that have something to say, after a moment."""
    ready = wait(list(pipes.values()), _LOOK_SECONDS)
    return [number for number, pipe in pipes.items() if pipe in ready]


def _received(pipe: Pipe) -> object:
    try:
        return pipe.recv()
    except (EOFError, OSError) as error:
        raise Unavailable("A process of the load has ended too early. See what it has printed above.") from error


def _work(job: Job, pipe: Pipe) -> None:
    """What a process does: opens the connections, waits for the start, runs, and sends what came of it."""
    # The terminal interrupts all processes at once; this one is told by the one that has started it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    last = 0

    def on_time(now: int, requests: int) -> None:
        nonlocal last
        if now - last >= _TELL_EVERY:
            last = now
            pipe.send(requests)

    try:
        run = _open(job, Hooks(should_stop=pipe.poll, on_time=on_time))
        pipe.send(True)
        begin = pipe.recv()
        pipe.send(run.go(job.pace(begin)))
    except ServingError as error:
        pipe.send(error.message)
    except (EOFError, OSError):
        # The process that has started this one is gone.
        return
    finally:
        pipe.close()


def _share(whole: int, part: int, parts: int) -> int:
    return whole // parts + (part < whole % parts)
