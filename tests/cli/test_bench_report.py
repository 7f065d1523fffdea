from __future__ import annotations

from hotserve.cli.bench_report import Measurement, Subject, lines
from hotserve.loadgen.exchange import Request
from hotserve.loadgen.job import Job
from hotserve.loadgen.server import Access
from hotserve.loadgen.tally import Tally
from hotserve.loadgen.target import read_target
from hotserve.loadgen.work import Outcome

REQUESTS = [Request("/v1/models/m:predict", b"{}")]


def report(tally: Tally) -> str:
    job = Job(Access(read_target("http://127.0.0.1:1")), REQUESTS, 1, 1.0, rate=100.0)
    measurement = Measurement(job, 1, Outcome(tally, 1.0, 0.1, 10, 10))
    return "\n".join(lines(Subject("there", "REST", "m", REQUESTS), [measurement]))


def test_a_load_that_falls_behind_itself_says_so_and_how_often() -> None:
    tally = Tally()
    for lateness in (0, 10_000, 20_000_000, 30_000_000):
        tally.good.record(40_000_000)
        tally.lateness.record(lateness)
    assert "fell behind: 2 of 4 requests were sent more than 5 ms after they could have been" in report(tally)


def test_one_that_is_in_time_says_nothing() -> None:
    tally = Tally()
    tally.good.record(1_000_000)
    tally.lateness.record(10_000)
    assert "behind" not in report(tally)
    assert "late" not in report(tally)
