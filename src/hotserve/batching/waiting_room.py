"""What waits for the engine in all lanes together: who is let in, whose time is over, who goes out without an answer.

Each lane has a queue of its own; the bounds are those of all of them. No thread; on one event loop at a time, which is
needed for deadlines only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable

from hotserve.batching.batch_queue import Batch, Closed
from hotserve.batching.deadlines import Deadlines
from hotserve.batching.lane import Lane, QueueBounds, Task, too_late


class WaitingRoom:
    """Follows everybody who waits.

    Attributes:
        requests: How many wait, pieces of requests and those who gather among them.
        input_bytes: How many bytes their inputs have.
    """

    __slots__ = ("_bounds", "_clock", "_deadlines", "input_bytes", "requests")

    def __init__(self, bounds: QueueBounds, clock: Callable[[], float]) -> None:
        """Nobody waits.

        Args:
            bounds: What may.
            clock: Seconds, by which requests have come.
        """
        self._bounds = bounds
        self._clock = clock
        self._deadlines: Deadlines[Task] | None = None
        self.requests = 0
        self.input_bytes = 0

    def adopt(self, loop: asyncio.AbstractEventLoop) -> None:
        """Forgets all who wait on another loop, which has ended; from now on deadlines are watched on this one."""
        self.requests = self.input_bytes = 0
        self._deadlines = Deadlines(loop, self._expire)

    # Coming in.

    def refusal(self, size: int) -> str:
        """Why a request of so many bytes is not let in, because of all that wait; empty where it is."""
        bounds = self._bounds
        if self.requests < bounds.requests and (not self.requests or self.input_bytes + size <= bounds.input_bytes):
            return ""
        return (
            f"The batch scheduling queue to which this task was submitted is full; currently {self.requests} requests"
            f" wait, with {self.input_bytes} bytes. The limits are --max_queued_requests={bounds.requests} and"
            f" --max_queued_bytes={bounds.input_bytes}. Send it again, later."
        )

    def enter(self, task: Task, key: Hashable) -> None:
        """Puts a request into the queue of its lane, in pieces where the rules want it so.

        Args:
            task: The request.
            key: What it must have in common with others to share a run.
        """
        lane = task.lane
        if lane.rules.splits and task.rows > 1:
            task.split(lane.queue.open_rows(key))
        for piece in task.pieces or (task,):
            piece.batch = lane.queue.add(piece, piece.weight, piece.size, key, task.queued)
            self.requests += 1
            self.input_bytes += piece.size

    def watch(self, task: Task) -> None:
        """Sees to it that a request that goes on waiting is told when its time is over."""
        if task.timeout is not None and self._deadlines is not None:
            task.watched = self._deadlines.watch(task, task.timeout - (self._clock() - task.queued))

    # Going out.

    def take(self, lane: Lane, batch: Batch[Task]) -> tuple[Closed, list[Task]]:
        """Takes a batch out of its queue.

        Args:
            lane: Whose queue it is.
            batch: What the queue's `next` has returned.

        Returns:
            Why it takes no further requests; and those of its requests that have to be run: neither is their time over,
            nor have they been answered.
        """
        reason = lane.queue.take(batch)
        lane.refused = None
        now = self._clock()
        expired = []
        for task in batch.tasks:
            task.batch = None
            self.input_bytes -= task.size
            if task.deadline is not None and task.deadline <= now:
                expired.append(task)
        self.requests -= len(batch.tasks)
        # Whoever is told that its time is over goes on at once, and may end others.
        for task in expired:
            self.fail(task, task.expired())
        # Some may have their answers: another piece of the same request has failed.
        return reason, [task for task in batch.tasks if not (task.whole or task).done()]

    def let_out(self, lane: Lane, guests: int, size: int) -> None:
        """So many who have gathered for a lane, with inputs of so many bytes, do not wait any more."""
        lane.guests -= guests
        lane.refused = None
        self.requests -= guests
        self.input_bytes -= size

    def leave(self, task: Task) -> None:
        """Nobody waits for a request any more: it has been answered, or has given up."""
        if task.watched is not None:
            task.watched.pop(task, None)
            task.watched = None
        for piece in task.pieces or (task,):
            if piece.batch is not None:
                piece.lane.queue.remove(piece.batch, piece, piece.weight, piece.size)
                self._forget(piece)

    def fail(self, task: Task, error: BaseException) -> None:
        """Answers a request, which may be a piece of one, with an error; of no effect if it has its answer."""
        whole = task.whole or task
        if not whole.done():
            self.leave(whole)
            whole.set_exception(error)

    def drop(self, lanes: Iterable[Lane], error: Callable[[], BaseException]) -> None:
        """Empties the queues of lanes.

        Args:
            lanes: Which.
            error: Makes what each who waits there is told.
        """
        dropped = []
        for lane in lanes:
            for task in lane.queue.clear():
                self._forget(task)
                dropped.append(task)
        # Whoever is told goes on at once, and may end others.
        for task in dropped:
            self.fail(task, error())

    def _forget(self, task: Task) -> None:
        task.batch = None
        self.requests -= 1
        self.input_bytes -= task.size

    def _expire(self, task: Task) -> None:
        """The deadline of a request has passed."""
        is_queued = any(piece.batch is not None for piece in task.pieces or (task,))
        self.fail(task, task.expired() if is_queued else too_late(task.timeout or 0.0))
