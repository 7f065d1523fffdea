from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from hotserve.errors import Unavailable
from hotserve.loadgen.exchange import Request
from hotserve.loadgen.job import Job, merged, run_job, run_jobs
from hotserve.loadgen.server import Access
from hotserve.loadgen.target import read_target
from hotserve.loadgen.work import Hooks
from support.scripted_server import ScriptedServer, answer

LONG = 60.0


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda number: answer(b"fine")) as running:
        yield running


def job(server: ScriptedServer, connections: int = 3, **options: object) -> Job:
    access = Access(read_target(server.url), timeout_seconds=30)
    return Job(access, [Request("/", b"x")], connections, **{"seconds": LONG, **options})  # type: ignore[arg-type]


def test_a_job_runs_in_this_process(server: ScriptedServer) -> None:
    outcome = run_job(job(server, max_requests=5))
    assert (outcome.tally.good.count, server.connections) == (5, 3)


def test_a_job_is_split_so_that_nothing_is_lost_and_nobody_has_nothing(server: ScriptedServer) -> None:
    parts = job(server, connections=5, max_requests=7, rate=10.0).split(3)
    assert [part.connections for part in parts] == [2, 2, 1]
    assert [part.max_requests for part in parts] == [3, 2, 2]
    assert sum(part.rate or 0 for part in parts) == pytest.approx(10)
    assert len(job(server, connections=2).split(8)) == 2
    assert len(job(server, connections=9, max_requests=1).split(8)) == 1


def test_parts_with_equal_gaps_take_turns(server: ScriptedServer) -> None:
    parts = job(server, connections=2, rate=10.0).split(2)
    assert [part.pace(0).next_due() for part in parts] == [0, 100_000_000]
    first, second = (part.pace(0).next_due() for part in job(server, connections=2, rate=9.0, is_poisson=True).split(2))
    assert first != second


def test_several_processes_do_the_work_of_one(server: ScriptedServer) -> None:
    told: list[int] = []
    measured: list[int] = []
    hooks = Hooks(on_measured=lambda: measured.append(1), on_time=lambda now, requests: told.append(requests))
    outcome = merged(run_jobs(job(server, max_requests=40, warmup_seconds=0.3).split(2), hooks))
    assert (outcome.tally.good.count, outcome.tally.failed) == (40, 0)
    assert outcome.received_bytes >= 40 * len(answer(b"fine"))
    assert server.connections == 3
    assert measured == [1]
    assert told


def test_processes_are_stopped_and_tell_what_they_have_measured(server: ScriptedServer) -> None:
    told: list[int] = []
    hooks = Hooks(should_stop=lambda: bool(told and told[-1]), on_time=lambda now, requests: told.append(requests))
    begin = time.monotonic()
    outcome = merged(run_jobs(job(server).split(2), hooks))
    assert outcome.is_stopped
    assert outcome.tally.good.count > 0
    assert time.monotonic() - begin < LONG


def test_a_process_that_cannot_connect_ends_all_of_them() -> None:
    with ScriptedServer(lambda number: answer(b"fine")) as gone:
        parts = job(gone).split(2)
    with pytest.raises(Unavailable, match="Connection refused"):
        run_jobs(parts, Hooks())
