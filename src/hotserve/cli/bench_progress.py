"""A line that shows how far a measurement is, on a terminal."""

from __future__ import annotations

import time
from typing import TextIO

from hotserve.cli.progress_line import ProgressLine
from hotserve.loadgen.job import Job

_EVERY = 100_000_000


class Progress:
    """Writes the line anew while time goes on; nothing where the output is no terminal."""

    def __init__(self, output: TextIO) -> None:
        """Shows nothing yet.

        Args:
            output: Where to; it is asked whether it is a terminal.
        """
        self._line = ProgressLine(output)
        self._what = ""
        self._begin = self._warm = self._end = self._last = 0

    def begin(self, job: Job) -> None:
        """A measurement begins."""
        self._what = load_text(job)
        self._begin = time.perf_counter_ns()
        self._warm = self._begin + round(job.warmup_seconds * 1e9)
        self._end = self._warm + round(job.seconds * 1e9)
        self._last = 0

    def show(self, now: int, requests: int) -> None:
        """Shows how far it is.

        Args:
            now: The time, on the clock of `time.perf_counter_ns`.
            requests: How many requests have counted so far.
        """
        if now - self._last < _EVERY:
            return
        self._last = now
        done = (now - self._begin) / (self._end - self._begin)
        said = f"{requests} requests" if now >= self._warm else "warm-up"
        self._line.show(self._what, done, (now - self._begin) / 1e9, said)

    def clear(self) -> None:
        """Takes the line away."""
        self._line.clear()


def load_text(job: Job) -> str:
    """The load of a measurement in words: `16 connections`, `500 requests/s on 64 connections`."""
    connections = f"{job.connections} connection{'s' * (job.connections != 1)}"
    if job.streams > 1:
        connections += f" of {job.streams} streams"
    return connections if job.rate is None else f"{job.rate:g} requests/s on {connections}"
