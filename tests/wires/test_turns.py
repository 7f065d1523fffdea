from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast
from unittest.mock import MagicMock

import pytest
import uvloop

from hotserve.wires.turns import TURN_BYTES, Turns

PIECES = 64


class Reader(asyncio.Protocol):
    """Counts its large pieces, and the turns of the loop that bring them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.turns = Turns(loop)
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
            self.turns.let_others_in(self.transport, self.transport.resume_reading)

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
        Turns(loop).let_others_in(transport, lambda: pytest.fail("read on"))
        await asyncio.sleep(0)
        server.close()

    asyncio.run(main())


class Loop:
    """A loop whose time the test says, and whose turns the test ends."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.soon: list[Callable[[], None]] = []
        self.told: list[dict[str, Any]] = []

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.told.append(context)

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def end_turn(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


def test_a_turn_is_long_if_something_is_read_in_it_after_a_twentieth_of_a_second() -> None:
    loop = Loop()
    turns = Turns(cast(Any, loop))
    for now, is_long in ((1000.0, False), (1000.04, False), (1000.06, True), (1000.07, True)):
        turns.read(now)
        assert (turns.now, turns.is_long) == (now, is_long)
    assert len(loop.soon) == 1
    loop.end_turn()
    assert not turns.is_long
    turns.read(1000.2)  # the next one has begun with this
    assert not turns.is_long
    turns.read(1000.26)
    assert turns.is_long


def test_whoever_lets_others_in_reads_on_in_the_next_turn() -> None:
    loop, transport, read = Loop(), MagicMock(), []
    transport.is_closing.return_value = False
    turns = Turns(cast(Any, loop))
    for name in ("one", "other"):
        turns.let_others_in(transport, lambda name=name: read.append(name))
    assert transport.pause_reading.call_count == 2
    assert len(loop.soon) == 1
    assert read == []
    loop.end_turn()
    assert read == ["one", "other"]
    loop.end_turn()
    assert read == ["one", "other"]
    turns.let_others_in(transport, lambda: read.append("again"))
    loop.end_turn()
    assert read == ["one", "other", "again"]


def test_a_connection_that_cannot_be_read_on_keeps_no_other_from_it() -> None:
    loop, transport, read = Loop(), MagicMock(), []
    transport.is_closing.return_value = False
    turns = Turns(cast(Any, loop))
    error = RuntimeError("not paused")
    turns.let_others_in(transport, MagicMock(side_effect=error))
    turns.let_others_in(transport, lambda: read.append("other"))
    loop.end_turn()
    assert read == ["other"]
    assert [context["exception"] for context in loop.told] == [error]
