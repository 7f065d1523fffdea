from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
import pytest

from hotserve.batching.gathering import Gathering
from hotserve.batching.guests import Answers, Clerk, Guest
from hotserve.batching.lane import INLINE_SECONDS, Lane, QueueBounds
from hotserve.batching.lane_counts import LaneCounts
from hotserve.batching.loop_share import LoopShare
from hotserve.batching.options import NATURAL
from hotserve.batching.party_runs import PartyRuns
from hotserve.batching.waiting_room import WaitingRoom
from hotserve.core.handle import Lease, VersionHandle
from hotserve.core.ids import ServableId
from hotserve.errors import DeadlineExceeded, InvalidArgument, ServingError
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Signature, TensorSpec
from hotserve.testing import FakeClock
from support.in_process import ToyServable


class Desk(Clerk):
    def __init__(self) -> None:
        self.answered: dict[int, list[float]] = {}
        self.sent_on: list[int] = []
        self.failed: dict[int, ServingError] = {}
        self.error: Exception | None = None

    def answer(self, lease: Lease, guests: list[Guest], answers: Answers, starts: list[int] | None) -> None:
        if self.error is not None:
            raise self.error
        for guest, start in zip(guests, starts or [0], strict=True):
            self.answered[guest.request] = answers["y"][start : start + guest.rows].tolist()

    def send_on(self, guest: Guest, handle: VersionHandle, inputs: Mapping[str, Array]) -> None:
        self.sent_on.append(guest.request)

    def fail(self, guest: Guest, error: ServingError) -> None:
        self.failed[guest.request] = error


class Party:
    """Three requests of one row that have gathered, for a version whose runs take so many seconds."""

    def __init__(self, seconds: float = INLINE_SECONDS / 10) -> None:
        self.clock = FakeClock()
        self.fails = False
        spec = TensorSpec(DType.FLOAT, (None,))
        servable = ToyServable({DEFAULT_SIGNATURE: Signature({"x": spec}, {"y": spec})}, self._run)
        self.drained = threading.Event()
        self.handle = VersionHandle(ServableId("m", 1), servable, lambda _: self.drained.set())
        signature = servable.signatures[DEFAULT_SIGNATURE]
        self.lane = Lane(self.handle.id, DEFAULT_SIGNATURE, signature, ("y",), NATURAL, "toy")
        self.lane.times.learn(4, seconds)
        self.room = WaitingRoom(QueueBounds(), self.clock)
        self.runs = PartyRuns(self.room, LoopShare(), LaneCounts(None), self.clock)
        self.gathering = Gathering(NATURAL, [("x", (), np.dtype(np.float32))])
        self.desk = Desk()
        for number in range(3):
            content = np.float32([number]).tobytes()
            guest = Guest(self.desk, None, number, 1, 4, 0.0, 0.0, [content], self.clock() + 1.0 + number)
            self.gathering.add(guest, self.handle)
        self.lane.guests, self.room.requests, self.room.input_bytes = 3, 3, 12

    def _run(self, signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        if self.fails:
            raise InvalidArgument("no")
        self.clock.advance(INLINE_SECONDS / 10)
        return {"y": inputs["x"] + np.float32(1)}

    def check_that_nobody_waits(self) -> None:
        assert (self.lane.guests, self.room.requests, self.room.input_bytes) == (0, 0, 0)
        assert not self.gathering.guests


def test_those_who_have_gathered_are_run_together_and_answered() -> None:
    party = Party()
    party.runs.run_next(party.lane, party.gathering)
    assert party.desk.answered == {0: [1.0], 1: [2.0], 2: [3.0]}
    assert party.lane.answered == 3
    party.check_that_nobody_waits()


def test_only_as_many_are_taken_out_as_the_loop_has_time_for() -> None:
    party = Party(1.5e-3)
    taken = party.runs.next_party(party.lane, party.gathering)
    assert [guest.request for guest in taken.guests] == [0]
    assert (party.lane.guests, party.room.requests, party.room.input_bytes) == (2, 2, 8)


@pytest.mark.parametrize("why", ["the run fails", "the version has gone", "the lane shares no more", "no answer"])
def test_where_they_cannot_be_run_or_answered_together_all_go_the_usual_way(why: str) -> None:
    party = Party()
    if why == "the run fails":
        party.fails = True
    elif why == "the version has gone":
        party.handle.withdraw()
    elif why == "the lane shares no more":
        party.lane.stop_sharing()
    else:
        party.desk.error = InvalidArgument("no")
    while party.gathering.guests:
        party.runs.run_next(party.lane, party.gathering)
    assert party.desk.sent_on == [0, 1, 2]
    assert party.desk.answered == {}
    party.check_that_nobody_waits()
    party.handle.withdraw()
    assert party.drained.is_set()


def test_whose_time_is_over_is_told_so_and_the_others_stay() -> None:
    party = Party()
    party.clock.advance(1.5)
    party.runs.fail_late(party.lane, party.gathering)
    assert {number: type(error) for number, error in party.desk.failed.items()} == {0: DeadlineExceeded}
    assert [guest.request for guest in party.gathering.guests] == [1, 2]
    assert (party.lane.guests, party.room.requests, party.room.input_bytes) == (2, 2, 8)
