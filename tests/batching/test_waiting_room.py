from __future__ import annotations

import asyncio

import numpy as np
import pytest

from hotserve.batching.lane import Lane, QueueBounds, Task
from hotserve.batching.options import NATURAL, BatchingOptions, BatchRules
from hotserve.batching.waiting_room import WaitingRoom
from hotserve.core.handle import VersionHandle
from hotserve.core.ids import ServableId
from hotserve.errors import DeadlineExceeded, Unavailable
from hotserve.tensors import DEFAULT_SIGNATURE
from hotserve.testing import FakeClock
from support.in_process import adder


class Waiters:
    """A room, a lane, and requests for it."""

    def __init__(self, rules: BatchRules = NATURAL, bounds: QueueBounds | None = None) -> None:
        servable = adder(1)
        self.clock = FakeClock()
        self.room = WaitingRoom(bounds or QueueBounds(), self.clock)
        self.handle = VersionHandle(ServableId("m", 1), servable, lambda _: None)
        signature = servable.signatures[DEFAULT_SIGNATURE]
        self.lane = Lane(self.handle.id, DEFAULT_SIGNATURE, signature, ("y",), rules, "toy")

    def enter(self, rows: int = 1, timeout: float | None = None) -> Task:
        lease = self.handle.acquire()
        assert lease is not None
        inputs = {"x": np.zeros(rows, np.float32)}
        task = Task(self.lane, lease, inputs, rows, rows, 4 * rows, "Predict", self.clock(), timeout, self.room.leave)
        self.room.enter(task, None)
        return task

    @property
    def waiting(self) -> tuple[int, int]:
        return self.room.requests, self.room.input_bytes

    def take(self) -> list[Task]:
        batch = self.lane.queue.next(self.clock())
        assert batch is not None
        return self.room.take(self.lane, batch)[1]


def test_what_waits_is_counted_until_it_is_taken() -> None:
    waiters = Waiters()
    tasks = [waiters.enter(), waiters.enter(3)]
    assert waiters.waiting == (2, 16)
    assert waiters.take() == tasks
    assert waiters.waiting == (0, 0)


@pytest.mark.parametrize("how", ["cancelled", "failed", "left"])
def test_who_gives_up_or_has_failed_does_not_wait_any_more(how: str) -> None:
    waiters = Waiters()
    gone, stays = waiters.enter(5), waiters.enter(2)
    if how == "cancelled":
        gone.cancel()
    elif how == "failed":
        waiters.room.fail(gone, Unavailable("no"))
    else:
        waiters.room.leave(gone)
    assert waiters.waiting == (1, 8)
    assert waiters.take() == [stays]


def test_a_request_in_pieces_goes_out_with_all_of_them() -> None:
    rules = BatchingOptions(max_batch_size=8, max_execution_batch_size=2, enable_large_batch_splitting=True).rules()
    waiters = Waiters(rules)
    task = waiters.enter(5)
    assert [piece.rows for piece in task.pieces] == [2, 2, 1]
    assert waiters.waiting == (3, 20)
    waiters.room.fail(task.pieces[1], Unavailable("no"))
    assert waiters.waiting == (0, 0)
    assert isinstance(task.exception(), Unavailable)


def test_whose_time_is_over_is_told_so_and_not_run() -> None:
    waiters = Waiters()
    late, stays = waiters.enter(timeout=1.0), waiters.enter(timeout=3.0)
    waiters.clock.advance(2.0)
    assert waiters.take() == [stays]
    assert isinstance(late.exception(), DeadlineExceeded)
    assert waiters.waiting == (0, 0)


def test_a_request_that_is_watched_is_told_when_its_time_is_over() -> None:
    waiters = Waiters()

    async def main() -> None:
        waiters.room.adopt(asyncio.get_running_loop())
        task = waiters.enter(timeout=0.001)
        waiters.room.watch(task)
        with pytest.raises(DeadlineExceeded):
            await task

    asyncio.run(main())
    assert waiters.waiting == (0, 0)


def test_at_the_end_everybody_in_the_queues_is_told_why() -> None:
    waiters = Waiters()
    tasks = [waiters.enter(), waiters.enter()]
    waiters.room.drop([waiters.lane], lambda: Unavailable("the end"))
    errors = [task.exception() for task in tasks]
    assert [str(error) for error in errors] == ["UNAVAILABLE: the end"] * 2
    assert errors[0] is not errors[1]
    assert waiters.waiting == (0, 0)
    assert waiters.lane.queue.tasks == 0


def test_more_than_may_wait_are_not_let_in_but_one_always_is() -> None:
    waiters = Waiters(bounds=QueueBounds(requests=2, input_bytes=100))
    assert waiters.room.refusal(1000) == ""
    waiters.enter()
    assert waiters.room.refusal(96) == ""
    assert "--max_queued_bytes=100" in waiters.room.refusal(97)
    waiters.enter()
    assert "currently 2 requests wait, with 8 bytes" in waiters.room.refusal(1)


def test_those_who_have_gathered_are_let_out_of_the_room_and_of_their_lane() -> None:
    waiters = Waiters()
    waiters.lane.guests, waiters.room.requests, waiters.room.input_bytes = 3, 3, 12
    waiters.lane.refused = (None, Unavailable("no"))
    waiters.room.let_out(waiters.lane, 2, 8)
    assert (waiters.lane.guests, waiters.lane.refused, waiters.waiting) == (1, None, (1, 4))


def test_another_loop_finds_nobody_waiting() -> None:
    waiters = Waiters()
    waiters.enter()

    async def main() -> None:
        waiters.room.adopt(asyncio.get_running_loop())

    asyncio.run(main())
    assert waiters.waiting == (0, 0)
