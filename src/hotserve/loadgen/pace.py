"""When requests begin: as soon as a connection is free, or at times that were fixed before."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

_NANOSECONDS: Final = 1_000_000_000
_DRAWN_AT_ONCE: Final = 4096
NEVER: Final = sys.maxsize


class Pace(Protocol):
    """Says when requests begin. All times are nanoseconds of one clock.

    Attributes:
        begin: When the first request begins.
        measured_from: From when on requests count; those before warm the server up.
        end: No request begins from then on.
        left: How many more requests count at most.
    """

    begin: int
    measured_from: int
    end: int
    left: int

    def take(self, now: int) -> int | None:
        """The time from which a request counts that can begin now; None if none is to begin now.

        Whoever asks has to begin it: each request is handed out once.
        """
        ...

    def next_due(self) -> int:
        """When there will be a request to begin, if it is known; `NEVER` where that depends on answers, or none is."""
        ...

    def coming(self, until: int) -> NDArray[np.int64] | None:
        """When the next requests are due, up to a time, for somebody else to begin them; None for a closed loop.

        Returns:
            Their times, [requests], in order.
        """
        ...

    def took(self, requests: int) -> None:
        """Somebody else has begun requests: the first of those that are coming, or of a closed loop some that count."""
        ...


class ClosedPace:
    """As soon as an answer has come, the next request begins."""

    def __init__(self, begin: int, warmup_seconds: float, seconds: float, requests: int | None) -> None:
        """Fixes the times.

        Args:
            begin: See `Pace`.
            warmup_seconds: How long requests do not count.
            seconds: How long they do.
            requests: At most so many count; None for as many as there is time for.
        """
        self.begin = begin
        self.measured_from = begin + round(warmup_seconds * _NANOSECONDS)
        self.end = self.measured_from + round(seconds * _NANOSECONDS)
        self.left = NEVER if requests is None else requests

    def take(self, now: int) -> int | None:
        if now >= self.end or self.left <= 0:
            return None
        if now >= self.measured_from:
            self.left -= 1
        return now

    def next_due(self) -> int:
        return NEVER

    def coming(self, until: int) -> None:
        return None

    def took(self, requests: int) -> None:
        self.left -= requests


class OpenPace:
    """Requests begin at a rate, whether others have been answered or not."""

    def __init__(
        self,
        begin: int,
        warmup_seconds: float,
        seconds: float,
        requests: int | None,
        *,
        rate: float,
        poisson_seed: int | None,
    ) -> None:
        """Fixes the times.

        Args:
            begin: See `Pace`.
            warmup_seconds: How long requests do not count.
            seconds: How long they do.
            requests: At most so many count; None for as many as there is time for.
            rate: Requests in a second.
            poisson_seed: Of the random gaps of a Poisson process; None for equal gaps.
        """
        self.begin = begin
        self.measured_from = begin + round(warmup_seconds * _NANOSECONDS)
        self.end = self.measured_from + round(seconds * _NANOSECONDS)
        self.left = NEVER if requests is None else requests
        self._drawn = _equal(begin, rate) if poisson_seed is None else _poisson(begin, rate, poisson_seed)
        # Times that were drawn before they are needed, and which of them is the next; it is always there.
        self._dues = next(self._drawn)
        self._next = 0

    def take(self, now: int) -> int | None:
        due = self.next_due()
        if due > now or due is NEVER:
            return None
        self.took(1)
        return due

    def next_due(self) -> int:
        due = int(self._dues[self._next])
        return due if due < self.end and self.left > 0 else NEVER

    def coming(self, until: int) -> NDArray[np.int64]:
        while self._dues[-1] <= until:
            self._dues = np.concatenate((self._dues[self._next :], next(self._drawn)))
            self._next = 0
        last = np.searchsorted(self._dues, min(until + 1, self.end))
        first_counting = max(self._next, int(np.searchsorted(self._dues, self.measured_from)))
        # Those of the warm-up are none of those that are left.
        return self._dues[self._next : min(int(last), first_counting + self.left if self.left > 0 else self._next)]

    def took(self, requests: int) -> None:
        taken = self._dues[self._next : self._next + requests]
        self.left -= len(taken) - int(np.searchsorted(taken, self.measured_from))
        self._next += requests
        if self._next == len(self._dues):
            self._dues, self._next = next(self._drawn), 0


def _equal(begin: int, rate: float) -> Iterator[NDArray[Any]]:
    """Times in order, many at once; there is no last one."""
    number = 0
    while True:
        # From the beginning each time: rounded gaps would add up.
        numbers = np.arange(number, number + _DRAWN_AT_ONCE, dtype=np.int64)
        yield begin + np.rint(numbers * _NANOSECONDS / rate).astype(np.int64)
        number += _DRAWN_AT_ONCE


def _poisson(begin: int, rate: float, seed: int) -> Iterator[NDArray[Any]]:
    """The same, with the gaps of a Poisson process."""
    gaps = np.random.default_rng(seed)
    elapsed = 0.0
    while True:
        times = elapsed + np.cumsum(gaps.exponential(_NANOSECONDS / rate, _DRAWN_AT_ONCE))
        elapsed = float(times[-1])
        yield begin + np.rint(times).astype(np.int64)
