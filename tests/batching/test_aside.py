"""While others are refused, those who have gathered run on an engine thread, and the loop goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Any

import numpy as np
import pytest

from hotserve.batching.gathering import NotHere
from hotserve.batching.lane import ASIDE_SECONDS, INLINE_SECONDS, QueueBounds
from hotserve.batching.seats import Seat
from hotserve.errors import DeadlineExceeded, InvalidArgument
from hotserve.tensors import DEFAULT_SIGNATURE, Array
from support.hall import Hall, refuse_others, run, turns
from support.in_process import PATIENCE
from support.server_process import wait_until

SECONDS = 0.9 * INLINE_SECONDS
"""What a row takes: several are worth a thread."""
FULL = int(ASIDE_SECONDS / SECONDS)
"""So many share a run there."""


class Aside:
    """A hall in which others are refused, with two processors and one engine thread, which a test can hold up.

    Attributes:
        runs: The first numbers of the rows of each run, and whether a thread had it.
    """

    def __init__(self, *, processors: int = 2, seconds: float = SECONDS, bounds: QueueBounds | None = None) -> None:
        self.hall = Hall(self._run, processors=processors, bounds=bounds)
        self.runs: list[tuple[list[int], bool]] = []
        self.error: Exception | None = None
        self.rows_lost = 0
        self._seconds = seconds
        self._entered = threading.Semaphore(0)
        self._is_open = threading.Event()
        self._is_open.set()

    def _run(self, signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        is_aside = threading.current_thread() is not threading.main_thread()
        if is_aside:
            self._entered.release()
            assert self._is_open.wait(PATIENCE)
        x = inputs["x"]
        self.runs.append(([int(number) for number in x], is_aside))
        if self.error is not None:
            raise self.error
        return {"y": x[self.rows_lost :] + np.float32(1)}

    async def open(self) -> Seat:
        seat = await self.hall.open(self._seconds)
        refuse_others(self.hall, seat)
        return seat

    def enter(self, seat: Seat, numbers: range, deadline: float = inf) -> None:
        """They come in one turn, and wait for its end."""
        self.hall.engine._expecting = 1
        for number in numbers:
            self.hall.enter(seat, number, deadline=deadline)

    def hold(self) -> None:
        """From now on runs of the thread do not go on."""
        self._is_open.clear()

    def release(self) -> None:
        self._is_open.set()

    async def begun(self) -> None:
        """A run of the thread has begun."""
        assert await asyncio.to_thread(self._entered.acquire, True, PATIENCE)

    async def answered(self, count: int) -> None:
        """So many have been answered."""
        await until(lambda: len(self.hall.desk.answered) >= count)

    @property
    def waiting(self) -> tuple[int, int]:
        """How many requests and bytes wait."""
        room = self.hall.engine._room
        return room.requests, room.input_bytes

    @property
    def is_free(self) -> bool:
        """Whether the thread is."""
        return len(self.hall.engine._tokens) == 1


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop go on until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # threads tell no event
            await asyncio.sleep(0.001)


MakeAside = Callable[..., Aside]


@pytest.fixture
def make() -> Iterator[MakeAside]:
    made: list[Aside] = []

    def make_one(**how: Any) -> Aside:
        made.append(Aside(**how))
        return made[-1]

    yield make_one
    for aside in made:
        aside.release()
        aside.hall.engine.close()


def test_they_are_run_by_a_thread_while_the_loop_goes_on_and_each_has_its_answer(make: MakeAside) -> None:
    aside = make()

    async def main() -> None:
        seat = await aside.open()
        aside.hold()
        aside.enter(seat, range(6))
        await aside.begun()  # only a loop that goes on comes here
        assert aside.hall.desk.answered == {}
        aside.release()
        await aside.answered(6)

    run(main)
    assert aside.runs == [(list(range(6)), True)]
    assert aside.hall.desk.answered == {number: [number + 1.0] for number in range(6)}
    assert aside.hall.desk.order == list(range(6))


@pytest.mark.parametrize(
    "why",
    [
        "nobody is refused",
        "nobody has been refused for long",
        "there is one processor",
        "the run is too short",
        "no thread is free",
        "it has ended",
    ],
)
def test_where_that_would_not_pay_or_cannot_be_they_run_on_the_loop(make: MakeAside, why: str) -> None:
    aside = make(
        processors=1 if why == "there is one processor" else 2,
        seconds=INLINE_SECONDS / 100 if why == "the run is too short" else SECONDS,
    )

    async def main() -> None:
        seat = await aside.open()
        if why == "nobody is refused":
            seat.lane.refused_patience = 0.0
        elif why == "nobody has been refused for long":
            aside.hall.clock.advance(1.0)
        elif why == "no thread is free":
            aside.hall.engine._tokens.clear()
        aside.enter(seat, range(4))
        if why == "it has ended":
            aside.hall.engine._pool.shutdown()
        await turns()

    run(main)
    assert aside.runs == [([0, 1, 2, 3], False)]
    assert sorted(aside.hall.desk.answered) == [0, 1, 2, 3]


def test_they_are_counted_as_waiting_until_they_are_answered(make: MakeAside) -> None:
    aside = make(bounds=QueueBounds(requests=6))

    async def main() -> None:
        seat = await aside.open()
        aside.hold()
        aside.enter(seat, range(6))
        await aside.begun()
        assert aside.waiting == (6, 24)
        assert seat.lane.guests == 6
        assert aside.hall.engine.refusal(seat.lane, 4, None) is not None
        aside.release()
        await aside.answered(6)
        assert aside.waiting == (0, 0)
        assert seat.lane.guests == 0
        assert aside.hall.engine.refusal(seat.lane, 4, None) is None

    run(main)


def test_what_the_thread_has_run_is_answered_while_the_loop_still_reads_and_refuses(make: MakeAside) -> None:
    aside = make()

    async def main() -> None:
        seat = await aside.open()
        aside.enter(seat, range(FULL))
        await turns(1)
        wait_until(lambda: len(aside.runs) == 1 and bool(aside.hall.engine._ran_aside), what="the run has ended")
        assert aside.hall.desk.answered == {}
        assert aside.hall.engine.refusal(seat.lane, 4, 1.0) is None
        assert len(aside.hall.desk.answered) == FULL

    run(main)


def test_those_who_come_while_it_is_busy_gather_until_they_fill_a_run_or_it_is_free(make: MakeAside) -> None:
    aside = make()

    async def main() -> None:
        seat = await aside.open()
        aside.hold()
        aside.enter(seat, range(3))
        await aside.begun()
        aside.enter(seat, range(3, 6))  # the next run
        await turns()
        aside.enter(seat, range(6, 9))
        await turns()
        aside.enter(seat, range(9, 12))
        await turns()
        assert len(aside.runs) == 0
        aside.release()
        await aside.answered(12)

    run(main)
    assert aside.runs == [([0, 1, 2], True), ([3, 4, 5], True), ([6, 7, 8, 9, 10, 11], True)]
    assert aside.hall.desk.order == list(range(12))


def test_those_who_fill_a_run_are_handed_over_before_the_turn_ends(make: MakeAside) -> None:
    aside = make()
    count = 3 * FULL + 5

    async def main() -> None:
        seat = await aside.open()
        aside.hold()
        aside.enter(seat, range(2))
        await aside.begun()  # how many fill a run is known from here on
        aside.enter(seat, range(2, count))
        aside.release()
        wait_until(lambda: len(aside.runs) == 4, what="all runs but the last one have ended")
        await aside.answered(count)

    run(main)
    assert [is_aside for _, is_aside in aside.runs] == [True] * 5
    assert all(len(rows) == FULL for rows, _ in aside.runs[1:4])
    assert aside.hall.desk.order == list(range(count))


def test_runs_are_on_the_loop_again_once_nobody_has_been_refused_for_a_while_and_not_as_soon_as_nobody_waits(
    make: MakeAside,
) -> None:
    aside = make()

    async def main() -> None:
        seat = await aside.open()
        for first in (0, 4):
            aside.enter(seat, range(first, first + 4))
            await aside.answered(first + 4)
            await until(lambda: aside.is_free)
            assert seat.lane.guests == 0
        assert seat.lane.refused_patience
        aside.hall.clock.advance(1.0)
        aside.enter(seat, range(8, 12))
        await turns()
        assert not seat.lane.refused_patience

    run(main)
    assert aside.runs == [([0, 1, 2, 3], True), ([4, 5, 6, 7], True), ([8, 9, 10, 11], False)]


def test_once_nobody_has_been_refused_for_a_while_they_are_so_although_some_wait(make: MakeAside) -> None:
    aside = make()

    async def main() -> None:
        seat = await aside.open()
        aside.hold()
        aside.enter(seat, range(3))
        await aside.begun()
        aside.enter(seat, range(3, 6))
        await turns()
        aside.enter(seat, range(6, 9))
        aside.hall.clock.advance(1.0)
        await turns()
        assert aside.runs == [([6, 7, 8], False)]
        aside.release()
        await aside.answered(9)

    run(main)
    assert aside.runs == [([6, 7, 8], False), ([0, 1, 2], True), ([3, 4, 5], True)]


def test_what_a_run_takes_there_says_nothing_of_runs_on_the_loop(make: MakeAside) -> None:
    aside = make()

    async def main() -> None:
        seat = await aside.open()
        before = seat.lane.times.of(16)
        aside.hold()
        aside.enter(seat, range(4))
        await aside.begun()
        aside.hall.clock.advance(1.0)
        aside.release()
        await aside.answered(4)
        assert seat.lane.times.of(16) == before
        assert aside.hall.engine.may_gather(seat)

    run(main)


def test_runs_and_waits_are_counted_as_all_others(make: MakeAside) -> None:
    aside = make()

    async def main() -> None:
        seat = await aside.open()
        aside.hold()
        aside.enter(seat, range(4))
        await aside.begun()
        aside.hall.clock.advance(1.0)
        aside.release()
        await aside.answered(4)

    run(main)
    metrics = aside.hall.metrics
    ran = metrics.run_duration.cell("m", "1", DEFAULT_SIGNATURE, "Predict", "unknown")
    assert sum(ran.counts) == 5  # with the first of all
    assert ran.total == pytest.approx(4e6 + 1e6 * SECONDS)
    assert dict(metrics.graph_runs.cells())[()] == 2
    assert sum(metrics.queue_duration.cell("m", "1", DEFAULT_SIGNATURE).counts) == 5


@pytest.mark.parametrize("why", ["the run fails", "the answer has not all rows", "it is somebody else's affair"])
def test_those_whose_run_fails_go_the_usual_way(make: MakeAside, why: str) -> None:
    aside = make()
    if why == "it is somebody else's affair":
        aside.hall.desk._error = NotHere()

    async def main() -> None:
        seat = await aside.open()
        if why == "the run fails":
            aside.error = InvalidArgument("no")
        elif why == "the answer has not all rows":
            aside.rows_lost = 1
        aside.enter(seat, range(4))
        await until(lambda: len(aside.hall.desk.sent_on) == 4)
        assert aside.waiting == (0, 0)
        assert seat.lane.guests == 0

    run(main)
    assert aside.hall.desk.sent_on == {number: [float(number)] for number in range(4)}
    assert aside.hall.desk.answered == {}
    aside.hall.handle.withdraw()
    assert aside.hall.drained.is_set()


def test_whose_time_is_over_is_told_so_whether_the_run_has_begun_or_not(make: MakeAside) -> None:
    aside = make()
    desk = aside.hall.desk

    async def main() -> None:
        seat = await aside.open()
        now = aside.hall.clock()
        aside.hold()
        aside.enter(seat, range(2), deadline=now + 0.002)
        aside.enter(seat, range(2, 4))
        await aside.begun()
        aside.enter(seat, range(4, 6), deadline=now + 0.002)
        aside.enter(seat, range(6, 8), deadline=now + 1000.0)
        await turns()
        assert desk.failed == {}
        aside.hall.clock.advance(0.003)
        await until(lambda: len(desk.failed) == 4)
        assert aside.waiting == (4, 16)
        aside.release()
        await aside.answered(4)
        assert aside.waiting == (0, 0)

    run(main)
    assert {number: type(error) for number, error in desk.failed.items()} == dict.fromkeys(
        (0, 1, 4, 5), DeadlineExceeded
    )
    assert desk.answered == {number: [number + 1.0] for number in (2, 3, 6, 7)}
    assert aside.runs == [([0, 1, 2, 3], True), ([6, 7], True)]


def test_whose_time_is_over_before_the_hand_over_is_told_so_and_not_run(make: MakeAside) -> None:
    aside = make()

    async def main() -> None:
        seat = await aside.open()
        aside.enter(seat, range(2), deadline=aside.hall.clock() + 0.1)
        aside.enter(seat, range(2, 5))
        aside.hall.clock.advance(0.2)
        await aside.answered(3)

    run(main)
    assert sorted(aside.hall.desk.failed) == [0, 1]
    assert aside.runs == [([2, 3, 4], True)]


def test_a_party_of_whom_nobody_waits_any_more_is_not_run(make: MakeAside) -> None:
    aside = make()

    async def main() -> None:
        seat = await aside.open()
        aside.hold()
        aside.enter(seat, range(2))
        await aside.begun()
        aside.enter(seat, range(2, 4), deadline=aside.hall.clock() + 0.002)
        await turns()
        aside.hall.clock.advance(0.003)
        await until(lambda: len(aside.hall.desk.failed) == 2)
        aside.release()
        await aside.answered(2)
        await until(lambda: aside.is_free)
        assert aside.waiting == (0, 0)

    run(main)
    assert aside.runs == [([0, 1], True)]


def test_a_version_is_not_unloaded_before_those_who_run_are_answered(make: MakeAside) -> None:
    aside = make()

    async def main() -> None:
        seat = await aside.open()
        aside.hold()
        aside.enter(seat, range(3))
        await aside.begun()
        aside.enter(seat, range(3, 6))
        await turns()
        aside.hall.handle.withdraw()
        assert not aside.hall.drained.is_set()
        aside.release()
        await aside.answered(6)
        assert aside.hall.drained.is_set()

    run(main)


def test_those_for_a_version_that_has_been_withdrawn_go_the_usual_way(make: MakeAside) -> None:
    aside = make()

    async def main() -> None:
        seat = await aside.open()
        aside.enter(seat, range(3))
        aside.hall.handle.withdraw()
        await turns()
        assert aside.waiting == (0, 0)

    run(main)
    assert sorted(aside.hall.desk.sent_on) == [0, 1, 2]
    assert aside.runs == []
    assert aside.hall.drained.is_set()


def test_at_the_end_those_who_run_are_answered_and_all_others_sent_on(make: MakeAside) -> None:
    aside = make()

    async def main() -> None:
        seat = await aside.open()
        aside.hold()
        aside.enter(seat, range(3))
        await aside.begun()
        aside.enter(seat, range(3, 6))  # handed over
        await turns()
        aside.enter(seat, range(6, 9))  # would be next
        await turns()
        aside.hall.engine.close()
        await until(lambda: len(aside.hall.desk.sent_on) == 6)
        assert aside.waiting == (3, 12)
        aside.release()
        await aside.answered(3)
        assert aside.waiting == (0, 0)

    run(main)
    assert sorted(aside.hall.desk.sent_on) == [3, 4, 5, 6, 7, 8]
    assert aside.runs == [([0, 1, 2], True)]
    aside.hall.handle.withdraw()
    assert aside.hall.drained.is_set()


def test_a_thread_that_others_wait_for_goes_to_them_and_those_who_are_left_run_on_the_loop(make: MakeAside) -> None:
    aside, other = make(), make()
    other.hall.engine.close()
    other.hall.engine = aside.hall.engine

    async def main() -> None:
        seat = await aside.open()
        aside.hold()
        aside.enter(seat, range(3))
        await aside.begun()
        aside.enter(seat, range(3, 6))
        await turns()
        other.hold()
        lease = other.hall.handle.acquire()
        assert lease is not None
        with lease:  # of this version nothing is known, so that a thread has to run it
            request = asyncio.ensure_future(
                aside.hall.engine.run(lease, DEFAULT_SIGNATURE, {"x": np.float32([7])}, ["y"])
            )
            await turns()
            aside.release()
            await other.begun()
            await aside.answered(6)
            other.release()
            assert (await request)["y"].tolist() == [8.0]

    run(main)
    assert aside.runs == [([0, 1, 2], True), ([3, 4, 5], False)]


def test_an_engine_on_another_loop_forgets_those_who_were_left_and_lets_go_of_their_version(make: MakeAside) -> None:
    aside = make()

    async def abandon() -> None:
        seat = await aside.open()
        aside.hold()
        aside.enter(seat, range(3))
        await aside.begun()
        aside.enter(seat, range(3, 6))
        await turns()
        aside.enter(seat, range(6, 9))
        await turns()

    async def again() -> list[float]:
        lease = aside.hall.handle.acquire()
        assert lease is not None
        with lease:
            waiting = asyncio.ensure_future(
                aside.hall.engine.run(lease, DEFAULT_SIGNATURE, {"x": np.zeros(1000, np.float32)}, ["y"])
            )
            await turns()
            assert aside.waiting == (1, 4000)  # for the thread
            aside.release()
            return (await waiting)["y"].tolist()

    run(abandon)
    assert run(again) == [1.0] * 1000
    assert aside.hall.desk.answered == {}
    assert [len(rows) for rows, _ in aside.runs] == [3, 1000]
    aside.hall.handle.withdraw()
    wait_until(aside.hall.drained.is_set, what="the version is let go of")
    wait_until(lambda: aside.is_free, what="the thread is free")
