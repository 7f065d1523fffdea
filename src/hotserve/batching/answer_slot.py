"""An answer that is not there yet, and whoever waits for it.

A future of asyncio tells its task in a later turn of the loop, with a callback that is queued for each. Here the
answers of a whole batch arrive in one call, and those who wait can take theirs in that call, one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")


class Waiter(Protocol):
    """Who goes on when an answer is there."""

    def resume(self) -> None:
        """Goes on, in the call that has brought the answer. Raises nothing that is an `Exception`."""
        ...

    def resume_soon(self) -> None:
        """Goes on in the next turn of the loop."""
        ...


class AnswerSlot(Generic[T]):
    """Where one answer will be put, on one event loop and its thread.

    What runs a coroutine that awaits it is handed the slot. `hotserve.wires.eager` puts itself into `waiter` and is
    resumed as soon as there is an answer. To a task of asyncio the slot is a future: tasks take any object that has
    `_asyncio_future_blocking` and a future's methods for one, and are told in the next turn of the loop.

    One coroutine may await it, once: an error is handed over to it and not kept.

    Attributes:
        waiter: Who is resumed, once.

    Source: https://docs.python.org/3/library/asyncio-extending.html and `asyncio.isfuture` for what tasks ask of it.
    """

    __slots__ = ("_asyncio_future_blocking", "_callbacks", "_error", "_is_done", "_result", "waiter")

    def __init__(self) -> None:
        self.waiter: Waiter | None = None
        self._asyncio_future_blocking = False
        self._callbacks: list[_Callback[T]] | None = None
        self._is_done = False
        self._error: BaseException | None = None

    # For whoever answers.

    def done(self) -> bool:
        """Whether there is an answer, or nobody waits for one any more."""
        return self._is_done

    def set_result(self, result: T) -> None:
        """Puts the answer in, and resumes who waits.

        Raises:
            asyncio.InvalidStateError: There is one already.
        """
        if self._is_done:
            raise asyncio.InvalidStateError("There is an answer already.")
        self._is_done = True
        self._result = result
        self._tell()

    def set_exception(self, error: BaseException) -> None:
        """As `set_result`, with what is raised where the answer is awaited; no `StopIteration`."""
        if self._is_done:
            raise asyncio.InvalidStateError("There is an answer already.")
        self._is_done = True
        self._error = error
        self._tell()

    def abandoned(self) -> None:
        """Called when nobody waits any more, before there was an answer."""

    # For whoever waits.

    def __await__(self) -> Generator[Any, None, T]:
        if not self._is_done:
            self._asyncio_future_blocking = True
            try:
                yield self
            except BaseException:  # thrown in; also GeneratorExit
                self._abandon()
                self._error = None
                raise
        error = self._error
        if error is None:
            return self._result
        self._error = None  # It is whoever waited that has it now: its traceback holds frames that hold this slot.
        try:
            raise error
        finally:
            del error

    def cancel(self, msg: object = None) -> bool:
        """Says that nobody waits any more; who was waiting is told so in the next turn of the loop.

        Returns:
            Whether there was no answer yet.
        """
        if not self._abandon():
            return False
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            waiter.resume_soon()
        self._call_back()
        return True

    # As a future, for tasks of asyncio.

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The running loop."""
        return asyncio.get_running_loop()

    def cancelled(self) -> bool:
        """Whether it has ended by `cancel`."""
        return isinstance(self._error, asyncio.CancelledError)

    def result(self) -> T:
        """The answer.

        Raises:
            asyncio.InvalidStateError: There is none yet.
            BaseException: What was put in in its place.
        """
        error = self._error
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame
        if not self._is_done:
            raise asyncio.InvalidStateError("There is no answer yet.")
        return self._result

    def exception(self) -> BaseException | None:
        """What was put in in place of an answer; None if it was an answer.

        Raises:
            asyncio.InvalidStateError: There is neither yet.
            asyncio.CancelledError: It was cancelled.
        """
        if not self._is_done:
            raise asyncio.InvalidStateError("There is no answer yet.")
        if self.cancelled():
            raise asyncio.CancelledError
        return self._error

    def add_done_callback(self, callback: Callable[[AnswerSlot[T]], object], *, context: Context | None = None) -> None:
        """Has a function called with the slot, in the turn of the loop after it is done."""
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append((asyncio.get_running_loop(), callback, context))
        if self._is_done:
            self._call_back()

    def remove_done_callback(self, callback: Callable[[AnswerSlot[T]], object]) -> int:
        """Has it not called; returns how often it would have been."""
        callbacks = self._callbacks or []
        left = [entry for entry in callbacks if entry[1] != callback]
        self._callbacks = left
        return len(callbacks) - len(left)

    def _abandon(self) -> bool:
        if self._is_done:
            return False
        self._is_done = True
        self._error = asyncio.CancelledError()
        self.abandoned()
        return True

    def _tell(self) -> None:
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            waiter.resume()
        if self._callbacks is not None:
            self._call_back()

    def _call_back(self) -> None:
        callbacks, self._callbacks = self._callbacks, None
        for loop, callback, context in callbacks or ():
            loop.call_soon(callback, self, context=context)


_Callback = tuple[asyncio.AbstractEventLoop, Callable[[AnswerSlot[T]], object], Context | None]
