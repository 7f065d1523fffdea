"""The event loop: uvloop where there is one."""

from __future__ import annotations

import asyncio

try:
    from uvloop import new_event_loop
except ImportError:  # uvloop does not exist for every system; asyncio's own loop does the same, slower
    from asyncio import new_event_loop


def runner() -> asyncio.Runner:
    """An `asyncio.Runner` on the fastest loop there is."""
    return asyncio.Runner(loop_factory=new_event_loop)
