"""What became of the requests of one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hotserve.loadgen.histogram import Histogram

_SHOWN_CHARACTERS = 300


@dataclass(slots=True)
class Failures:
    """Requests that failed in the same way.

    Attributes:
        first_text: What was said of the first of them.
        latencies: Nanoseconds until each of them had failed.
    """

    first_text: str
    latencies: Histogram = field(default_factory=Histogram)


class Tally:
    """Counts requests, and how long they took.

    Attributes:
        good: Nanoseconds of each request that was answered as it should be.
        lateness: Nanoseconds between when a request should have been sent and when it was, though a connection was
            free; only of an open loop.
        failures: How requests failed -> those that did.
    """

    def __init__(self) -> None:
        self.good = Histogram()
        self.lateness = Histogram()
        self._failures: dict[str, Failures] = {}

    @property
    def failures(self) -> Mapping[str, Failures]:
        return self._failures

    @property
    def failed(self) -> int:
        """How many requests failed."""
        return sum(of_a_kind.latencies.count for of_a_kind in self._failures.values())

    @property
    def requests(self) -> int:
        """How many requests there were."""
        return self.good.count + self.failed

    def fail(self, kind: str, text: str, nanoseconds: int) -> None:
        """Takes in a request that has failed.

        Args:
            kind: A status, or another word for the kind of failure.
            text: What is said of it; kept of the first of its kind.
            nanoseconds: How long it took.
        """
        self._of_a_kind(kind, text).latencies.record(nanoseconds)

    def fail_all(self, kind: str, text: str, nanoseconds: NDArray[np.int64]) -> None:
        """Takes in requests that have failed in the same way, as `fail` does each of them."""
        self._of_a_kind(kind, text).latencies.record_all(nanoseconds)

    def _of_a_kind(self, kind: str, text: str) -> Failures:
        of_a_kind = self._failures.get(kind)
        if of_a_kind is None:
            of_a_kind = self._failures[kind] = Failures(text[:_SHOWN_CHARACTERS])
        return of_a_kind

    def merge(self, other: Tally) -> None:
        """Takes in all of another one."""
        self.good.merge(other.good)
        self.lateness.merge(other.lateness)
        for kind, failures in other.failures.items():
            mine = self._failures.setdefault(kind, Failures(failures.first_text))
            mine.latencies.merge(failures.latencies)
