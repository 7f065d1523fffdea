"""When calls run out of time: one timer for all of them, which is set for the next one alone.

A deadline of a gRPC call is a moment that the client has chosen, and is kept to 5 ms; nearly every call takes its own
out again. `batching.deadlines` is for what an engine is to begin or end by: mostly one and the same limit of the
server, seconds away, for which a quarter of a second is exact enough, so that a few timers have all requests between
them and none is ever moved. `sweep` is for connections, whose deadline moves with every request: there it is a number
that is written down, for which neither of the two would be cheap enough, and which is looked at once in a while.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

_TICKS_PER_SECOND = 200
"""Deadlines are rounded up to the next 5 ms; clients keep to their own clock anyway."""


class Expiring(Protocol):
    """What can run out of time."""

    def expire(self) -> None:
        """Its time is over; called once."""
        ...


class Deadlines:
    """Who runs out of time, by when; most are gone again before that."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts with nobody.

        Args:
            loop: The loop on whose thread all of this is called, and by whose clock.
        """
        self._loop = loop
        self._due: dict[int, dict[Expiring, None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_tick = 0

    def add(self, who: Expiring, when: float) -> int:
        """Has somebody expire at a time of the loop's clock.

        Returns:
            What `discard` wants.
        """
        tick = int(when * _TICKS_PER_SECOND) + 1
        due = self._due.get(tick)
        if due is None:
            due = self._due[tick] = {}
            if self._timer is None or tick < self._timer_tick:
                self._set_timer(tick)
        due[who] = None
        return tick

    def discard(self, who: Expiring, tick: int) -> None:
        """Lets somebody be; nothing happens if they have expired."""
        due = self._due.get(tick)
        if due is not None:
            due.pop(who, None)
            if not due:
                del self._due[tick]

    def _set_timer(self, tick: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_tick = tick
        self._timer = self._loop.call_at(tick / _TICKS_PER_SECOND, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time() * _TICKS_PER_SECOND
        expired = [who for tick in sorted(tick for tick in self._due if tick <= now) for who in self._due.pop(tick)]
        if self._due:
            self._set_timer(min(self._due))
        for who in expired:
            who.expire()
