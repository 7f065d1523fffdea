"""Runs of those who have gathered on an engine thread, beside an event loop that is busy refusing others.

Where more come than can be answered, to refuse them may take the loop as long as to run the model: over REST each is
a read and a write of its own. Both at once, on two processors, answer as many as if nobody had to be refused. Where
nobody is, it does not pay: the hand-over, and waiting for the interpreter's lock, cost more than the loop is freed of.

A thread takes one party after the other out of `_due` and puts what has come of it into `ran`; the loop appends to the
first and takes out of the second, all of which is atomic. Those who are run stay counted as waiting until the loop has
taken them out: the loop may be busy reading meanwhile, and nobody can be let in for them before. Each party has a lease
of its own until its answers are written. What its run takes is not learned, since it includes waiting for the lock and
says nothing of runs on the loop. A thread that others wait for ends after the run at hand, and those who are left
gather again, to run on the loop if there is no other thread for them.

Threads: one of `EngineThreads` at a time, which ends when there is nothing more to run, or with `close`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from math import inf
from typing import Final

from hotserve.batching.deadlines import Deadlines
from hotserve.batching.gathering import Gathering, Party, can_be_divided
from hotserve.batching.guests import Answers, Guest
from hotserve.batching.lane import Lane, too_late
from hotserve.batching.party_runs import PartyRuns, send_on
from hotserve.batching.waiting_room import WaitingRoom
from hotserve.core.handle import Lease

_SHORTEST: Final = 0.0005
"""Seconds that a run has to take, as far as can be told, to be worth the hand-over."""


class AsideRun:
    """A party on its way to the thread and back.

    Attributes:
        lane: Where it has gathered.
        gathering: Where in it.
        party: Those who share the run; the thread replaces it by one without those who were late before.
        lease: The version.
        late: Those who have been told that their time is over.
        watched: Where the deadline is watched; None if it is not.
        answers: What has come of it; None before the run, and if it has failed.
        start: When the run began, in seconds of the engine's clock.
        seconds: What it took.
    """

    __slots__ = ("answers", "gathering", "lane", "late", "lease", "party", "seconds", "start", "watched")

    def __init__(self, lane: Lane, gathering: Gathering, party: Party, lease: Lease) -> None:
        self.lane = lane
        self.gathering = gathering
        self.party = party
        self.lease = lease
        self.late: set[Guest] = set()
        self.watched: dict[AsideRun, None] | None = None
        self.answers: Answers | None = None
        self.start = 0.0
        self.seconds = 0.0

    def run(self, clock: Callable[[], float]) -> None:
        """Runs those whose time is not over; on the thread. Raises nothing."""
        if self.late:
            self.party = self.party.without(self.late)
        party, lane = self.party, self.lane
        if not party.guests:
            return
        self.start = clock()
        try:
            answers = self.lease.servable.run(
                lane.signature_name, self.gathering.inputs(party.guests, party.rows), lane.outputs
            )
        except BaseException:  # noqa: BLE001  # the usual way finds out whose fault it is, and has the words for it
            return
        self.seconds = clock() - self.start
        if len(party.guests) == 1 or can_be_divided(answers, party.rows):
            self.answers = answers

    def waiting(self) -> list[Guest]:
        """Those who have not been told that their time is over."""
        return [guest for guest in self.party.guests if guest not in self.late]

    def unwatch(self) -> None:
        """Forgets the deadline."""
        if self.watched is not None:
            self.watched.pop(self, None)
            self.watched = None


class AsideRuns:
    """Has the parties of one event loop run by an engine thread.

    Attributes:
        ran: Parties that the thread has run; `collect` is to be called soon when there are some.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        threads: Executor,
        tokens: list[None],
        room: WaitingRoom,
        parties: PartyRuns,
        clock: Callable[[], float],
        wake: Callable[[Lane], None],
        unblock: Callable[[], None],
        unblock_soon: Callable[[], None],
        blocked: Callable[[], bool],
    ) -> None:
        """Takes no thread yet.

        Args:
            loop: The loop that all methods are called on.
            threads: The engine threads.
            tokens: One entry for each of them that is free.
            room: Where those wait who have gathered.
            parties: Has them answered.
            clock: Seconds, to measure runs by.
            wake: Has a lane looked at in the next turn of the loop.
            unblock: Gives free threads to those who wait for one.
            unblock_soon: The same, on whatever loop is in use; the thread calls it where this one has ended.
            blocked: Whether somebody does; the thread asks.
        """
        self._loop = loop
        self._threads = threads
        self._tokens = tokens
        self._room = room
        self._parties = parties
        self._clock = clock
        self._wake = wake
        self._unblock = unblock
        self._unblock_soon = unblock_soon
        self._blocked = blocked
        self._deadlines: Deadlines[AsideRun] = Deadlines(loop, self._expire)
        self._due: deque[AsideRun] = deque()
        self.ran: deque[AsideRun] = deque()
        self._parked: dict[Lane, None] = {}  # those who have gathered there go on when a run has ended
        self._is_working = False  # there is a thread, as far as the loop knows
        self._is_told = False  # `collect` will be called
        self._is_over = False  # the loop has ended

    def take(self, lane: Lane, gathering: Gathering) -> bool:
        """Has those who have gathered run aside, now or when they have become more, if that pays.

        Args:
            lane: Where others are being refused.
            gathering: Nobody's time is over there.

        Returns:
            Whether all have been taken care of; otherwise those who are still there are to be run on the loop.
        """
        max_rows = gathering.rules.max_rows
        room = min(lane.room_aside(), max_rows * gathering.size / gathering.rows)
        if lane.rules is not gathering.rules or not _is_worth_it(lane, room):
            return False
        gathering.room = room
        while gathering.guests:
            is_full = gathering.size > room or gathering.rows >= max_rows
            if self._due and not is_full:
                # The thread is busy, and more have room in this run.
                lane.gathered[gathering] = None
                self._parked[lane] = None
                return True
            if not is_full and not _is_worth_it(lane, gathering.size):
                return False
            if not self._hand_over(lane, gathering, room):
                return False
        return True

    def collect(self) -> None:
        """Has those answered who have been run."""
        self._is_told = False
        answered: dict[Lane, int] = {}
        while self.ran:
            run = self.ran.popleft()
            self._finish(run)
            if run.answers is not None:
                answered[run.lane] = answered.get(run.lane, 0) + len(run.party.guests)
        for lane, guests in answered.items():
            lane.learn_turn(guests, self._clock())
        parked, self._parked = self._parked, {}
        for lane in parked:
            self._wake(lane)

    def drop(self) -> Iterable[Lane]:
        """Has those gather again whose run has not begun.

        Returns:
            The lanes where somebody waits who was to be run aside.
        """
        lanes, self._parked = self._parked, {}
        while (run := _last_of(self._due)) is not None:
            run.unwatch()
            run.lease.release()
            guests = run.waiting()
            if guests:
                run.gathering.put_back(guests, run.party.handle)
                run.lane.gathered[run.gathering] = None
                lanes[run.lane] = None
        return lanes

    def end(self) -> Iterable[Lane]:
        """As `drop`, when the loop has ended with all that waited there: nobody is answered any more."""
        self._is_over = True
        self._let_go()
        return self.drop()

    # On the loop.

    def _hand_over(self, lane: Lane, gathering: Gathering, room: float) -> bool:
        """Hands a party to the thread, if there is one, and the version has not been withdrawn."""
        handle = gathering.handle
        assert handle is not None  # somebody waits
        lease = handle.acquire()
        if lease is None:
            return False
        if not self._is_working and not self._begin():
            lease.release()
            return False
        deadline = gathering.deadline
        run = AsideRun(lane, gathering, gathering.next_party(room), lease)
        if deadline != inf:
            run.watched = self._deadlines.watch(run, deadline - self._clock())
        self._due.append(run)
        return True

    def _begin(self) -> bool:
        """Takes a thread, if one is free."""
        if not self._tokens:
            return False
        self._tokens.pop()
        try:
            self._threads.submit(self._work)
        except RuntimeError:  # the pool is closed, or the system has no thread left
            self._tokens.append(None)
            return False
        self._is_working = True
        return True

    def _ended(self) -> None:
        """There is no thread any more."""
        self._is_working = False
        self.collect()
        self._unblock()
        if self._due and not self._begin():
            for lane in self.drop():
                self._wake(lane)

    def _finish(self, run: AsideRun) -> None:
        """Has a party answered, or sent the usual way."""
        run.unwatch()
        waiting = run.waiting()
        self._room.let_out(run.lane, len(waiting), sum(guest.size for guest in waiting))
        with run.lease:
            if run.answers is None:
                send_on(run.gathering, run.party.handle, waiting)
            else:
                self._parties.answer(
                    run.lane, run.gathering, run.party, run.lease, run.answers, run.start, run.seconds, run.late
                )

    def _expire(self, run: AsideRun) -> None:
        """Answers those of a party whose time is over before it has been run."""
        now = self._clock()
        waiting = run.waiting()
        late = [guest for guest in waiting if guest.deadline <= now]
        run.late.update(late)
        if late:
            self._room.let_out(run.lane, len(late), sum(guest.size for guest in late))
        deadline = min((guest.deadline for guest in waiting if guest.deadline > now), default=inf)
        run.watched = None if deadline == inf else self._deadlines.watch(run, deadline - now)
        for guest in late:
            guest.clerk.fail(guest, too_late(guest.deadline - guest.start))

    # On the thread.

    def _work(self) -> None:
        while not (self._is_over or self._blocked()):
            run = _first_of(self._due)
            if run is None:
                break
            run.run(self._clock)
            self.ran.append(run)
            if not self._is_told:
                self._is_told = True
                self._tell(self.collect)
        self._tokens.append(None)
        self._tell(self._ended)

    def _tell(self, callback: Callable[[], None]) -> None:
        """Has the loop call a function, unless it has ended, and all who waited with it."""
        with suppress(RuntimeError):
            if not self._is_over:
                self._loop.call_soon_threadsafe(callback)
                return
        self._is_over = True
        self._let_go()
        self._unblock_soon()

    def _let_go(self) -> None:
        """Gives the versions of those back who have been run and are not answered any more; on any thread."""
        while (run := _first_of(self.ran)) is not None:
            run.lease.release()


def _is_worth_it(lane: Lane, size: float) -> bool:
    """Whether a run with inputs of so many bytes is."""
    seconds = lane.times.of(int(size))
    return seconds is not None and seconds >= _SHORTEST


def _first_of(runs: deque[AsideRun]) -> AsideRun | None:
    """Takes the first one out, if there is one; others may do the same at this time."""
    try:
        return runs.popleft()
    except IndexError:
        return None


def _last_of(runs: deque[AsideRun]) -> AsideRun | None:
    """Takes the last one out, if there is one; others may do the same at this time."""
    try:
        return runs.pop()
    except IndexError:
        return None
