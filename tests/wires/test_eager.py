from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from hotserve.wires.eager import start

Outcome = tuple[Any, BaseException | None]
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]

variable: ContextVar[str] = ContextVar("variable", default="unset")


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


def begin(coroutine: Coroutine[Any, Any, Any], done: Outcomes) -> asyncio.Task[Any] | None:
    return start(coroutine, asyncio.get_running_loop(), done)


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
        task = begin(answer("later", *futures), done)
        assert task is not None
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

        task = begin(work(), done)
        assert task is not None
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

        task = begin(work(), done)
        assert task is not None
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        assert await done.wait() == ("all the same", None)

    run(test())


def test_cancelling_when_the_wait_is_over_reaches_the_coroutine_itself(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()
        future = asyncio.get_running_loop().create_future()
        task = begin(answer("too late", future), done)
        assert task is not None
        future.set_result(None)
        task.cancel()
        _, error = await done.wait()
        assert isinstance(error, asyncio.CancelledError)
        assert not future.cancelled()

    run(test())


def test_cancelling_during_a_turn_of_the_loop_reaches_the_coroutine(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()
        task = begin(answer("too late", asyncio.sleep(0)), done)
        assert task is not None
        task.cancel()
        _, error = await done.wait()
        assert isinstance(error, asyncio.CancelledError)

    run(test())


def test_a_coroutine_may_cancel_itself_before_its_first_wait(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()

        async def work() -> None:
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            assert task.cancel()
            assert task.cancelling() == 1
            await asyncio.sleep(30)

        begin(work(), done)
        _, error = await done.wait()
        assert isinstance(error, asyncio.CancelledError)

    run(test())


def test_a_cancellation_that_was_taken_back_does_not_count(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()

        async def work() -> int:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            assert task.uncancel() == 0
            await asyncio.sleep(0)
            return task.cancelling()

        begin(work(), done)
        assert await done.wait() == (0, None)

    run(test())


def test_a_timeout_that_is_set_before_the_first_wait_ends_it(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()

        async def work() -> str:
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


def test_a_timeout_that_is_not_reached_leaves_no_trace(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()

        async def work() -> str:
            async with asyncio.timeout(30):
                await answer("without a wait")
            async with asyncio.timeout(30):
                await asyncio.sleep(0)
            return "in time"

        begin(work(), done)
        assert await done.wait() == ("in time", None)

    run(test())


def test_cancelling_inside_a_timeout_is_no_timeout(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()

        async def work() -> None:
            async with asyncio.timeout(30):
                await asyncio.get_running_loop().create_future()

        task = begin(work(), done)
        assert task is not None
        task.cancel()
        _, error = await done.wait()
        assert isinstance(error, asyncio.CancelledError)

    run(test())


def test_a_group_of_tasks_can_be_opened_before_the_first_wait(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()

        async def work() -> list[type[Exception]]:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(fail(ValueError("no"), asyncio.sleep(0)))
                    await asyncio.get_running_loop().create_future()
            except ExceptionGroup as group:
                return [type(error) for error in group.exceptions]
            raise AssertionError

        begin(work(), done)
        assert await done.wait() == ([ValueError], None)

    run(test())


def test_the_current_task_is_what_it_was_when_start_returns(run: Run) -> None:
    async def test() -> None:
        outer = asyncio.current_task()
        done = Outcomes()
        inner = []

        async def work(depth: int) -> None:
            inner.append(asyncio.current_task())
            if depth:
                begin(work(depth - 1), done)
            assert asyncio.current_task() is inner[-1 - depth]

        begin(work(2), done)
        assert asyncio.current_task() is outer
        assert len({id(task) for task in [outer, *inner]}) == 4
        assert done == [(None, None)] * 3
        called = asyncio.get_running_loop().create_future()

        def callback() -> None:
            begin(work(0), done)
            called.set_result(asyncio.current_task())

        asyncio.get_running_loop().call_soon(callback)
        assert await called is None

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


def test_it_runs_in_one_copy_of_the_callers_context(run: Run) -> None:
    async def test() -> None:
        done = Outcomes()
        variable.set("the caller's")

        async def work() -> list[str]:
            seen = [variable.get()]
            variable.set("its own")
            await asyncio.sleep(0)
            return [*seen, variable.get()]

        begin(work(), done)
        assert variable.get() == "the caller's"
        assert await done.wait() == (["the caller's", "its own"], None)
        assert variable.get() == "the caller's"

    run(test())


STEPS = st.lists(st.sampled_from(["turn", "ready", "pending", "failed", "shield", "timeout"]), max_size=5)
ENDS = st.sampled_from(["return", "raise", "cancel"])


async def scripted(steps: list[str], end: str, trace: list[str]) -> str:
    loop = asyncio.get_running_loop()
    for step in steps:
        trace.append(step)
        try:
            future = loop.create_future()
            if step == "turn":
                await asyncio.sleep(0)
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


@given(steps=STEPS, end=ENDS, cancel_after=st.none() | st.integers(0, 6))
def test_it_does_what_a_task_does(steps: list[str], end: str, cancel_after: int | None) -> None:
    """Both take the same steps and end alike; a plain task has its first step when an eager one is made."""

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
            if not plain.done() and eager is not None and not eager.done():
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
