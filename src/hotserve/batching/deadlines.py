"""Deadlines of many requests with few timers.

A timer of its own for each request costs more than a small model takes to run, and nearly all of them are never due.
So requests whose deadlines are close together share a timer, and are told a little late. How this differs from the
deadlines of calls and of connections is said in `wires.deadlines`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import ceil
from typing import Generic, TypeVar

T = TypeVar("T")

_NEAR_SECONDS = 5.0
_NEAR_TICK = 0.01
_FAR_TICK = 0.25


class Deadlines(Generic[T]):
    """Calls back for what has not been forgotten by its deadline; on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_due: Callable[[T], None]) -> None:
        """Starts no timer yet.

        Args:
            loop: The loop that the timers are of.
            on_due: Called with what is due.
        """
        self._loop = loop
        self._on_due = on_due
        self._buckets: dict[float, dict[T, None]] = {}

    def watch(self, item: T, seconds: float) -> dict[T, None]:
        """Watches an item.

        Args:
            item: What `on_due` is called with: at the deadline, or up to 10 ms later; up to 250 ms where it is more
                than 5 s away.
            seconds: The time until its deadline.

        Returns:
            Where it is watched; who deletes it there is not called.
        """
        tick = _NEAR_TICK if seconds < _NEAR_SECONDS else _FAR_TICK
        due = ceil((self._loop.time() + seconds) / tick) * tick
        bucket = self._buckets.get(due)
        if bucket is None:
            bucket = self._buckets[due] = {}
            self._loop.call_at(due, self._ring, due)
        bucket[item] = None
        return bucket

    def _ring(self, due: float) -> None:
        bucket = self._buckets.pop(due)
        for item in list(bucket):
            if bucket.pop(item, bucket) is None:
                self._on_due(item)
