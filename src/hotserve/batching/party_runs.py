"""Runs of those who have gathered, and their answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence, Set

from hotserve.batching.gathering import PREDICT, Gathering, NotHere, Party, by_clerk, can_be_divided
from hotserve.batching.guests import Answers, Guest
from hotserve.batching.lane import Lane, too_late
from hotserve.batching.lane_counts import LaneCounts
from hotserve.batching.loop_share import LoopShare
from hotserve.batching.waiting_room import WaitingRoom
from hotserve.core.handle import Lease, VersionHandle
from hotserve.core.servable import for_loop, runtime_of
from hotserve.errors import ServingError

logger = logging.getLogger(__name__)


class PartyRuns:
    """Takes out those who have gathered, and answers them."""

    __slots__ = ("_clock", "_counts", "_room", "_share")

    def __init__(self, room: WaitingRoom, share: LoopShare, counts: LaneCounts, clock: Callable[[], float]) -> None:
        """Nobody has been run.

        Args:
            room: Where they wait.
            share: Is told of runs on the loop.
            counts: Where runs are counted.
            clock: Seconds, to measure runs by.
        """
        self._room = room
        self._share = share
        self._counts = counts
        self._clock = clock

    def next_party(self, lane: Lane, gathering: Gathering) -> Party:
        """Takes out those who run next; somebody has to wait."""
        gathering.room = lane.room_on_loop()
        party = gathering.next_party(gathering.room)
        self._room.let_out(lane, len(party.guests), party.size)
        return party

    def run_next(self, lane: Lane, gathering: Gathering) -> None:
        """Runs as many of those who wait as share a run, or sends them the usual way; somebody has to wait."""
        party = self.next_party(lane, gathering)
        is_short = len(party.guests) > 1 or lane.is_short(party.size)
        if not (is_short and lane.rules is gathering.rules and self._run(lane, gathering, party)):
            send_on(gathering, party.handle, party.guests)

    def fail_late(self, lane: Lane, gathering: Gathering) -> None:
        """Answers those whose time is over before they have been run."""
        late = gathering.take_late(self._clock())
        self._room.let_out(lane, len(late), sum(guest.size for guest in late))
        for guest in late:
            guest.clerk.fail(guest, too_late(guest.deadline - guest.start))

    def _run(self, lane: Lane, gathering: Gathering, party: Party) -> bool:
        """Runs those of a party on the loop, and has them answered; returns whether it did."""
        clock = self._clock
        start = clock()
        self._share.begin_run(start)  # to send many on takes its time, too
        lease = party.handle.acquire()
        if lease is None:
            return False  # the version has been withdrawn meanwhile
        guests = party.guests
        with lease:
            try:
                answers = for_loop(lease.servable).run(
                    lane.signature_name, gathering.inputs(guests, party.rows), lane.outputs
                )
            except BaseException:  # noqa: BLE001  # the usual way finds out whose fault it is, and has the words for it
                return False
            end = clock()
            self._share.end_run(end)
            if len(guests) > 1 and not can_be_divided(answers, party.rows):
                return False
            lane.answered += len(guests)
            lane.times.learn(party.size, end - start)
            self.answer(lane, gathering, party, lease, answers, start, end - start)
        return True

    def answer(
        self,
        lane: Lane,
        gathering: Gathering,
        party: Party,
        lease: Lease,
        answers: Answers,
        start: float,
        seconds: float,
        gone: Set[Guest] = frozenset(),
    ) -> None:
        """Has those answered who have shared a run.

        Args:
            lane: Where they have gathered.
            gathering: Where in it.
            party: They.
            lease: The version that has run.
            answers: What has come of it, with the rows of all of them.
            start: When it began, in seconds of the engine's clock.
            seconds: What it took.
            gone: Those of them who have been told something else already.
        """
        is_alone = len(party.guests) == 1
        lane.runtime = runtime_of(lease.servable, lane.signature_name)
        if is_alone:
            self._counts.ran_at_once(lane, party.rows, seconds, PREDICT)
        else:
            self._counts.ran_gathered(lane, party, start, seconds)
        for clerk, (served, starts) in by_clerk(party).items():
            if gone:
                left = [(guest, start) for guest, start in zip(served, starts, strict=True) if guest not in gone]
                if not left:
                    continue
                served, starts = [guest for guest, _ in left], [start for _, start in left]
            try:
                clerk.answer(lease, served, answers, None if is_alone else starts)
            except (NotHere, ServingError):
                send_on(gathering, party.handle, served)
            except Exception:
                logger.exception("Answers of %s could not be written together", lane.id)
                send_on(gathering, party.handle, served)


def send_on(gathering: Gathering, handle: VersionHandle, guests: Sequence[Guest]) -> None:
    """Sends requests that have gathered the usual way."""
    for guest in guests:
        guest.clerk.send_on(guest, handle, gathering.inputs([guest], guest.rows))
