"""One timer for all connections: it looks at each now and then, instead of one timer for each request.

A server sets and forgets a deadline with every request, and nearly none is ever reached. Here a deadline is a number
that is written down; the sweep finds those that have passed. Calls and requests have other needs: see `deadlines`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class Swept(Protocol):
    """What the sweep looks at."""

    deadline: float
    """When `expire` is to be called, in the time of `Sweep.now`; infinity for not at all."""

    def expire(self) -> None:
        """The deadline has passed; it may set another one."""
        ...


class Sweep:
    """Looks at all members about once in each interval, while there are any.

    Attributes:
        now: The loop's time when it last looked, in seconds: cheap, and late by an interval at most.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, interval: float, on_turn: Callable[[], None]) -> None:
        """Starts no timer yet.

        Args:
            loop: Whose time counts.
            interval: Seconds between two looks.
            on_turn: Called before each look, and when the first member comes.
        """
        self._loop = loop
        self._interval = interval
        self._on_turn = on_turn
        self._members: set[Swept] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.now = loop.time()

    def __len__(self) -> int:
        return len(self._members)

    def deadline(self, seconds: float) -> float:
        """The deadline that passes no earlier than `seconds` from now, and at most two intervals later.

        For a member: without any, `now` stands still.
        """
        return self.now + seconds + self._interval

    def add(self, member: Swept) -> None:
        self._members.add(member)
        if self._timer is None:
            self._begin()

    def discard(self, member: Swept) -> None:
        self._members.discard(member)
        if not self._members and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> None:
        self.now = self._loop.time()
        self._timer = self._loop.call_later(self._interval, self._look)
        self._on_turn()

    def _look(self) -> None:
        self._begin()
        now = self.now
        for member in [member for member in self._members if member.deadline <= now]:
            if member in self._members:  # still: another one may have taken it out
                member.expire()
