"""A connection between the supervisor and one worker: messages either way, and questions with their answers.

Messages are dataclasses, pickled, each with its length before it. Pickle runs what it reads, which is no danger here:
either end of the socket pair is held by one of our own processes, and by nobody else.

Tasks: one for each question from the other end, ended by its answer or by the end of the connection.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import pickle
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from hotserve.errors import Internal, ServingError, Unavailable

logger = logging.getLogger(__name__)

_LENGTH = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class _Question:
    number: int
    body: object


@dataclass(frozen=True, slots=True)
class _Answer:
    number: int
    body: object
    error: ServingError | None = None


class Channel(asyncio.Protocol):
    """One end. All that comes is handed over on the event loop, in the order in which it was sent."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        hear: Callable[[Any], None],
        answer: Callable[[Any], Awaitable[object]],
        on_end: Callable[[], None],
    ) -> None:
        """Makes a protocol; what is sent before it has its connection is sent then.

        Args:
            loop: The running loop.
            hear: Takes a message that wants no answer.
            answer: Answers a question; a `ServingError` that it raises is raised where the question was asked.
            on_end: Called once, when the connection is no more.
        """
        self._loop = loop
        self._hear = hear
        self._answer = answer
        self._on_end = on_end
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._buffer = bytearray()
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._ended = False

    def tell(self, message: object) -> None:
        """Sends a message, from any thread; one that can no longer be sent is dropped.

        Messages arrive in the order of the calls, also of calls on different threads.
        """
        # Pickled here, as it is now; sent from the loop, also if this is the loop: in order with what threads say.
        frame = _frame(message)
        try:
            self._loop.call_soon_threadsafe(self._write, frame)
        except RuntimeError:  # the loop is closed, and the connection with it
            return

    async def ask(self, question: object) -> Any:
        """Sends a question and waits for its answer; on the loop.

        Raises:
            Unavailable: The other end is gone.
            ServingError: What the other end says.
        """
        if self._ended:
            raise _gone()
        number = next(self._numbers)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._asked[number] = future
        try:
            self.tell(_Question(number, question))
            return await future
        finally:
            del self._asked[number]

    def close(self) -> None:
        """Ends the connection, as soon as it is there if it is not; on the loop."""
        self._is_closed = True
        if self._transport is not None:
            self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)
        if self._is_closed:
            self._transport.close()
            return
        for frame in self._waiting:
            self._transport.write(frame)
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            message = pickle.loads(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            self._take(message)

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._ended = True
        for future in self._asked.values():
            if not future.done():
                future.set_exception(_gone())
        for task in self._answering:
            task.cancel()
        self._on_end()

    def _take(self, message: object) -> None:
        match message:
            case _Question(number, body):
                task = self._loop.create_task(self._reply(number, body))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
            case _Answer(number, body, error):
                future = self._asked.get(number)
                if future is None or future.done():
                    return  # whoever asked has given up
                if error is None:
                    future.set_result(body)
                else:
                    future.set_exception(error)
            case _:
                self._hear(message)

    async def _reply(self, number: int, body: object) -> None:
        try:
            answer = _Answer(number, await self._answer(body))
        except ServingError as error:
            answer = _Answer(number, None, plain(error))
        except Exception as error:  # the edge: whoever asks must not wait for ever
            logger.exception("No answer to %s", type(body).__name__)
            answer = _Answer(number, None, Internal(f"{type(error).__name__}: {error}"))
        self.tell(answer)

    def _write(self, frame: bytes) -> None:
        if self._transport is None:
            self._waiting.append(frame)
        elif not self._ended:
            self._transport.write(frame)


def plain(error: ServingError) -> ServingError:
    """The same error as any process can read it: of the class that they all have, with its code and message."""
    return ServingError(error.message, error.code)


def _frame(message: object) -> bytes:
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


def _gone() -> Unavailable:
    return Unavailable("The process that was asked has ended. Send the request again.")
