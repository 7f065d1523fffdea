"""Runs a coroutine at once, in the caller's turn of the loop, and makes a task of it only if it has to.

Most requests are answered without waiting for anything, and most of the others wait for an engine's answer only
(`AnswerSlot`), which resumes them in the call that brings it. A task for each of them costs an object, callbacks and
turns of the loop, more than it takes to answer a small request. What waits for anything else becomes a task.

Tasks and threads: at most one task for a coroutine, made when it first waits for something of asyncio's. Whoever called
`start` owns what goes on and may cancel it. The task ends with the coroutine.

Source: https://docs.python.org/3/library/asyncio-extending.html for what a task expects of a coroutine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, Protocol, TypeVar

from hotserve.batching.answer_slot import AnswerSlot

T = TypeVar("T")

Done = Callable[[T | None, BaseException | None], None]
"""Takes what a coroutine has returned, and None; or None, and what it has raised."""


class Pending(Protocol):
    """What goes on with a coroutine."""

    def cancel(self) -> bool:
        """Cancels what the coroutine waits for, and so the coroutine; returns whether it was still going on."""
        ...


def start(coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, done: Done[T]) -> Pending | None:
    """Runs a coroutine up to the first point where it has to wait, and the rest when it need not wait any more.

    It runs in the context of whoever resumes it, and in no task until it first waits for something other than an
    `AnswerSlot`. So `asyncio.timeout` and `asyncio.TaskGroup`, which need a task, raise `RuntimeError` before that.

    Args:
        coroutine: What to run; not started yet.
        loop: The running loop, on whose thread this is called.
        done: Called once with the result or the exception, `asyncio.CancelledError` among them: before `start`
            returns if the coroutine does not wait, else in the call that brings it what it waited for. What it raises
            then goes to the loop's exception handler.

    Returns:
        What goes on with it; None if it has ended.

    Raises:
        BaseException: What is neither an `Exception` nor `asyncio.CancelledError`, such as `KeyboardInterrupt`, passes
            through, and `done` is not called.
    """
    try:
        awaited = coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        error: BaseException | None = None
    except (Exception, asyncio.CancelledError) as raised:  # noqa: BLE001  # all of them are the caller's to judge
        error = raised
    else:
        if isinstance(awaited, AnswerSlot):
            return _Waiting(coroutine, loop, done, awaited)
        return _run_in_task(coroutine, loop, done, awaited)
    if error is None:
        done(result, None)
    else:
        try:
            done(None, error)
        finally:
            del error  # its traceback holds this frame
    return None


class _Waiting(Generic[T]):
    """Goes on with a coroutine that waits for answers."""

    __slots__ = ("_coroutine", "_done", "_loop", "_slot", "_task", "_to_cancel")

    def __init__(
        self, coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, done: Done[T], slot: AnswerSlot[Any]
    ) -> None:
        self._coroutine = coroutine
        self._loop = loop
        self._done = done
        self._slot: AnswerSlot[Any] | None = slot
        self._task: asyncio.Task[T] | None = None
        self._to_cancel = False  # asked for during a step
        slot.waiter = self

    def resume(self) -> None:
        """Called by the slot: there is an answer."""
        self._slot = None
        try:
            awaited = self._coroutine.send(None)
        except StopIteration as stop:
            result: T | None = stop.value
            error: BaseException | None = None
        except (Exception, asyncio.CancelledError) as raised:  # noqa: BLE001  # all of them are the caller's to judge
            result, error = None, raised
        else:
            self._wait(awaited)
            return
        done = self._done
        del self._done  # it is of whoever keeps this: they would keep each other
        try:
            done(result, error)
        except Exception as fault:  # noqa: BLE001  # the others of the batch must have their answers
            self._loop.call_exception_handler({"message": f"{done} failed", "exception": fault})
        finally:
            del error  # its traceback holds this frame

    def resume_soon(self) -> None:
        """Called by the slot: nobody waits any more."""
        self._loop.call_soon(self.resume)

    def _wait(self, awaited: Any) -> None:
        if isinstance(awaited, AnswerSlot):
            self._slot = awaited
            awaited.waiter = self
        else:
            self._task = _run_in_task(self._coroutine, self._loop, self._done, awaited)
            del self._done
        if self._to_cancel:
            self._to_cancel = False
            self.cancel()

    def cancel(self) -> bool:
        if self._task is not None:
            return self._task.cancel()
        if self._slot is not None:
            return self._slot.cancel()
        self._to_cancel = self._coroutine.cr_running  # type: ignore[attr-defined]  # coroutines have it
        return self._to_cancel


def _run_in_task(
    coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, done: Done[T], awaited: Any
) -> asyncio.Task[T]:
    task = loop.create_task(_Suspended(coroutine, awaited))
    task.add_done_callback(lambda ended: _report(ended, done))
    return task


def _report(task: asyncio.Task[T], done: Done[T]) -> None:
    if task.cancelled():
        done(None, asyncio.CancelledError())
        return
    error = task.exception()
    if error is None:
        done(task.result(), None)
    else:
        done(None, error)


class _Suspended(Coroutine[Any, Any, T], Generic[T]):
    """A coroutine that waits for something, made into one that has not begun, so that a task can go on with it."""

    __slots__ = ("_awaited", "_coroutine", "_is_begun")

    def __init__(self, coroutine: Coroutine[Any, Any, T], awaited: Any) -> None:
        self._coroutine = coroutine
        self._awaited = awaited  # a future, or None to be called again
        self._is_begun = False

    def send(self, value: Any) -> Any:
        if self._is_begun:
            return self._coroutine.send(value)
        self._is_begun = True
        awaited, self._awaited = self._awaited, None
        # Nothing to wait for but a turn of the loop, which the start of the task has been.
        return self._coroutine.send(None) if awaited is None else awaited

    def throw(self, *error: Any) -> Any:
        if not self._is_begun:
            self._is_begun = True
            awaited, self._awaited = self._awaited, None
            # A task passes its cancellation on to what it waits for. This one has not been told yet what that is.
            if awaited is not None and isinstance(error[0], asyncio.CancelledError) and awaited.cancel():
                return awaited
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine.__await__()
