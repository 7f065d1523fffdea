from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from hotserve.batching.answer_slot import AnswerSlot
from hotserve.wires.eager import Pending, start

Outcome = tuple[Any, BaseException | None]
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


class Outcomes(list[Outcome]):
    """What `done` was called with; `wait` returns the first once there is one."""

    def __init__(self) -> None:
        self._arrived = asyncio.Event()

    def __call__(self, result: Any, error: BaseException | None) -> None:
        self.append((result, error))
        self._arrived.set()

    async def wait(self) -> Outcome:
        await asyncio.wait_for(self._arrived.wait(), 30)
        return self[0]


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    def run(test: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param, debug=True) as runner:
            runner.run(test)

    return run


Run = Callable[[Coroutine[Any, Any, None]], None]


def begin(coroutine: Coroutine[Any, Any, Any], done: Outcomes) -> Pending | None:
    return start(coroutine, asyncio.get_running_loop(), done)


def begin_task(coroutine: Coroutine[Any, Any, Any], done: Outcomes) -> asyncio.Task[Any]:
    task = begin(coroutine, done)
    assert isinstance(task, asyncio.Task)
    return task


async def answer(value: Any, *waits: Awaitable[Any]) -> Any:
    for wait in waits:
        await wait
    return value


async def fail(error: BaseException, *waits: Awaitable[Any]) -> None:
    for wait in waits:
        await wait
    raise error


def test_a_coroutine_that_does_not_wait_has_ended_when_start_returns_and_no_task_was_made(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()
        before = asyncio.all_tasks()
        assert begin(answer("at once"), done) is None
        assert done == [("at once", None)]
        assert asyncio.all_tasks() == before

    run(test())


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError(), TimeoutError()])
def test_what_it_raises_is_handed_over(run: Run, error: BaseException) -> None:
    async def test() -> None:
        done = Outcomes()
        assert begin(fail(error), done) is None
        assert done == [(None, error)]

    run(test())


@pytest.mark.parametrize("error", [ValueError("no"), TimeoutError()])
def test_what_it_raises_after_a_wait_is_handed_over(run: Run, error: BaseException) -> None:
    async def test() -> None:
        done = Outcomes()
        assert begin(fail(error, asyncio.sleep(0)), done) is not None
        assert await done.wait() == (None, error)

    run(test())


def test_the_end_of_the_program_is_not_taken_for_an_answer(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()
        with pytest.raises(KeyboardInterrupt):
            begin(fail(KeyboardInterrupt()), done)
        assert done == []
        assert begin(answer("next"), done) is None
        assert done == [("next", None)]

    run(test())


@pytest.mark.parametrize("waits", [1, 2, 17])
def test_it_may_wait_for_any_number_of_futures(run: Run, waits: int) -> None:
    async def test() -> None:
        done = Outcomes()
        futures = [asyncio.get_running_loop().create_future() for _ in range(waits)]
        task = begin_task(answer("later", *futures), done)
        for future in futures:
            assert done == []
            future.set_result(None)
            await asyncio.sleep(0)
        assert await done.wait() == ("later", None)
        assert await task == "later"

    run(test())


def test_a_future_that_is_ready_by_the_time_the_task_begins_is_not_waited_for_forever(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()
        future = asyncio.get_running_loop().create_future()
        begin(answer("ready", future), done)
        future.set_result(None)
        assert await done.wait() == ("ready", None)

    run(test())


def test_turns_of_the_loop_can_be_waited_for(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()
        begin(answer("turns", asyncio.sleep(0), asyncio.sleep(0)), done)
        assert done == []
        assert await done.wait() == ("turns", None)

    run(test())


def test_done_is_called_once(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()
        task = begin(answer("once", asyncio.sleep(0)), done)
        await done.wait()
        assert task is not None
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert done == [("once", None)]

    run(test())


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_cancelling_reaches_what_is_waited_for_and_then_the_coroutine(run: Run, turns: int) -> None:
    """With `turns` 0 the task has not begun when it is cancelled."""

    async def test() -> None:
        done = Outcomes()
        future = asyncio.get_running_loop().create_future()
        seen = []

        async def work() -> None:
            try:
                await future
            except asyncio.CancelledError:
                seen.append(future.cancelled())
                await asyncio.sleep(0)
                seen.append("cleaned up")
                raise

        task = begin_task(work(), done)
        for _ in range(turns):
            await asyncio.sleep(0)
        assert task.cancel()
        result, error = await done.wait()
        assert result is None
        assert isinstance(error, asyncio.CancelledError)
        assert seen == [True, "cleaned up"]
        assert task.cancelled()

    run(test())


@pytest.mark.parametrize("turns", [0, 1])
def test_a_coroutine_may_answer_although_it_was_cancelled(run: Run, turns: int) -> None:
    async def test() -> None:
        done = Outcomes()

        async def work() -> str:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                return "all the same"
            raise AssertionError

        task = begin_task(work(), done)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        assert await done.wait() == ("all the same", None)

    run(test())


def test_cancelling_when_the_wait_is_over_reaches_the_coroutine_itself(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()
        future = asyncio.get_running_loop().create_future()
        task = begin_task(answer("too late", future), done)
        future.set_result(None)
        task.cancel()
        _, error = await done.wait()
        assert isinstance(error, asyncio.CancelledError)
        assert not future.cancelled()

    run(test())


def test_cancelling_during_a_turn_of_the_loop_reaches_the_coroutine(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()
        task = begin_task(answer("too late", asyncio.sleep(0)), done)
        task.cancel()
        _, error = await done.wait()
        assert isinstance(error, asyncio.CancelledError)

    run(test())


def test_a_timeout_that_is_set_after_the_first_wait_ends_a_later_one(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()

        async def work() -> str:
            await asyncio.sleep(0)
            try:
                async with asyncio.timeout(0.001):
                    await asyncio.get_running_loop().create_future()
            except TimeoutError:
                await asyncio.sleep(0)
                return "timed out"
            raise AssertionError

        begin(work(), done)
        assert await done.wait() == ("timed out", None)

    run(test())


def test_a_timeout_before_the_first_wait_is_refused_where_there_is_no_task(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()

        async def work() -> None:
            async with asyncio.timeout(30):
                await asyncio.sleep(0)

        asyncio.get_running_loop().call_soon(begin, work(), done)
        _, error = await done.wait()
        assert isinstance(error, RuntimeError)

    run(test())


def test_no_task_is_current_before_the_first_wait_nor_while_answers_are_waited_for(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()
        slot: AnswerSlot[str] = AnswerSlot()

        async def work() -> list[Any]:
            seen = [asyncio.current_task()]
            await slot
            return [*seen, asyncio.current_task()]

        loop = asyncio.get_running_loop()
        loop.call_soon(begin, work(), done)
        loop.call_soon(slot.set_result, "there")
        assert await done.wait() == ([None, None], None)

    run(test())


def test_cancelling_inside_a_timeout_is_no_timeout(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()

        async def work() -> None:
            await asyncio.sleep(0)
            async with asyncio.timeout(30):
                await asyncio.get_running_loop().create_future()

        task = begin_task(work(), done)
        await asyncio.sleep(0)
        task.cancel()
        _, error = await done.wait()
        assert isinstance(error, asyncio.CancelledError)

    run(test())


def test_the_task_is_the_current_one_after_the_first_wait(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()

        async def work() -> Any:
            await asyncio.sleep(0)
            return asyncio.current_task()

        task = begin(work(), done)
        assert await done.wait() == (task, None)

    run(test())


class Raises(Outcomes):
    def __call__(self, result: Any, error: BaseException | None) -> None:
        super().__call__(result, error)
        raise LookupError(result)


def test_an_answer_resumes_the_coroutine_in_the_call_that_brings_it_and_without_a_task(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()
        slots = [AnswerSlot[str]() for _ in range(3)]
        before = asyncio.all_tasks()
        assert begin(answer("all", *slots), done) is not None
        for slot in slots:
            assert done == []
            slot.set_result("one")
        assert done == [("all", None)]
        assert asyncio.all_tasks() == before

    run(test())


def test_what_an_answer_raises_goes_through_the_coroutine(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()
        slot: AnswerSlot[str] = AnswerSlot()
        begin(answer("never", slot), done)
        error = ValueError("no")
        slot.set_exception(error)
        assert done == [(None, error)]

    run(test())


def test_after_an_answer_anything_else_can_be_waited_for_and_after_that_an_answer_again(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()
        slots = [AnswerSlot[str](), AnswerSlot[str]()]
        future = asyncio.get_running_loop().create_future()
        begin(answer("all", slots[0], asyncio.sleep(0), future, slots[1]), done)
        slots[0].set_result("one")
        future.set_result("two")
        asyncio.get_running_loop().call_later(0.001, slots[1].set_result, "three")
        assert await done.wait() == ("all", None)

    run(test())


def test_a_cancelled_wait_for_an_answer_gives_the_answer_up_and_ends_in_the_next_turn(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()
        slot: AnswerSlot[str] = AnswerSlot()
        seen = []

        async def work() -> None:
            try:
                await slot
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                seen.append("cleaned up")
                raise

        pending = begin(work(), done)
        assert pending is not None
        assert pending.cancel()
        assert slot.done()
        assert done == []
        result, error = await done.wait()
        assert (result, type(error)) == (None, asyncio.CancelledError)
        assert seen == ["cleaned up"]
        assert not pending.cancel()

    run(test())


@pytest.mark.parametrize("waits_for_answer", [True, False])
def test_a_coroutine_that_is_cancelled_by_what_its_step_calls_is_cancelled_at_its_next_wait(
    run: Run, *, waits_for_answer: bool
) -> None:
    async def test() -> None:
        done = Outcomes()
        first: AnswerSlot[str] = AnswerSlot()
        pending: list[Pending | None] = []

        async def work() -> None:
            await first
            assert pending[0] is not None
            assert pending[0].cancel()
            await (AnswerSlot[str]() if waits_for_answer else asyncio.get_running_loop().create_future())

        pending.append(begin(work(), done))
        first.set_result("go on")
        _, error = await done.wait()
        assert isinstance(error, asyncio.CancelledError)

    run(test())


def test_once_it_has_ended_there_is_nothing_to_cancel(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()
        slot: AnswerSlot[str] = AnswerSlot()
        pending = begin(answer("there", slot), done)
        slot.set_result("x")
        assert pending is not None
        assert not pending.cancel()
        await asyncio.sleep(0)
        assert done == [("there", None)]

    run(test())


def test_who_cannot_take_an_outcome_does_not_harm_whoever_brings_it(run: Run) -> None:
    async def test() -> None:
        faults: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
        slot: AnswerSlot[str] = AnswerSlot()
        done = Raises()
        begin(answer("there", slot), done)
        slot.set_result("x")
        assert done == [("there", None)]
        assert [type(fault) for fault in faults] == [LookupError]

    run(test())


class Keeper:
    """Keeps what goes on with its work, which in turn calls it when that has ended."""

    def __init__(self) -> None:
        self.pending: Pending | None = None
        self.ended = asyncio.Event()

    def done(self, result: Any, error: BaseException | None) -> None:
        self.ended.set()


@pytest.mark.parametrize("turns", [0, 1])
def test_what_has_ended_and_who_keeps_it_do_not_keep_each_other(run: Run, turns: int) -> None:
    async def test() -> None:
        keeper = Keeper()
        slot: AnswerSlot[str] = AnswerSlot()
        waits = [slot, *(asyncio.sleep(0) for _ in range(turns))]
        keeper.pending = start(answer("there", *waits), asyncio.get_running_loop(), keeper.done)
        slot.set_result("x")
        await keeper.ended.wait()
        await asyncio.sleep(0)
        seen = weakref.ref(keeper)
        del keeper
        assert seen() is None

    gc.disable()
    try:
        run(test())
    finally:
        gc.enable()


def test_the_end_of_the_program_goes_to_whoever_brings_an_answer(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()
        slot: AnswerSlot[str] = AnswerSlot()
        begin(fail(KeyboardInterrupt(), slot), done)
        with pytest.raises(KeyboardInterrupt):
            slot.set_result("x")
        assert done == []

    run(test())


STEPS = st.lists(
    st.sampled_from(["turn", "ready", "pending", "failed", "shield", "timeout", "answer", "refusal"]), max_size=5
)
ENDS = st.sampled_from(["return", "raise", "cancel"])


def put(slot: AnswerSlot[str], step: str) -> None:
    if not slot.done():
        if step == "answer":
            slot.set_result(step)
        else:
            slot.set_exception(ValueError(step))


async def scripted(steps: list[str], end: str, trace: list[str]) -> str:
    loop = asyncio.get_running_loop()
    for step in steps:
        trace.append(step)
        try:
            future = loop.create_future()
            if step == "turn":
                await asyncio.sleep(0)
            elif step in ("answer", "refusal"):
                slot: AnswerSlot[str] = AnswerSlot()
                loop.call_soon(put, slot, step)
                await slot
            elif step == "timeout":
                async with asyncio.timeout(0):
                    await future
            else:
                if step == "ready":
                    future.set_result(None)
                elif step == "failed":
                    loop.call_soon(future.set_exception, ValueError(step))
                else:
                    loop.call_soon(lambda future=future: future.done() or future.set_result(None))
                await (asyncio.shield(future) if step == "shield" else future)
        except BaseException as error:
            trace.append(type(error).__name__)
            if isinstance(error, asyncio.CancelledError):
                raise
    if end == "raise":
        raise LookupError
    if end == "cancel":
        raise asyncio.CancelledError
    return end


def after_a_wait(steps: list[str]) -> list[str]:
    """Without the timeouts before the first step that waits, which need a task."""
    first = next(
        (index for index, step in enumerate(steps) if step not in ("answer", "ready", "refusal", "timeout")), len(steps)
    )
    return [step for index, step in enumerate(steps) if step != "timeout" or index > first]


@given(steps=STEPS.map(after_a_wait), end=ENDS, cancel_after=st.none() | st.integers(0, 6))
def test_it_does_what_a_task_does(steps: list[str], end: str, cancel_after: int | None) -> None:
    """Both take the same steps and end alike; a plain task has its first step when an eager one is made.

    One that waits for answers gets ahead of the plain task, and is not cancelled here.
    """
    if {"answer", "refusal"} & set(steps):
        cancel_after = None

    async def test() -> None:
        plain_trace: list[str] = []
        eager_trace: list[str] = []
        plain = asyncio.ensure_future(scripted(steps, end, plain_trace))
        await asyncio.sleep(0)
        done = Outcomes()
        eager = begin(scripted(steps, end, eager_trace), done)
        if cancel_after is not None:
            for _ in range(cancel_after):
                await asyncio.sleep(0)
            if not plain.done() and isinstance(eager, asyncio.Task) and not eager.done():
                plain.cancel()
                eager.cancel()
        await asyncio.wait((plain,), timeout=30)
        await done.wait()
        if cancel_after is None:
            assert eager_trace == plain_trace
        expected = asyncio.CancelledError if plain.cancelled() else type(plain.exception())
        result, error = done[0]
        assert type(error) is expected
        assert result == (None if error else plain.result())

    asyncio.run(test())
