from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from hotserve.wires.deadlines import Deadlines


@dataclass
class FakeTimer:
    when: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class FakeLoop:
    """A loop whose time a test sets."""

    now: float = 1000.0
    timers: list[FakeTimer] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeTimer:
        self.timers.append(FakeTimer(when, callback))
        return self.timers[-1]

    @property
    def pending(self) -> list[FakeTimer]:
        return [timer for timer in self.timers if not timer.cancelled]

    def advance(self, seconds: float) -> None:
        """Lets time pass, and rings what is due."""
        self.now += seconds
        while due := [timer for timer in self.pending if timer.when <= self.now]:
            due[0].cancelled = True
            due[0].callback()


class Call:
    def __init__(self, name: str, expired: list[str]) -> None:
        self._name = name
        self._expired = expired

    def expire(self) -> None:
        self._expired.append(self._name)


class Scene:
    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.deadlines = Deadlines(cast(asyncio.AbstractEventLoop, self.loop))
        self.expired: list[str] = []

    def add(self, name: str, seconds: float) -> tuple[Any, int]:
        call = Call(name, self.expired)
        return call, self.deadlines.add(call, self.loop.now + seconds)


def test_calls_expire_in_the_order_of_their_deadlines_and_not_before() -> None:
    scene = Scene()
    for name, seconds in (("c", 3.0), ("a", 1.0), ("b", 2.0)):
        scene.add(name, seconds)
    scene.loop.advance(0.999)
    assert scene.expired == []
    for seconds, name in ((0.02, "a"), (1.0, "b"), (1.0, "c")):
        scene.loop.advance(seconds)
        assert scene.expired[-1] == name
    assert scene.expired == ["a", "b", "c"]


def test_one_timer_is_set_at_a_time_for_the_next_call_alone() -> None:
    scene = Scene()
    for index in range(100):
        scene.add(str(index), 10.0 + index)
        assert len(scene.loop.pending) == 1
    scene.add("soon", 0.5)
    (timer,) = scene.loop.pending
    assert 0.5 <= timer.when - scene.loop.now <= 0.51
    scene.loop.advance(1000.0)
    assert len(scene.expired) == 101
    assert scene.loop.pending == []


def test_a_call_that_is_discarded_does_not_expire_and_leaves_nothing_behind() -> None:
    scene = Scene()
    gone = scene.add("gone", 1.0)
    scene.add("stays", 1.0)
    scene.deadlines.discard(*gone)
    scene.deadlines.discard(*gone)
    scene.loop.advance(2.0)
    assert scene.expired == ["stays"]
    assert not scene.deadlines._due


def test_many_calls_that_come_and_go_are_not_remembered() -> None:
    scene = Scene()
    for _ in range(1000):
        scene.deadlines.discard(*scene.add("done", 60.0))
        scene.loop.now += 0.01
    assert not scene.deadlines._due
    assert len(scene.loop.pending) == 1


def test_a_call_may_bring_another_one_about_as_it_expires() -> None:
    scene = Scene()

    class Restarting(Call):
        def expire(self) -> None:
            super().expire()
            scene.add("second", 1.0)

    scene.deadlines.add(Restarting("first", scene.expired), scene.loop.now + 1.0)
    scene.loop.advance(1.1)
    assert scene.expired == ["first"]
    scene.loop.advance(1.1)
    assert scene.expired == ["first", "second"]
