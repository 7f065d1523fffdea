"""Who has waited in a queue is given what its run has answered, or failed with."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from hotserve.batching.batch_queue import Closed
from hotserve.batching.lane import Lane, Task
from hotserve.batching.lane_counts import LaneCounts
from hotserve.batching.shared_run import Answer, SharedRun
from hotserve.batching.waiting_room import WaitingRoom
from hotserve.errors import Internal
from hotserve.tensors import Array

logger = logging.getLogger(__name__)

_STRIKES: Final = 3
"""How many batches must fail together, and all of their requests do well alone, until a signature's are not shared."""


class Answering:
    """Gives batches their answers, and learns from what they took."""

    def __init__(self, room: WaitingRoom, counts: LaneCounts) -> None:
        """Nobody has been answered.

        Args:
            room: Where they have waited.
            counts: Where their runs are counted.
        """
        self._room = room
        self._counts = counts

    def deliver(self, lane: Lane, tasks: Sequence[Task], reason: Closed, shared: SharedRun) -> None:
        """Answers a batch that has been run.

        Args:
            lane: Whose it was.
            tasks: Its requests; those who have been answered meanwhile, or have given up, are told nothing.
            reason: Why no others joined it.
            shared: What has come of it: an answer for each of `tasks`.
        """
        if not shared.failed_together and shared.runs:
            lane.times.learn(sum(task.size for task in tasks), shared.runs[0].seconds)
        if shared.failed_together and not lane.rules.is_strict:
            _reconsider(lane, shared)
        self._counts.ran(lane, tasks, reason, shared)
        for task, answer in zip(tasks, shared.answers, strict=True):
            self._answer(task, answer)

    def _answer(self, task: Task, answer: Answer) -> None:
        whole = task.whole
        if (whole or task).done():
            return
        if isinstance(answer, StopIteration):
            answer = Internal(f"The servable raised StopIteration: {answer}")  # which cannot be raised in a coroutine
        if isinstance(answer, BaseException):
            self._room.fail(task, answer)
        elif whole is None:
            if task.watched is not None:
                self._room.leave(task)
            task.set_result(answer)
        else:
            self._answer_piece(task, whole, answer)

    def _answer_piece(self, task: Task, whole: Task, answer: dict[str, Array]) -> None:
        parts = whole.parts
        assert parts is not None  # it has pieces
        parts[whole.pieces.index(task)] = answer
        if len(parts) < len(whole.pieces):
            return
        try:
            joined = _joined([parts[index] for index in range(len(parts))])
        except ValueError as error:
            self._room.fail(whole, Internal(f"The answers of the request's pieces do not fit together: {error}"))
        else:
            self._room.leave(whole)
            whole.set_result(joined)


def _reconsider(lane: Lane, shared: SharedRun) -> None:
    """Stops sharing runs where that makes requests fail that do well alone."""
    if any(isinstance(answer, BaseException) for answer in shared.answers):
        return
    lane.strikes += 1
    if lane.strikes == _STRIKES:
        lane.stop_sharing()
        logger.warning(
            "Requests for signature %s of %s fail when they share a run and do well alone: from now on they run alone.",
            lane.signature_name,
            lane.id,
        )


def _joined(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
