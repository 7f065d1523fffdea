"""When requests begin: as soon as a connection is free, or at times that were fixed before."""

from __future__ import annotations

import random
import sys
from array import array
from collections import deque
from collections.abc import Iterator
from typing import Final, Protocol

_NANOSECONDS: Final = 1_000_000_000
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

    def coming(self, until: int) -> array[int] | None:
        """When the next requests are due, up to a time, for somebody else to begin them; None for a closed loop."""
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
        self._times = _equal(begin, rate) if poisson_seed is None else _poisson(begin, rate, poisson_seed)
        self._dues = deque([next(self._times)])  # always has the next one

    def take(self, now: int) -> int | None:
        if self._dues[0] > now or self.next_due() is NEVER:
            return None
        return self._pop()

    def next_due(self) -> int:
        due = self._dues[0]
        return due if due < self.end and self.left > 0 else NEVER

    def coming(self, until: int) -> array[int]:
        while self._dues[-1] <= until:
            self._dues.append(next(self._times))
        dues = array("q")
        left = self.left
        for due in self._dues:
            if due > until or due >= self.end or left <= 0:
                break
            left -= due >= self.measured_from
            dues.append(due)
        return dues

    def took(self, requests: int) -> None:
        for _ in range(requests):
            self._pop()

    def _pop(self) -> int:
        due = self._dues.popleft()
        if not self._dues:
            self._dues.append(next(self._times))
        if due >= self.measured_from:
            self.left -= 1
        return due


def _equal(begin: int, rate: float) -> Iterator[int]:
    number = 0
    while True:
        # From the beginning each time: rounded gaps would add up.
        yield begin + round(number * _NANOSECONDS / rate)
        number += 1


def _poisson(begin: int, rate: float, seed: int) -> Iterator[int]:
    gaps = random.Random(seed)
    due = float(begin)
    while True:
        due += gaps.expovariate(rate) * _NANOSECONDS
        yield round(due)
