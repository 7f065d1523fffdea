"""A hall in which requests gather: a test has them come, and sees how they go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from math import inf
from typing import Any

import numpy as np

from hotserve.batching.guests import Answers, Guest
from hotserve.batching.lane import QueueBounds
from hotserve.batching.options import NATURAL, BatchRules
from hotserve.batching.plans import BatchPlans, VersionPlan
from hotserve.batching.scheduler import EngineThreads
from hotserve.batching.seats import Input, Seat
from hotserve.core.handle import Lease, VersionHandle
from hotserve.core.ids import ServableId
from hotserve.errors import ServingError
from hotserve.observability.metrics import Metrics
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Signature, TensorSpec
from hotserve.testing import FakeClock
from support.in_process import PATIENCE, Run, ToyServable

FLOAT = np.dtype(np.float32)
PLACES: list[Input] = [("x", 0, (1,), FLOAT)]
READING = 2e-5
"""Seconds that it takes to read a request."""


def plus_one(signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    return {"y": inputs["x"] + np.float32(1)}


class Desk:
    """A clerk that keeps what it is told, with the numbers of its guests."""

    def __init__(self, error: Exception | None = None) -> None:
        self.answered: dict[int, list[float]] = {}
        self.order: list[int] = []
        self.sent_on: dict[int, list[float]] = {}
        self.failed: dict[int, ServingError] = {}
        self._error = error

    def answer(self, lease: Lease, guests: Sequence[Guest], answers: Answers, starts: Sequence[int] | None) -> None:
        if self._error is not None:
            raise self._error
        for index, guest in enumerate(guests):
            start = 0 if starts is None else starts[index]
            self.answered[guest.request] = answers["y"][start : start + guest.rows].tolist()
            self.order.append(guest.request)

    def send_on(self, guest: Guest, handle: VersionHandle, inputs: Mapping[str, Array]) -> None:
        self.sent_on[guest.request] = inputs["x"].tolist()

    def fail(self, guest: Guest, error: ServingError) -> None:
        self.failed[guest.request] = error


class Hall:
    """An engine on a loop, a version whose runs are known to be short, and a desk."""

    def __init__(
        self,
        run: Run = plus_one,
        rules: BatchRules = NATURAL,
        error: Exception | None = None,
        bounds: QueueBounds | None = None,
        processors: int = 1,
    ) -> None:
        self.drained = threading.Event()
        self.servable = self.servable_of(run)
        self.handle = VersionHandle(ServableId("m", 1), self.servable, lambda _: self.drained.set())
        self.metrics = Metrics()
        self.clock = FakeClock()
        plans = BatchPlans(VersionPlan(otherwise=rules))
        self.engine = EngineThreads(
            1, self.clock, plans=plans, metrics=self.metrics, bounds=bounds, processors=processors
        )
        self.desk = Desk(error)
        self.runs_before = 0

    def servable_of(self, run: Run) -> ToyServable:
        """One whose `x` and `y` have any number of rows."""
        x = TensorSpec(DType.FLOAT, (None,), "x:0")
        return ToyServable({DEFAULT_SIGNATURE: Signature({"x": x}, {"y": x})}, run)

    async def open(self, seconds: float = 0.0) -> Seat:
        """Has a first request run the usual way, so that runs are known to take so long."""

        def timed(signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            self.clock.advance(seconds)
            return {"y": inputs["x"]}

        run, self.servable._run = self.servable._run, timed
        lease = self.handle.acquire()
        assert lease is not None
        with lease:
            await self.engine.run(lease, DEFAULT_SIGNATURE, {"x": np.float32([0])}, ["y"])
        self.servable._run = run
        self.runs_before = self.servable.runs
        seat = self.seat()
        assert seat is not None
        return seat

    def seat(self, places: Sequence[Input] = PLACES, desk: Desk | None = None) -> Seat | None:
        return self.engine.seat(self.handle, DEFAULT_SIGNATURE, ("y",), desk or self.desk, places)

    def enter(self, seat: Seat, number: int, *, start: float = 0.0, deadline: float = inf) -> None:
        """A request comes: as many rows as its seat has, each the number."""
        assert self.engine.may_gather(seat)
        content = np.full(seat.rows, number, FLOAT).tobytes()
        guest = Guest(seat.clerk, None, number, seat.rows, seat.size, start, start, [content], deadline)
        self.engine.gather(seat, self.handle, guest)

    @property
    def runs(self) -> int:
        return self.servable.runs - self.runs_before


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(asyncio.wait_for(main(), PATIENCE))


def refuse_others(hall: Hall, seat: Seat) -> None:
    """From now on more come than can be answered, until a turn leaves nobody waiting."""
    seat.lane.refused_patience = 0.1
    seat.lane.refused_at = hall.clock()


def took(hall: Hall, seconds: float) -> Run:
    """Takes so long for however many rows."""

    def run(signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        hall.clock.advance(seconds)
        return plus_one(signature_name, inputs)

    return run
