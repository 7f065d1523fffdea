"""A line that shows how far a measurement is, on a terminal."""

from __future__ import annotations

import time
from typing import TextIO

from hotserve.loadgen.job import Job

_EVERY = 100_000_000
_WIDTH = 30


class Progress:
    """Writes the line anew while time goes on; nothing where the output is no terminal."""

    def __init__(self, output: TextIO) -> None:
        """Shows nothing yet.

        Args:
            output: Where to; it is asked whether it is a terminal.
        """
        self._output = output
        self._is_shown = output.isatty()
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
        if not self._is_shown or now - self._last < _EVERY:
            return
        self._last = now
        done = min(1.0, (now - self._begin) / (self._end - self._begin))
        filled = round(done * _WIDTH)
        bar = "#" * filled + "." * (_WIDTH - filled)
        said = f"{requests} requests" if now >= self._warm else "warm-up"
        # Erases to the end of the line: ECMA-48, EL.
        self._output.write(f"\r{self._what} [{bar}] {(now - self._begin) / 1e9:.1f} s, {said}\x1b[K")
        self._output.flush()

    def clear(self) -> None:
        """Takes the line away."""
        if self._is_shown and self._last:
            self._output.write("\r\x1b[K")
            self._output.flush()
            self._last = 0


def load_text(job: Job) -> str:
    """The load of a measurement in words: `16 connections`, `500 requests/s on 64 connections`."""
    connections = f"{job.connections} connection{'s' * (job.connections != 1)}"
    return connections if job.rate is None else f"{job.rate:g} requests/s on {connections}"
