"""Other connections have their turn, and so has everything else that the loop does.

Large requests come in pieces, of which a turn of the loop takes one. And where a turn has lasted for long, each
connection is read once more in it at most. libuv goes on to read for as long as 1024 connections are ready, 48 times,
before it lets anybody else in; those who are answered meanwhile send again, so that a few thousand busy ones would keep
it there for a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

TURN_BYTES: Final = 1 << 16
"""After a piece of that size a connection waits for its next turn. uvloop would go on to read up to 32 pieces of
256 kB, which takes about eight milliseconds."""

_LONG_SECONDS: Final = 0.05
"""After so long every connection that is read waits for its next turn, which takes a few calls into the system: turns
that are shorter than it takes to read and answer everybody need none of it."""


class Turns:
    """The turns of a loop, for those who read in them.

    Attributes:
        now: The loop's time when `read` was told of it last.
        is_long: Whether this turn has lasted for long, and should end.
    """

    __slots__ = ("_began", "_is_on", "_loop", "_waiting", "is_long", "now")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Knows of no turn yet.

        Args:
            loop: The loop.
        """
        self.now = 0.0
        self.is_long = False
        self._loop = loop
        self._is_on = False
        self._began = 0.0
        self._waiting: list[Callable[[], None]] = []

    def read(self, now: float) -> None:
        """Something is read; need not be told again of the same time.

        Args:
            now: The loop's time. That of uvloop is of when it looked who is ready.
        """
        self.now = now
        if self._is_on:
            self.is_long = now - self._began > _LONG_SECONDS
        else:
            self._began = now
            self._begin()

    def let_others_in(self, transport: asyncio.Transport, read_on: Callable[[], None]) -> None:
        """Reads no more from a connection in this turn.

        Args:
            transport: The connection, which reads.
            read_on: Called in the next turn; has the transport read again, unless there is another reason not to.
        """
        if not transport.is_closing():
            transport.pause_reading()
            self._waiting.append(read_on)
            if not self._is_on:
                self._began = self._loop.time()
                self._begin()

    def _begin(self) -> None:
        self._is_on = True
        self._loop.call_soon(self._end)

    def _end(self) -> None:
        self._is_on = self.is_long = False
        waiting, self._waiting = self._waiting, []
        for read_on in waiting:
            try:
                read_on()
            except Exception as error:  # noqa: BLE001  # which must not keep the others from being read
                self._loop.call_exception_handler({"message": "A connection cannot be read on", "exception": error})
