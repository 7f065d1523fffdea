"""The queue of one signature: requests join batches, batches are taken in order. No thread, and no clock: the time is
passed in.

Requests that cannot share a run, because their inputs have other shapes, have different keys and wait in different
batches. Within a key nothing overtakes; among keys, batches go in the order in which they were opened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Enum):
    """Why a batch takes no further requests."""

    FULL = "full"
    """The next request did not fit, or no other can."""
    IDLE = "idle"
    """The engine was free."""
    TIMEOUT = "timeout"
    """It had waited as long as it may."""
    SHAPE = "shape"
    """As the two before, while requests waited that would have fitted but for their shapes."""


class Batch(Generic[T]):
    """Requests that go in one run.

    Attributes:
        key: What they have in common.
        opened: When the first of them came.
        rows: How many rows they have together.
        size: How many bytes.
        tasks: The requests, in order.
        is_closed: Whether no other may join.
    """

    __slots__ = ("is_closed", "key", "opened", "rows", "size", "tasks")

    def __init__(self, key: Hashable, opened: float) -> None:
        self.key = key
        self.opened = opened
        self.rows = 0
        self.size = 0
        self.tasks: list[T] = []
        self.is_closed = False


class BatchQueue(Generic[T]):
    """Batches that wait to be run."""

    def __init__(self, max_rows: int, max_bytes: int, timeout_seconds: float) -> None:
        """Makes an empty queue.

        Args:
            max_rows: The most rows of a batch; a request with more has one to itself.
            max_bytes: The same in bytes.
            timeout_seconds: How long a batch that is not full waits.
        """
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._timeout = timeout_seconds
        self._batches: deque[Batch[T]] = deque()
        self._open: dict[Hashable, Batch[T]] = {}
        self.tasks = 0

    @property
    def batches(self) -> int:
        """How many batches there are, open ones among them."""
        return len(self._batches)

    def open_rows(self, key: Hashable) -> int:
        """The rows of the open batch of this key; 0 where there is none."""
        batch = self._open.get(key)
        return batch.rows if batch is not None else 0

    def fits(self, rows: int, size: int, key: Hashable) -> bool:
        """Whether a request would join a batch that there is."""
        batch = self._open.get(key)
        return batch is not None and batch.rows + rows <= self._max_rows and batch.size + size <= self._max_bytes

    def add(self, task: T, rows: int, size: int, key: Hashable, now: float) -> Batch[T]:
        """Puts a request into the open batch of its key, or opens one.

        Args:
            task: The request.
            rows: How many rows it has.
            size: How many bytes.
            key: What it must have in common with others to share a run.
            now: The time, in seconds.

        Returns:
            The batch that it is in, for `remove`.
        """
        batch = self._open.get(key)
        if batch is None or batch.rows + rows > self._max_rows or batch.size + size > self._max_bytes:
            if batch is not None:
                batch.is_closed = True
            batch = self._open[key] = Batch(key, now)
            self._batches.append(batch)
        batch.tasks.append(task)
        batch.rows += rows
        batch.size += size
        self.tasks += 1
        if batch.rows >= self._max_rows or batch.size >= self._max_bytes:
            batch.is_closed = True
            del self._open[key]
        return batch

    def next(self, now: float) -> Batch[T] | None:
        """The batch that `take` would give; None where there is none, or all of them wait for more."""
        if not self._timeout:
            return self._batches[0] if self._batches else None
        return next((batch for batch in self._batches if batch.is_closed or self._due(batch) <= now), None)

    def take(self, batch: Batch[T]) -> Closed:
        """Closes a batch and takes it out.

        Args:
            batch: What `next` has returned.

        Returns:
            Why it is closed.
        """
        was_closed = batch.is_closed
        batch.is_closed = True
        if self._batches[0] is batch:
            self._batches.popleft()
        else:
            self._batches.remove(batch)
        if self._open.get(batch.key) is batch:
            del self._open[batch.key]
        self.tasks -= len(batch.tasks)
        if was_closed:
            return Closed.FULL
        if any(other.rows + batch.rows <= self._max_rows for other in self._open.values()):
            return Closed.SHAPE
        return Closed.TIMEOUT if self._timeout else Closed.IDLE

    def due(self) -> float | None:
        """When the next batch will have waited long enough; None where none is open."""
        return min(map(self._due, self._open.values()), default=None)

    def remove(self, batch: Batch[T], task: T, rows: int, size: int) -> None:
        """Takes one request out again, before its batch is taken.

        Args:
            batch: What `add` has returned.
            task: The request; compared by `==`.
            rows: As it was added.
            size: As it was added.
        """
        batch.tasks.remove(task)
        batch.rows -= rows
        batch.size -= size
        self.tasks -= 1
        if not batch.tasks:
            self._batches.remove(batch)
            if self._open.get(batch.key) is batch:
                del self._open[batch.key]

    def stop_joining(self) -> None:
        """From now on every request has a batch to itself; those that are together stay so."""
        self._max_rows = self._max_bytes = 0
        for batch in self._open.values():
            batch.is_closed = True
        self._open.clear()

    def clear(self) -> list[T]:
        """Empties the queue; returns what was in it."""
        tasks = [task for batch in self._batches for task in batch.tasks]
        self._batches.clear()
        self._open.clear()
        self.tasks = 0
        return tasks

    def _due(self, batch: Batch[T]) -> float:
        return batch.opened + self._timeout


def split_rows(rows: int, open_rows: int, max_rows: int) -> list[int]:
    """How a request is split over batches: the first piece fills the open batch, the others have a batch's size.

    Args:
        rows: The rows of the request, at least 1.
        open_rows: The rows of the open batch; 0 where there is none.
        max_rows: The rows of a full batch.

    Returns:
        The rows of each piece; together they are `rows`.

    Source: SplitInputTask in tensorflow_serving/batching/batching_session.cc.
    """
    room = max_rows - open_rows
    first = min(rows, room) if open_rows and room > 0 else min(rows, max_rows)
    pieces = [first]
    left = rows - first
    while left > 0:
        pieces.append(min(left, max_rows))
        left -= pieces[-1]
    return pieces
