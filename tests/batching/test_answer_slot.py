from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
import uvloop

from hotserve.batching.answer_slot import AnswerSlot

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    def run(test: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param, debug=True) as runner:
            runner.run(test)

    return run


class Noted(AnswerSlot[str]):
    """Notes that it was given up."""

    __slots__ = ("given_up",)

    def __init__(self) -> None:
        super().__init__()
        self.given_up = 0

    def abandoned(self) -> None:
        self.given_up += 1


async def wait(slot: AnswerSlot[str]) -> str:
    return await slot


def test_a_task_waits_for_it_as_for_a_future(run: Run) -> None:
    async def test() -> None:
        slot: AnswerSlot[str] = AnswerSlot()
        task = asyncio.ensure_future(wait(slot))
        await asyncio.sleep(0)
        assert not slot.done()
        slot.set_result("there")
        assert slot.done()
        assert await task == "there"

    run(test())


def test_a_task_is_raised_what_was_put_in_for_an_answer(run: Run) -> None:
    async def test() -> None:
        slot: AnswerSlot[str] = AnswerSlot()
        task = asyncio.ensure_future(wait(slot))
        await asyncio.sleep(0)
        slot.set_exception(LookupError("no"))
        with pytest.raises(LookupError, match="no"):
            await task

    run(test())


def test_an_answer_that_is_there_is_not_waited_for(run: Run) -> None:
    async def test() -> None:
        slot: AnswerSlot[str] = AnswerSlot()
        slot.set_result("there")
        with pytest.raises(StopIteration, match="there"):
            wait(slot).send(None)
        failed: AnswerSlot[str] = AnswerSlot()
        failed.set_exception(LookupError("no"))
        with pytest.raises(LookupError):
            wait(failed).send(None)

    run(test())


def test_a_task_that_is_cancelled_gives_it_up(run: Run) -> None:
    async def test() -> None:
        slot = Noted()
        task = asyncio.ensure_future(wait(slot))
        await asyncio.sleep(0)
        task.cancel()
        assert slot.given_up == 1
        assert slot.done()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert slot.given_up == 1
        assert not slot.cancel()

    run(test())


def test_a_coroutine_that_is_closed_gives_it_up(run: Run) -> None:
    async def test() -> None:
        slot = Noted()
        coroutine = wait(slot)
        coroutine.send(None)
        coroutine.close()
        assert slot.given_up == 1

    run(test())


def test_a_task_whose_answer_came_first_is_cancelled_all_the_same(run: Run) -> None:
    async def test() -> None:
        slot = Noted()
        task = asyncio.ensure_future(wait(slot))
        await asyncio.sleep(0)
        slot.set_result("there")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert slot.given_up == 0

    run(test())


def test_what_asyncio_has_for_futures_takes_it(run: Run) -> None:
    async def test() -> None:
        slot: AnswerSlot[str] = AnswerSlot()
        asyncio.get_running_loop().call_soon(slot.set_result, "there")
        assert await asyncio.wait_for(slot, 30) == "there"
        slot = AnswerSlot()
        asyncio.get_running_loop().call_soon(slot.set_result, "there")
        assert await asyncio.gather(asyncio.shield(wait(slot)), asyncio.sleep(0, "then")) == ["there", "then"]
        slot = Noted()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await slot
        assert slot.given_up == 1

    run(test())


def test_callbacks_are_called_in_a_later_turn_unless_they_are_removed(run: Run) -> None:
    async def test() -> None:
        slot: AnswerSlot[str] = AnswerSlot()
        called: list[AnswerSlot[str]] = []
        removed: list[AnswerSlot[str]] = []
        slot.add_done_callback(called.append)
        slot.add_done_callback(removed.append)
        assert slot.remove_done_callback(removed.append) == 1
        assert slot.remove_done_callback(removed.append) == 0
        slot.set_result("there")
        assert called == []
        await asyncio.sleep(0)
        assert called == [slot]
        slot.add_done_callback(called.append)
        await asyncio.sleep(0)
        assert called == [slot, slot]
        assert removed == []

    run(test())


@pytest.mark.parametrize("ended", ["answered", "refused", "given up"])
def test_there_is_one_answer_only(run: Run, ended: str) -> None:
    async def test() -> None:
        slot: AnswerSlot[str] = AnswerSlot()
        with pytest.raises(asyncio.InvalidStateError):
            slot.result()
        with pytest.raises(asyncio.InvalidStateError):
            slot.exception()
        match ended:
            case "answered":
                slot.set_result("there")
                assert (slot.result(), slot.exception(), slot.cancelled()) == ("there", None, False)
            case "refused":
                error = LookupError("no")
                slot.set_exception(error)
                assert (slot.exception(), slot.cancelled()) == (error, False)
            case _:
                assert slot.cancel()
                assert slot.cancelled()
                with pytest.raises(asyncio.CancelledError):
                    slot.exception()
        for put in (lambda: slot.set_result("again"), lambda: slot.set_exception(LookupError("again"))):
            with pytest.raises(asyncio.InvalidStateError):
                put()

    run(test())


def test_an_error_that_was_raised_leaves_no_circle_of_references(run: Run) -> None:
    class Marked(ValueError):
        """Of which there are weak references."""

    async def work(slot: AnswerSlot[str]) -> None:
        await slot

    async def test() -> None:
        slot: AnswerSlot[str] = AnswerSlot()
        coroutine = work(slot)
        coroutine.send(None)
        error = Marked("no")
        slot.set_exception(error)
        with suppress(ValueError):
            coroutine.send(None)
        seen = weakref.ref(error)
        del coroutine, error, slot
        assert seen() is None

    gc.collect()
    gc.disable()
    try:
        run(test())
    finally:
        gc.enable()
