"""The event loop: uvloop where there is one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

try:
    import uvloop
except ImportError:  # uvloop does not exist for every system; asyncio's own loop does the same, slower
    _new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    _new_loop = uvloop.new_event_loop


def runner() -> asyncio.Runner:
    """An `asyncio.Runner` on the fastest loop there is."""
    return asyncio.Runner(loop_factory=_new_loop)
