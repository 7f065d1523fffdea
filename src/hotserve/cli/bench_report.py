"""What a bench has measured, as a table and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hotserve.cli.bench_progress import load_text
from hotserve.loadgen.exchange import Request
from hotserve.loadgen.histogram import RELATIVE_ERROR, Histogram
from hotserve.loadgen.job import Job
from hotserve.loadgen.work import Outcome
from hotserve.version import __version__

_PERCENTS = (50.0, 90.0, 99.0, 99.9)
_BUSY = 0.85
_LATE_MS = 1.0
_BEHIND_MS = 5.0


@dataclass(frozen=True, slots=True)
class Subject:
    """What was measured.

    Attributes:
        target: The server.
        wire: Which API.
        model: The model.
        requests: What was sent.
    """

    target: str
    wire: str
    model: str
    requests: Sequence[Request]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of the table.

    Attributes:
        job: The load.
        processes: How many processes made it.
        outcome: What came of it.
        server_cpu_seconds: What the server used of the processors; None where nobody looked.
        server_memory_bytes: Its resident memory at the end; None where nobody looked.
    """

    job: Job
    processes: int
    outcome: Outcome
    server_cpu_seconds: float | None = None
    server_memory_bytes: int | None = None

    @property
    def requests_per_second(self) -> float:
        """How many requests were answered as they should be, in each second."""
        return _ratio(self.outcome.tally.good.count, self.outcome.seconds)

    @property
    def generator_load(self) -> float:
        """What the processes of the load used of one processor each, as a part of the time; the mean of them."""
        return _ratio(self.outcome.cpu_seconds, self.outcome.seconds * self.processes)


def lines(subject: Subject, measurements: Sequence[Measurement]) -> Iterator[str]:
    """The report, for reading."""
    sizes = [len(request.body) for request in subject.requests]
    of_size = f"{sizes[0]} bytes" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)} bytes"
    count = f"{len(sizes)} requests in turns, " if len(sizes) > 1 else "request of "
    yield f"{subject.wire}, {subject.target}, model {subject.model}; {count}{of_size}"
    yield ""
    yield from _table([_heads(measurements), *(_cells(measurement, measurements) for measurement in measurements)])
    failures = [text for measurement in measurements for text in _failures(measurement)]
    if failures:
        yield from ("", "failed:", *failures)
    notes = [text for measurement in measurements for text in _notes(measurement)]
    if notes:
        yield from ("", *notes)


def document(subject: Subject, measurements: Sequence[Measurement]) -> dict[str, Any]:
    """The report, for programs. Times are in milliseconds or seconds, as their names say."""
    return {
        "hotserve": __version__,
        "target": subject.target,
        "wire": subject.wire,
        "model": subject.model,
        "requests": [{"path": request.path, "bytes": len(request.body)} for request in subject.requests],
        "percentile_error": RELATIVE_ERROR,
        "measurements": [_entry(measurement) for measurement in measurements],
    }


def _entry(measurement: Measurement) -> dict[str, Any]:
    job, outcome = measurement.job, measurement.outcome
    tally = outcome.tally
    entry: dict[str, Any] = {
        "connections": job.connections,
        "streams": job.streams,
        "rate": job.rate,
        "processes": measurement.processes,
        "seconds": outcome.seconds,
        "is_stopped": outcome.is_stopped,
        "requests": tally.requests,
        "good": tally.good.count,
        "failed": tally.failed,
        "requests_per_second": measurement.requests_per_second,
        "latency_ms": _latencies(tally.good),
        "failures": [
            {
                "kind": kind,
                "count": failures.latencies.count,
                "first": failures.first_text,
                "latency_ms": _latencies(failures.latencies),
            }
            for kind, failures in sorted(tally.failures.items())
        ],
        "sent_bytes": outcome.sent_bytes,
        "received_bytes": outcome.received_bytes,
        "generator_cpu_us_per_request": _number(_micro(outcome.cpu_seconds, tally.requests)),
        "generator_load": measurement.generator_load,
    }
    if job.rate is not None:
        entry["sent_late_ms"] = _latencies(tally.lateness)
        entry["sent_behind"] = tally.lateness.above(round(_BEHIND_MS * 1e6))
    if measurement.server_cpu_seconds is not None:
        entry["server_cpu_us_per_request"] = _number(_micro(measurement.server_cpu_seconds, tally.requests))
        entry["server_memory_bytes"] = measurement.server_memory_bytes
    return entry


def _latencies(histogram: Histogram) -> dict[str, float | None]:
    values = [*histogram.percentiles(_PERCENTS), histogram.mean]
    names = [*(f"p{percent:g}" for percent in _PERCENTS), "mean"]
    found = {name: _number(value / 1e6) for name, value in zip(names, values, strict=True)}
    found["max"] = histogram.largest / 1e6 if histogram.count else None
    return found


def _heads(measurements: Sequence[Measurement]) -> list[str]:
    heads = ["load", "requests", "failed", "requests/s", *(f"p{percent:g} ms" for percent in _PERCENTS), "max ms"]
    heads += ["sent MB/s", "received MB/s", "generator CPU, µs/request"]
    if _has_server(measurements):
        heads += ["server CPU, µs/request", "server memory, MB"]
    return heads


def _cells(measurement: Measurement, measurements: Sequence[Measurement]) -> list[str]:
    outcome, good = measurement.outcome, measurement.outcome.tally.good
    cells = [
        load_text(measurement.job),
        str(outcome.tally.requests),
        str(outcome.tally.failed),
        f"{measurement.requests_per_second:.0f}"
        if measurement.requests_per_second >= 100
        else f"{measurement.requests_per_second:.1f}",
        *(_milliseconds(value) for value in (*good.percentiles(_PERCENTS), good.largest if good.count else math.nan)),
        f"{_ratio(outcome.sent_bytes, outcome.seconds) / 1e6:.2f}",
        f"{_ratio(outcome.received_bytes, outcome.seconds) / 1e6:.2f}",
        _whole(_micro(outcome.cpu_seconds, outcome.tally.requests)),
    ]
    if _has_server(measurements):
        cells += [
            _whole(_micro(measurement.server_cpu_seconds or 0.0, outcome.tally.requests)),
            f"{(measurement.server_memory_bytes or 0) / 1e6:.0f}",
        ]
    return cells


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first column to the left, all others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()


def _failures(measurement: Measurement) -> Iterator[str]:
    of_a_kind = sorted(measurement.outcome.tally.failures.items(), key=lambda item: -item[1].latencies.count)
    for kind, failures in of_a_kind:
        first = " ".join(failures.first_text.split())
        yield f"  {load_text(measurement.job)}: {failures.latencies.count} x {kind}, first: {first}"


def _notes(measurement: Measurement) -> Iterator[str]:
    outcome, what = measurement.outcome, load_text(measurement.job)
    if outcome.is_stopped:
        yield f"{what}: stopped after {outcome.seconds:.1f} s of {measurement.job.seconds:g} s"
    if measurement.generator_load > _BUSY:
        yield (
            f"{what}: the load generator itself was busy for {measurement.generator_load:.0%} of the time, so that the"
            f" server may be able to do more. Give --processes={measurement.processes + 1}, or run it on another"
            " machine."
        )
    lateness = outcome.tally.lateness
    late = lateness.percentile(99) / 1e6
    behind = lateness.above(round(_BEHIND_MS * 1e6))
    if behind:
        yield (
            f"{what}: the load generator itself fell behind: {behind} of {lateness.count} requests were sent more than"
            f" {_BEHIND_MS:g} ms after they could have been. What they took is not the server's alone."
        )
    elif lateness.count and late > _LATE_MS:
        yield (
            f"{what}: one in a hundred requests was sent {late:.1f} ms late or more, because the load generator got no"
            " processor in time; latencies count from when they were due."
        )


def _has_server(measurements: Sequence[Measurement]) -> bool:
    return any(measurement.server_cpu_seconds is not None for measurement in measurements)


def _ratio(whole: float, part: float) -> float:
    return whole / part if part else 0.0


def _micro(seconds: float, requests: int) -> float:
    return 1e6 * seconds / requests if requests else math.nan


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value


def _whole(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0f}"


def _milliseconds(nanoseconds: float) -> str:
    return "-" if math.isnan(nanoseconds) else f"{nanoseconds / 1e6:.2f}"
