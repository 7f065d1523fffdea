"""The messages of a client that sends more than one, from the wire to the call that reads them."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from collections.abc import AsyncIterator, Callable

from hotserve.api.grpc_framing import Frames


class Inbox(AsyncIterator[bytes]):
    """Holds what has come until it is read. What was not asked for yet keeps the client from sending more.

    Messages are unpacked one by one, as they are asked for: a few bytes can unpack to many.
    """

    def __init__(self, frames: Frames, loop: AbstractEventLoop, take: Callable[[int], None]) -> None:
        """Starts empty.

        Args:
            frames: Takes the body apart.
            loop: The loop on whose thread all of this is called.
            take: Told how many bytes of the body need no room any more.
        """
        self._frames = frames
        self._loop = loop
        self._take = take
        self._come = bytearray()
        self._held = 0
        self._ended = False
        self._reader: Future[None] | None = None

    def feed(self, data: bytes, ended: bool) -> None:
        """Takes the next part of the body."""
        self._come += data
        self._ended = ended
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def __anext__(self) -> bytes:
        while True:
            come, self._come = bytes(self._come), bytearray()
            self._held += len(come)
            for message in self._frames.feed(come):
                return message  # what came after it stays with the frames
            if self._ended:
                self._frames.finish()
                raise StopAsyncIteration
            held, self._held = self._held, 0
            self._take(held)
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
