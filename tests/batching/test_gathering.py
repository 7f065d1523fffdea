"""Requests that come in one turn of the event loop share a run at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.batching.gathering import Gathering, NotHere, by_clerk, can_be_divided
from hotserve.batching.guests import Guest
from hotserve.batching.lane import INLINE_SECONDS, SHARED_INLINE_SECONDS, QueueBounds
from hotserve.batching.options import ALONE, NATURAL, NATURAL_MAX_ROWS, BatchRules
from hotserve.batching.seats import Input, Seat
from hotserve.core.handle import VersionHandle
from hotserve.core.ids import ServableId
from hotserve.core.servable import NeedsThread
from hotserve.errors import DeadlineExceeded, InvalidArgument
from hotserve.tensors import DEFAULT_SIGNATURE, Array
from support.hall import FLOAT, PLACES, READING, Desk, Hall, plus_one, refuse_others, run, took, turns
from support.in_process import Run


@pytest.fixture
def halls() -> Iterator[Callable[..., Hall]]:
    made: list[Hall] = []

    def make(*arguments: Any, **more: Any) -> Hall:
        made.append(Hall(*arguments, **more))
        return made[-1]

    yield make
    for hall in made:
        hall.engine.close()


def test_those_of_one_turn_share_a_run_and_each_has_its_own_answer(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open()
        two_rows = hall.seat([("x", 0, (2,), FLOAT)])
        assert two_rows is not None
        hall.enter(seat, 1)  # comes alone, as far as anybody knows
        hall.enter(seat, 2)
        hall.enter(two_rows, 3)
        hall.enter(seat, 4)
        await turns()

    run(main)
    assert hall.desk.answered == {1: [2.0], 2: [3.0], 3: [4.0, 4.0], 4: [5.0]}
    assert hall.desk.order == [1, 2, 3, 4]
    assert hall.runs == 2
    assert hall.desk.sent_on == {}


def test_one_that_comes_alone_has_its_answer_at_once(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open()
        hall.enter(seat, 1)
        assert hall.desk.answered == {1: [2.0]}

    run(main)


def test_each_clerk_answers_its_own_of_one_run(halls: Callable[..., Hall]) -> None:
    hall, other = halls(), Desk()

    async def main() -> None:
        seat = await hall.open()
        theirs = hall.seat(desk=other)
        assert theirs is not None
        for number in range(1, 6):
            hall.enter(theirs if number % 2 else seat, number)
        await turns()

    run(main)
    assert (hall.desk.answered, other.answered) == ({2: [3.0], 4: [5.0]}, {1: [2.0], 3: [4.0], 5: [6.0]})
    assert hall.runs == 2


def test_those_who_fill_a_run_do_not_wait_for_the_end_of_the_turn(halls: Callable[..., Hall]) -> None:
    hall = halls()
    count = 2 * NATURAL_MAX_ROWS + 7

    async def main() -> None:
        seat = await hall.open()
        for number in range(count):
            hall.clock.advance(READING)
            hall.enter(seat, number)
        assert hall.runs == 3  # the first one came alone, as far as anybody knew
        assert seat.lane.guests == 6
        await turns(1)
        assert hall.runs == 4

    run(main)
    assert hall.desk.answered == {number: [number + 1.0] for number in range(count)}


def test_they_do_in_a_turn_in_which_such_runs_have_taken_long(halls: Callable[..., Hall]) -> None:
    hall = halls(rules=replace(NATURAL, max_rows=16))

    async def main() -> None:
        seat = await hall.open()
        hall.servable._run = took(hall, 0.001)
        for number in range(800 * 16):
            hall.clock.advance(READING)
            hall.enter(seat, number)
        assert 400 < hall.runs < 600
        before = hall.runs
        await turns(1)
        assert hall.runs == before + 1  # nor may a turn have many more at its end
        hall.clock.advance(READING)
        hall.enter(seat, -1)
        assert hall.runs == before + 2  # those of the next turn do not wait
        await turns(400)

    run(main)
    assert len(hall.desk.answered) == 800 * 16 + 1


def test_they_do_where_runs_take_most_of_the_time(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open()
        hall.enter(seat, 0)
        hall.engine._expecting = 1
        hall.servable._run = took(hall, 0.001)
        for number in range(1, 20 * NATURAL_MAX_ROWS):
            hall.clock.advance(0.0001 / NATURAL_MAX_ROWS)
            hall.enter(seat, number)
        assert 4 <= hall.runs <= 8  # three times of the two milliseconds that it takes to read, and one
        await turns(200)

    run(main)
    assert len(hall.desk.answered) == 20 * NATURAL_MAX_ROWS


@pytest.mark.parametrize("why", ["others are refused", "somebody is in the queue", "their time is over"])
def test_they_do_where_more_is_to_be_considered(halls: Callable[..., Hall], why: str) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open()
        hall.enter(seat, 0)
        if why == "others are refused":
            refuse_others(hall, seat)
        lease = hall.handle.acquire()
        assert lease is not None
        with lease:
            queued = hall.engine.run(lease, DEFAULT_SIGNATURE, {"x": np.float32([7])}, ["y"])
            if why == "somebody is in the queue":
                queued.send(None)
            for number in range(1, 2 * NATURAL_MAX_ROWS):
                hall.clock.advance(READING)
                hall.enter(seat, number, deadline=0.0 if why == "their time is over" else inf)
            assert hall.runs == 1
            await turns(5)
            queued.close()
        assert seat.lane.guests == 0

    run(main)
    answered = 1 if why == "their time is over" else 2 * NATURAL_MAX_ROWS
    assert len(hall.desk.answered) == answered


def refuse_three(signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    if 3 in inputs["x"]:
        raise InvalidArgument("no three")
    return plus_one(signature_name, inputs)


def one_row_too_few(signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    return {"y": inputs["x"][1:] if len(inputs["x"]) > 1 else inputs["x"]}


def leave(signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    raise SystemExit(3)


def not_here(signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    raise NeedsThread


@pytest.mark.parametrize("fails", [refuse_three, one_row_too_few, leave, not_here])
def test_where_a_shared_run_fails_all_of_it_go_the_usual_way(halls: Callable[..., Hall], fails: Run) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open()
        hall.enter(seat, 1)
        hall.servable._run = fails
        for number in (2, 3, 4):
            hall.enter(seat, number)
        await turns()

    run(main)
    assert hall.desk.answered == {1: [2.0]}
    assert hall.desk.sent_on == {2: [2.0], 3: [3.0], 4: [4.0]}


@pytest.mark.parametrize("error", [NotHere(), InvalidArgument("no such type"), ValueError("a fault of ours")])
def test_whom_a_clerk_cannot_answer_goes_the_usual_way(halls: Callable[..., Hall], error: Exception) -> None:
    hall, other = halls(error=error), Desk()

    async def main() -> None:
        seat = await hall.open()
        theirs = hall.seat(desk=other)
        assert theirs is not None
        for number in (1, 2):
            hall.enter(seat, number)
            hall.enter(theirs, -number)
        await turns()

    run(main)
    assert hall.desk.sent_on == {1: [1.0], 2: [2.0]}
    assert other.answered == {-1: [0.0], -2: [-1.0]}


def test_those_for_a_version_that_is_withdrawn_before_the_turn_ends_go_the_usual_way(
    halls: Callable[..., Hall],
) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open()
        for number in (1, 2):
            hall.enter(seat, number)
        hall.handle.withdraw()
        assert hall.drained.is_set()
        await turns()

    run(main)
    assert hall.desk.answered == {1: [2.0]}
    assert hall.desk.sent_on == {2: [2.0]}
    assert hall.runs == 1


def test_a_crowd_whose_version_is_withdrawn_does_not_hold_up_the_loop(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open()
        count = 20 * NATURAL_MAX_ROWS
        for number in range(count):
            hall.enter(seat, number)
        hall.handle.withdraw()
        await turns(4)
        assert 0 < len(hall.desk.sent_on) < count / 2
        await turns(40)
        assert len(hall.desk.answered) + len(hall.desk.sent_on) == count
        assert seat.lane.guests == 0

    run(main)


def test_no_hold_on_the_version_is_left_after_the_turn(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open()
        for number in range(4):
            hall.enter(seat, number)
        await turns()
        hall.handle.withdraw()
        assert hall.drained.is_set()

    run(main)


def slow(hall: Hall, seconds: float) -> Run:
    """Takes so long for each row."""

    def run(signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        hall.clock.advance(seconds * len(inputs["x"]))
        return plus_one(signature_name, inputs)

    return run


def test_as_many_share_a_run_as_it_takes_no_longer_than_the_loop_can_wait(halls: Callable[..., Hall]) -> None:
    hall = halls()
    sizes: list[int] = []

    async def main() -> None:
        seat = await hall.open(0.9 * INLINE_SECONDS)
        inner = slow(hall, 0.9 * INLINE_SECONDS)

        def noted(signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            sizes.append(len(inputs["x"]))
            return inner(signature_name, inputs)

        hall.servable._run = noted
        for number in range(10):
            hall.enter(seat, number)
        await turns(5)

    run(main)
    assert hall.desk.answered == {number: [number + 1.0] for number in range(10)}
    assert sum(sizes) == 10
    assert max(sizes) * 0.9 * INLINE_SECONDS <= SHARED_INLINE_SECONDS
    assert max(sizes) > 1


def test_together_too_long_for_the_loop_after_all_they_go_the_usual_way(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open(0.1 * INLINE_SECONDS)
        hall.servable._run = slow(hall, 0.1 * INLINE_SECONDS)
        for number in range(8):
            hall.enter(seat, number)
        for size in (4, 32):  # others of the kind have found it slow meanwhile
            for _ in range(100):
                seat.lane.times.learn(size, 10 * SHARED_INLINE_SECONDS)
        await turns()

    run(main)
    assert hall.desk.answered == {0: [1.0]}
    assert sorted(hall.desk.sent_on) == [1, 2, 3, 4, 5, 6, 7]


def test_more_wait_for_later_turns_than_one_turn_can_run(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open()
        refuse_others(hall, seat)
        count = 20 * NATURAL_MAX_ROWS
        for number in range(count):
            hall.enter(seat, number)
        assert seat.lane.guests > NATURAL_MAX_ROWS
        await turns(40)
        assert hall.desk.order == list(range(count))
        assert seat.lane.guests == 0

    run(main)


def test_a_lane_for_which_many_wait_holds_up_no_other(halls: Callable[..., Hall]) -> None:
    hall = halls()
    others = Desk()

    async def main() -> None:
        seat = await hall.open()
        crowded, hall.handle = (
            hall.handle,
            VersionHandle(ServableId("m", 2), hall.servable_of(plus_one), lambda _: None),
        )
        hall.servable = hall.handle.servable  # type: ignore[assignment]
        await hall.open()
        other = hall.seat(desk=others)
        assert other is not None
        hall.handle, version = crowded, hall.handle
        refuse_others(hall, seat)
        for number in range(20 * NATURAL_MAX_ROWS):
            hall.enter(seat, number)
        hall.handle = version
        hall.enter(other, 0)
        await turns(4)
        assert others.answered == {0: [1.0]}
        assert seat.lane.guests > NATURAL_MAX_ROWS
        await turns(40)
        assert len(hall.desk.answered) == 20 * NATURAL_MAX_ROWS

    run(main)


def test_those_of_another_kind_have_their_turn_by_when_they_came(halls: Callable[..., Hall]) -> None:
    hall = halls()
    others = Desk()

    async def main() -> None:
        seat = await hall.open()
        other = hall.seat([("x", 0, (1,), np.dtype(np.float64))], others)
        assert other is not None
        assert other.gathering is not seat.gathering
        refuse_others(hall, seat)
        for number in range(10 * NATURAL_MAX_ROWS):
            hall.enter(seat, number, start=1.0)
        content = np.float64([5]).tobytes()
        hall.engine.gather(other, hall.handle, Guest(others, None, 5, 1, 8, 2.0, 2.0, [content]))
        for number in range(10 * NATURAL_MAX_ROWS, 20 * NATURAL_MAX_ROWS):
            hall.enter(seat, number, start=3.0)
        await turns(14)
        assert others.answered == {5: [6.0]}
        assert seat.lane.guests > NATURAL_MAX_ROWS
        await turns(40)
        assert len(hall.desk.answered) == 20 * NATURAL_MAX_ROWS

    run(main)


def crowd(hall: Hall, seat: Seat, seconds: float, count: int) -> None:
    """Many wait, and it is known that the answers to them come so many seconds after each other."""
    for _ in range(100):
        hall.clock.advance(seconds)
        seat.lane.guests = 1
        seat.lane.learn_turn(1, hall.clock())
    seat.lane.guests = count


def test_what_was_read_after_a_long_turn_may_be_as_old_as_that_and_is_refused(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        lane = (seat := await hall.open()).lane
        for number in range(2):  # requests that come together, turn after turn
            hall.enter(seat, number, start=hall.clock())
            hall.enter(seat, number, start=hall.clock())
            hall.clock.advance(0.8 if number == 1 else 0.001)
            await turns(1)
        hall.enter(seat, 2, start=hall.clock())
        lane.guests += 100
        error = hall.engine.refusal(lane, 4, 1.0)
        assert error is not None
        assert "101 requests wait, for about 0.8 s" in error.message
        lane.guests -= 100

    run(main)


def test_a_turn_in_which_all_were_refused_does_not_make_what_comes_much_later_old(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        lane = (seat := await hall.open()).lane
        crowd(hall, seat, 0.01, 1000)
        assert hall.engine.refusal(lane, 4, 1.0) is not None
        await turns(2)
        hall.clock.advance(10.0)
        lane.guests = 10
        lane.refused = None
        assert hall.engine.refusal(lane, 4, 5.0) is None
        lane.guests = 0

    run(main)


def test_who_would_be_answered_too_late_is_refused_and_counted(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open()
        lane, refusal = seat.lane, hall.engine.refusal
        assert refusal(lane, 4, 1.0) is None
        crowd(hall, seat, 0.001, 1000)
        assert refusal(lane, 4, 20.0) is None
        assert refusal(lane, 4, None) is None
        first = refusal(lane, 4, 1.0)
        assert first is not None
        assert first.message == (
            "The batch scheduling queue to which this task was submitted is full; currently 1000 requests wait, for"
            " about 1.1 s, and the client waits for 1 s. Send it again, later."
        )
        assert refusal(lane, 4, 1.0) is first
        lane.guests = 0

    run(main)
    assert hall.metrics.batching.refused.cells() == [(("m", "1", DEFAULT_SIGNATURE), 2)]


def test_a_burst_may_wait_for_longer_than_a_queue_that_stays(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        lane = (seat := await hall.open()).lane
        crowd(hall, seat, 0.001, 450)  # of which there is always somebody, for a tenth of a second
        assert lane.lateness(1.0, 0.0) == ""
        crowd(hall, seat, 0.01, 30)  # for a second more
        assert "30 requests wait" in lane.lateness(1.0, 0.0)
        lane.guests = 0
        lane.learn_turn(1, hall.clock())  # nobody is left
        lane.guests = 30
        assert lane.lateness(1.0, 0.0) == ""
        lane.guests = 0

    run(main)


def test_a_queue_is_kept_short_for_a_while_after_somebody_was_refused(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        lane = (seat := await hall.open()).lane
        for _ in range(20):
            crowd(hall, seat, 0.01, 20)  # clients who wait for their answers before they ask again
            assert lane.lateness(1.0, 0.0) == ""
        lane.guests = 30
        assert "30 requests wait" in lane.lateness(1.0, 0.0)
        lane.guests = 20
        assert "20 requests wait" in lane.lateness(1.0, 0.0)
        crowd(hall, seat, 0.01, 15)
        assert "15 requests wait" in lane.lateness(1.0, 0.0)
        lane.guests = 5
        assert lane.lateness(1.0, 0.0) == ""
        for _ in range(4):
            crowd(hall, seat, 0.01, 20)
        assert lane.lateness(1.0, 0.0) == ""
        lane.guests = 0

    run(main)


@pytest.mark.parametrize("how", ["a turn leaves nobody", "nobody waits", "threads answer"])
def test_it_may_be_long_again_when_it_has_ended(halls: Callable[..., Hall], how: str) -> None:
    hall = halls()

    async def main() -> None:
        lane = (seat := await hall.open()).lane
        crowd(hall, seat, 0.01, 55)
        assert "55 requests wait" in lane.lateness(1.0, 0.0)
        lane.guests = 20
        assert "20 requests wait" in lane.lateness(1.0, 0.0)
        lane.guests = 0
        if how == "a turn leaves nobody":
            lane.learn_turn(1, hall.clock())
        elif how == "nobody waits":
            assert lane.lateness(1.0, 0.0) == ""
        else:
            lane.learn_pace(1, hall.clock())
        lane.guests = 20
        assert lane.lateness(1.0, 0.0) == ""
        lane.guests = 0

    run(main)


def test_turns_that_leave_nobody_show_that_answers_come_faster(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open()
        lane = seat.lane
        crowd(hall, seat, 0.1, 20)
        assert "20 requests wait" in lane.lateness(2.0, 0.0)
        lane.guests = 0
        for _ in range(100):
            hall.clock.advance(0.001)
            lane.learn_turn(10, hall.clock())
        lane.guests = 20
        assert lane.lateness(2.0, 0.0) == ""
        lane.guests = 0

    run(main)


def test_whose_time_is_over_before_the_run_is_told_so(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open()
        hall.enter(seat, 0)  # the turn has a run, so that the next ones wait
        start = hall.clock()
        for number, deadline in ((1, start + 1.0), (2, start + 5.0), (3, start + 2.0)):
            hall.enter(seat, number, deadline=deadline)
        hall.engine._expecting = 1
        hall.clock.advance(3.0)
        await turns()
        assert seat.lane.guests == 0

    run(main)
    assert sorted(hall.desk.answered) == [0, 2]
    assert {number: type(error) for number, error in hall.desk.failed.items()} == {
        1: DeadlineExceeded,
        3: DeadlineExceeded,
    }


def test_what_may_wait_counts_those_who_gather(halls: Callable[..., Hall]) -> None:
    hall = halls(bounds=QueueBounds(requests=3))

    async def main() -> None:
        seat = await hall.open()
        for number in range(4):
            hall.enter(seat, number)
        refused = hall.engine.refusal(seat.lane, 4, None)
        assert refused is not None
        assert "--max_queued_requests=3" in refused.message
        await turns()
        assert hall.engine.refusal(seat.lane, 4, None) is None

    run(main)


def test_who_is_refused_because_others_wait_is_let_in_once_they_do_not(halls: Callable[..., Hall]) -> None:
    hall, others = halls(bounds=QueueBounds(requests=3)), halls()
    others.engine.close()
    others.engine, others.clock = hall.engine, hall.clock

    async def main() -> None:
        seat, other = await hall.open(), await others.open()
        for number in range(4):
            others.enter(other, number)
        assert hall.engine.refusal(seat.lane, 4, None) is not None
        await turns()
        assert sorted(others.desk.answered) == [0, 1, 2, 3]
        assert hall.engine.refusal(seat.lane, 4, None) is None

    run(main)


def test_runs_go_on_in_a_turn_for_longer_the_longer_it_has_taken_to_read(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open()
        hall.servable._run = took(hall, 0.001)
        refuse_others(hall, seat)
        hall.enter(seat, 0)
        hall.engine._expecting = 1
        hall.clock.advance(0.002)  # to read what follows
        for number in range(1, 20 * NATURAL_MAX_ROWS):
            hall.enter(seat, number)
        before = hall.runs
        await turns(1)
        assert 1 < hall.runs - before < 20
        await turns(40)

    run(main)
    assert len(hall.desk.answered) == 20 * NATURAL_MAX_ROWS


def test_however_patient_those_are_who_are_refused_others_are_read_before_a_second_is_over(
    halls: Callable[..., Hall],
) -> None:
    hall = halls(rules=replace(NATURAL, max_rows=1))

    async def main() -> None:
        seat = await hall.open()
        hall.servable._run = slow(hall, 0.9 * INLINE_SECONDS)
        hall.enter(seat, 0)
        hall.engine._expecting = 1
        hall.clock.advance(10.0)  # something has held up the loop
        before = hall.clock()
        for number in range(1, 4000):
            hall.enter(seat, number)
        seat.lane.refused_patience = 1000.0
        await turns(1)
        assert 0.9 < hall.clock() - before < 1.1
        await turns(4000)

    run(main)
    assert len(hall.desk.answered) == 4000


def test_nobody_gathers_whose_run_is_long_or_of_whom_nothing_is_known(halls: Callable[..., Hall]) -> None:
    hall, unknown = halls(), halls()

    async def main() -> None:
        seat = await hall.open(2 * INLINE_SECONDS)
        assert not hall.engine.may_gather(seat)
        first = unknown.seat()
        assert first is not None
        assert not unknown.engine.may_gather(first)

    run(main)


def test_those_in_the_queue_are_run_before_those_who_gather_after_them(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open()
        order: list[str] = []
        hall.enter(seat, 1)  # the turn has a run, so that the next one waits
        lease = hall.handle.acquire()
        assert lease is not None

        async def ask() -> None:
            answer = await hall.engine.run(lease, DEFAULT_SIGNATURE, {"x": np.float32([2])}, ["y"])
            assert answer["y"].tolist() == [3.0]
            order.append(f"queue, {sorted(hall.desk.answered)}")

        with lease:
            waiting = asyncio.ensure_future(ask())
            await asyncio.sleep(0)
            hall.enter(seat, 3, start=hall.clock() + 1.0)
            await waiting
        await turns()
        assert order == ["queue, [1]"]

    run(main)
    assert hall.desk.answered == {1: [2.0], 3: [4.0]}


def test_nobody_gathers_on_another_loop_or_after_the_end(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def first() -> Seat:
        return await hall.open()

    async def second() -> bool:
        return hall.engine.may_gather(seat)

    seat = run(first)
    assert run(second) is False

    async def third() -> bool:
        again = await hall.open()
        assert hall.engine.may_gather(again)
        hall.engine.close()
        return hall.engine.may_gather(again)

    assert run(third) is False


def test_those_who_wait_at_the_end_are_sent_on(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open()
        hall.enter(seat, 1)
        hall.engine._expecting = 1
        lane = seat.lane
        hall.enter(seat, 2)
        hall.engine._turn_due = True
        hall.engine._drop_all()
        assert hall.desk.sent_on == {2: [2.0]}
        assert not any(gathering.guests for gathering in lane.gatherings.values())
        await turns()

    run(main)


def test_runs_of_those_who_gather_are_counted_as_all_others(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open()
        for number in range(5):
            hall.enter(seat, number)
        await turns()

    run(main)
    run_cell = hall.metrics.run_duration.cell("m", "1", DEFAULT_SIGNATURE, "Predict", "unknown")
    assert dict(hall.metrics.graph_runs.cells())[()] == 3  # with the first of all
    assert sum(run_cell.counts) == 6
    assert sum(hall.metrics.queue_duration.cell("m", "1", DEFAULT_SIGNATURE).counts) == 6


@pytest.mark.parametrize(
    ("places", "rules"),
    [
        ([("x", 0, (), FLOAT)], NATURAL),
        ([("x", 0, (0,), FLOAT)], NATURAL),
        ([("x", 0, (NATURAL_MAX_ROWS + 1,), FLOAT)], NATURAL),
        ([("x", 0, (2,), FLOAT), ("z", 1, (3,), FLOAT)], NATURAL),
        ([("x", 0, (1, 1), FLOAT)], NATURAL),
        ([], NATURAL),
        (PLACES, ALONE),
        (PLACES, BatchRules(8, 64, timeout_seconds=1.0)),
        (PLACES, BatchRules(8, 64, is_strict=True, max_request_rows=8)),
    ],
)
def test_kinds_that_share_no_run_or_only_after_a_wait_have_no_seat(
    halls: Callable[..., Hall], places: Sequence[Input], rules: BatchRules
) -> None:
    assert halls(rules=rules).seat(places) is None


def test_a_seat_is_gone_where_a_lane_stops_sharing(halls: Callable[..., Hall]) -> None:
    hall = halls()

    async def main() -> None:
        seat = await hall.open()
        assert hall.engine.may_gather(seat)
        seat.lane.stop_sharing()
        assert not hall.engine.may_gather(seat)

    run(main)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), min_size=1, max_size=12))
def test_every_guest_is_with_its_clerk_and_its_rows(entries: list[tuple[int, int]]) -> None:
    desks = [Desk() for _ in range(3)]
    guests = [
        Guest(desks[desk], None, number, rows, 4 * rows, 0.0, 0.0, []) for number, (desk, rows) in enumerate(entries)
    ]
    gathering, handle = Gathering(NATURAL, []), Hall().handle
    for guest in guests:
        gathering.add(guest, handle)
    party = gathering.next_party(1e9)
    found = {
        guest.request: (clerk, start)
        for clerk, (theirs, starts) in by_clerk(party).items()
        for guest, start in zip(theirs, starts, strict=True)
    }
    before = 0
    for number, (desk, rows) in enumerate(entries):
        assert found[number] == (desks[desk], before)
        before += rows


def test_an_answer_can_be_divided_if_each_output_has_the_rows() -> None:
    assert can_be_divided({"a": np.zeros((3, 2)), "b": np.zeros(3)}, 3)
    assert not can_be_divided({"a": np.zeros((3, 2)), "b": np.zeros(2)}, 3)
    assert not can_be_divided({"a": np.float32(1)}, 1)


def test_a_gathering_in_which_nobody_waits_keeps_no_version() -> None:
    gathering = Gathering(NATURAL, [("x", (), FLOAT)])
    desk, handle = Desk(), Hall().handle
    gathering.add(Guest(desk, None, 0, 1, 4, 0.0, 0.0, [b""], 1.0), handle)
    party = gathering.next_party(0.0)
    assert (party.handle, party.rows, party.size, party.clerk, party.is_mixed) == (handle, 1, 4, desk, False)
    assert (gathering.handle, gathering.rows, gathering.size, gathering.deadline) == (None, 0, 0, inf)
    gathering.add(Guest(desk, None, 0, 1, 4, 0.0, 0.0, [b""], 1.0), handle)
    assert len(gathering.take_late(1.0)) == 1
    assert (gathering.handle, gathering.rows, gathering.size, gathering.deadline) == (None, 0, 0, inf)
