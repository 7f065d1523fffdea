"""Large requests come in pieces, between which other connections have their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

TURN_BYTES: Final = 1 << 16
"""After a piece of that size a connection waits for its next turn. uvloop would go on to read up to 32 pieces of
256 kB, which takes about eight milliseconds."""


def let_others_in(loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, read_on: Callable[[], None]) -> None:
    """Reads no more from a connection in this turn of the loop.

    Args:
        loop: The running loop.
        transport: The connection, which reads.
        read_on: Called in the next turn; has the transport read again, unless there is another reason not to.
    """
    if not transport.is_closing():
        transport.pause_reading()
        loop.call_soon(read_on)
