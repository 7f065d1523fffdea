"""Runs a coroutine at once, in the caller's turn of the loop, and makes a task of it only if it has to wait.

Most requests are answered without waiting for anything. A task for each of them costs an object, a callback and a turn
of the loop, more than it takes to answer a small request.

Tasks and threads: `start` makes one task for a coroutine that suspends; whoever called it owns the task and may cancel
it. The task ends with the coroutine.

Source: https://docs.python.org/3/library/asyncio-extending.html for what a task has to tell asyncio about itself.
"""

from __future__ import annotations

import asyncio
from asyncio import Task, current_task
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from typing import Any, Generic, TypeVar

T = TypeVar("T")

Done = Callable[[T | None, BaseException | None], None]
"""Takes what a coroutine has returned, and None; or None, and what it has raised."""


def start(coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, done: Done[T]) -> Task[T] | None:
    """Runs a coroutine up to the first point where it has to wait, and the rest in a task.

    The coroutine runs in a copy of the caller's context, all of it in the same one. `asyncio.timeout` and
    `asyncio.TaskGroup` work from its first line on; the object that `asyncio.current_task` returns before the first
    wait is not the task that goes on afterwards, but hands over to it.

    Args:
        coroutine: What to run; not started yet.
        loop: The running loop, on whose thread this is called.
        done: Called once with the result or the exception, `asyncio.CancelledError` among them: before `start`
            returns if the coroutine does not wait, else in a later turn of the loop. Should not raise.

    Returns:
        The task that goes on with it; None if it has ended. Cancelling the task cancels what the coroutine waits for.

    Raises:
        BaseException: What is neither an `Exception` nor `asyncio.CancelledError`, such as `KeyboardInterrupt`, passes
            through, and `done` is not called.
    """
    context = copy_context()
    started = _Started(coroutine)
    outer = None
    try:
        _enter_task(loop, started)  # type: ignore[arg-type]  # it has what is asked of a task that runs
    except RuntimeError:  # there is a current task; to ask for it first takes longer where there is none
        outer = current_task(loop)
        if outer is None:
            raise
        _leave_task(loop, outer)
        _enter_task(loop, started)  # type: ignore[arg-type]
    try:
        started.awaited = context.run(coroutine.send, None)
    except StopIteration as stop:
        result: T = stop.value
        error: BaseException | None = None
    except (Exception, asyncio.CancelledError) as raised:  # noqa: BLE001  # all of them are the caller's to judge
        error = raised
    else:
        started.task = task = loop.create_task(started, context=context)
        for _ in range(started.cancels):
            task.cancel()
        task.add_done_callback(lambda ended: _report(ended, done))
        return task
    finally:
        _leave_task(loop, started)  # type: ignore[arg-type]
        if outer is not None:
            _enter_task(loop, outer)
    if error is None:
        done(result, None)
    else:
        try:
            done(None, error)
        finally:
            del error  # its traceback holds this frame
    return None


def _report(task: Task[T], done: Done[T]) -> None:
    if task.cancelled():
        done(None, asyncio.CancelledError())
        return
    error = task.exception()
    if error is None:
        done(task.result(), None)
    else:
        done(None, error)


class _Started(Coroutine[Any, Any, T], Generic[T]):
    """A coroutine that has taken its first step: to itself the task that runs it, to the later task a coroutine.

    Attributes:
        awaited: What the first step waits for, until the task has been told: a future, or None to be called again.
        task: The task that goes on; None during the first step.
        cancels: How often cancellation was asked for during the first step, less what was taken back.
    """

    __slots__ = ("_coroutine", "_resumed", "awaited", "cancels", "task")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._resumed = False
        self.awaited: Any = None
        self.task: Task[T] | None = None
        self.cancels = 0

    # As a coroutine, for the task.

    def send(self, value: Any) -> Any:
        if self._resumed:
            return self._coroutine.send(value)
        self._resumed = True
        awaited, self.awaited = self.awaited, None
        # Nothing to wait for but a turn of the loop, which the start of the task has been.
        return self._coroutine.send(None) if awaited is None else awaited

    def throw(self, *error: Any) -> Any:
        if not self._resumed:
            self._resumed = True
            awaited, self.awaited = self.awaited, None
            # A task passes its cancellation on to what it waits for. This one has not been told yet what that is.
            if awaited is not None and isinstance(error[0], asyncio.CancelledError) and awaited.cancel():
                return awaited
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine.__await__()

    # As the task of the first step.

    def cancel(self, msg: object = None) -> bool:
        if self.task is not None:
            return self.task.cancel(msg)
        self.cancels += 1
        return True

    def uncancel(self) -> int:
        if self.task is not None:
            return self.task.uncancel()
        self.cancels = max(0, self.cancels - 1)
        return self.cancels

    def cancelling(self) -> int:
        return self.cancels if self.task is None else self.task.cancelling()

    def done(self) -> bool:
        return self.task is not None and self.task.done()

    def get_name(self) -> str:
        return "started" if self.task is None else self.task.get_name()
