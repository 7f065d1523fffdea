from __future__ import annotations

import logging

import numpy as np
import pytest

from hotserve.batching.answering import Answering
from hotserve.batching.batch_queue import Closed
from hotserve.batching.lane import Lane, QueueBounds, Task
from hotserve.batching.lane_counts import LaneCounts
from hotserve.batching.options import ALONE, NATURAL, BatchRules
from hotserve.batching.shared_run import Answer, Run, SharedRun
from hotserve.batching.waiting_room import WaitingRoom
from hotserve.core.handle import VersionHandle
from hotserve.core.ids import ServableId
from hotserve.errors import Internal, InvalidArgument
from hotserve.tensors import DEFAULT_SIGNATURE
from hotserve.testing import FakeClock
from support.in_process import adder


class Desk:
    """Who answers, and requests that have been taken out of a queue."""

    def __init__(self, rules: BatchRules = NATURAL) -> None:
        servable = adder(1)
        self.room = WaitingRoom(QueueBounds(), FakeClock())
        self.answering = Answering(self.room, LaneCounts(None))
        self.handle = VersionHandle(ServableId("m", 1), servable, lambda _: None)
        signature = servable.signatures[DEFAULT_SIGNATURE]
        self.lane = Lane(self.handle.id, DEFAULT_SIGNATURE, signature, ("y",), rules, "toy")

    def task(self, rows: int = 1) -> Task:
        lease = self.handle.acquire()
        assert lease is not None
        inputs = {"x": np.zeros(rows, np.float32)}
        return Task(self.lane, lease, inputs, rows, rows, 4 * rows, "Predict", 0.0, None, self.room.leave)

    def deliver(self, tasks: list[Task], answers: list[Answer], *, failed_together: bool = False) -> None:
        shared = SharedRun(answers, [Run(len(tasks), 0, 0.0, 0.25)], failed_together)
        self.answering.deliver(self.lane, tasks, Closed.IDLE, shared)


def answer(*numbers: float) -> Answer:
    return {"y": np.float32(numbers)}


def test_each_has_its_own_answer_or_error_and_who_has_left_is_told_nothing() -> None:
    desk = Desk()
    first, gone, bad = tasks = [desk.task() for _ in range(3)]
    gone.cancel()
    error = InvalidArgument("no")
    desk.deliver(tasks, [answer(1), answer(2), error])
    assert first.result()["y"].tolist() == [1.0]
    assert gone.cancelled()
    assert bad.exception() is error
    assert desk.lane.times.of(12) == 0.25


def test_what_cannot_be_raised_in_a_coroutine_becomes_an_error_of_the_server() -> None:
    desk = Desk()
    task = desk.task()
    desk.deliver([task], [StopIteration("odd")])
    assert isinstance(task.exception(), Internal)


def in_pieces(desk: Desk) -> Task:
    task = desk.task(3)
    task.split(NATURAL.max_rows - 1)
    assert [piece.rows for piece in task.pieces] == [1, 2]
    return task


def test_a_request_in_pieces_is_answered_when_the_last_of_them_has_been_in_whatever_order() -> None:
    desk = Desk()
    task = in_pieces(desk)
    desk.deliver([task.pieces[1]], [answer(2, 3)])
    assert not task.done()
    desk.deliver([task.pieces[0]], [answer(1)])
    assert task.result()["y"].tolist() == [1.0, 2.0, 3.0]


def test_pieces_that_do_not_fit_together_are_an_error() -> None:
    desk = Desk()
    task = in_pieces(desk)
    desk.deliver(list(task.pieces), [answer(1), {"y": np.zeros((2, 5), np.float32)}])
    assert isinstance(task.exception(), Internal)


def test_requests_that_fail_together_three_times_and_do_well_alone_share_no_more_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert desk.lane.rules is NATURAL
            desk.deliver([desk.task(), desk.task()], [answer(1), answer(2)], failed_together=True)
    assert desk.lane.rules is ALONE
    assert "from now on they run alone" in caplog.text


def test_they_go_on_sharing_where_one_of_them_is_to_blame() -> None:
    desk = Desk()
    for _ in range(5):
        desk.deliver([desk.task(), desk.task()], [answer(1), InvalidArgument("no")], failed_together=True)
    assert desk.lane.rules is NATURAL
