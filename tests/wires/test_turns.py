from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
import uvloop

from hotserve.wires.turns import TURN_BYTES, let_others_in

PIECES = 64


class Reader(asyncio.Protocol):
    """Counts its large pieces, and the turns of the loop that bring them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.received = 0
        self.most_in_a_turn = 0
        self._in_this_turn = 0
        self.all_there = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if not self._in_this_turn:
            self.loop.call_soon(self._end_turn)
        self._in_this_turn += len(data) >= TURN_BYTES
        if self.received == PIECES * TURN_BYTES:
            self.all_there.set_result(None)
        if len(data) >= TURN_BYTES:
            let_others_in(self.loop, self.transport, self.transport.resume_reading)

    def _end_turn(self) -> None:
        self.most_in_a_turn = max(self.most_in_a_turn, self._in_this_turn)
        self._in_this_turn = 0


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_a_turn_of_the_loop_brings_one_large_piece_of_a_connection_and_nothing_is_lost(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> Reader:
        loop = asyncio.get_running_loop()
        reader = Reader(loop)
        server = await loop.create_server(lambda: reader, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        writer.write(bytes(PIECES * TURN_BYTES))
        await writer.drain()
        async with asyncio.timeout(30):
            await reader.all_there
        writer.close()
        server.close()
        await server.wait_closed()
        return reader

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(main()).most_in_a_turn == 1


def test_a_connection_that_closes_is_left_alone() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", server.sockets[0].getsockname()[1])
        transport.close()
        let_others_in(loop, transport, lambda: pytest.fail("read on"))
        await asyncio.sleep(0)
        server.close()

    asyncio.run(main())
