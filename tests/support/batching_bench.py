"""An engine on a bench: a test sees every run, and says when it goes on and what it takes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import numpy as np

from hotserve.batching.options import BatchRules
from hotserve.batching.plans import BatchPlans, VersionPlan
from hotserve.batching.scheduler import EngineThreads, QueueBounds
from hotserve.core.handle import VersionHandle
from hotserve.core.ids import ServableId
from hotserve.errors import InvalidArgument
from hotserve.observability.metrics import Metrics
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Signature, TensorSpec
from hotserve.testing import FakeClock
from support.in_process import PATIENCE, ToyServable

BAD = -1.0
"""A row that the servable of a bench refuses, and with it the whole run."""


class Bench:
    """An engine with one thread, and a servable of which a test sees and holds up every run.

    Attributes:
        batches: What each run was given, in order: the first column of its rows.
        engine: The engine.
    """

    def __init__(
        self,
        rules: BatchRules,
        *,
        clock: Callable[[], float] | None = None,
        bounds: QueueBounds | None = None,
        signature: Signature | None = None,
    ) -> None:
        spec = TensorSpec(DType.FLOAT, (None, None))
        self.servable = ToyServable(
            {DEFAULT_SIGNATURE: signature or Signature({"x": spec}, {"y": spec, "z": spec})}, self._run
        )
        self.drained = threading.Event()
        self.handle = VersionHandle(ServableId("m", 1), self.servable, lambda _: self.drained.set())
        self.plans = BatchPlans()
        self.plans.set(self.servable, VersionPlan(otherwise=rules))
        self.metrics = Metrics()
        self.batches: list[list[float]] = []
        self.shapes: list[tuple[int, ...]] = []
        self.threads: list[bool] = []
        self.clock = clock or FakeClock()
        self.seconds = 1.0  # what a run takes on a clock of the test's: too long for the loop
        self.engine = EngineThreads(1, self.clock, plans=self.plans, metrics=self.metrics, bounds=bounds)
        self.entered = threading.Semaphore(0)
        self.is_open = threading.Event()
        self.is_open.set()
        self.answer: Callable[[Array], Mapping[str, Array]] = lambda x: {"y": x * 2, "z": x + 1}

    def _run(self, name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        self.entered.release()
        assert self.is_open.wait(PATIENCE)
        x = inputs["x"]
        self.batches.append([float(row.reshape(-1)[0]) if row.size else 0.0 for row in x])
        self.shapes.append(x.shape)
        self.threads.append(threading.current_thread() is threading.main_thread())
        if isinstance(self.clock, FakeClock):
            self.clock.advance(self.seconds)
        if (x == BAD).any():
            raise InvalidArgument("bad row")
        return self.answer(x)

    async def ask(
        self,
        *rows: float,
        shape: tuple[int, ...] = (1,),
        timeout: float | None = None,
        outputs: tuple[str, ...] = ("y",),
    ) -> dict[str, Array]:
        """One request: a row for each number, which fills it."""
        x = np.stack([np.full(shape, row, np.float32) for row in rows]) if rows else np.zeros((0, *shape), np.float32)
        return await self.send({"x": x}, timeout, outputs)

    async def send(
        self, inputs: Mapping[str, Array], timeout: float | None = None, outputs: tuple[str, ...] = ("y",)
    ) -> dict[str, Array]:
        lease = self.handle.acquire()
        assert lease is not None
        with lease:
            return await self.engine.run(lease, DEFAULT_SIGNATURE, inputs, outputs, timeout)

    def begin(self, *rows: float, **how: Any) -> asyncio.Task[dict[str, Array]]:
        """As `ask`, in a task."""
        return asyncio.ensure_future(self.ask(*rows, **how))

    async def occupy(self) -> asyncio.Task[dict[str, Array]]:
        """Keeps the only thread busy until `release`, with a request of one row, 0."""
        self.is_open.clear()
        blocker = self.begin(0.0)
        assert await asyncio.to_thread(self.entered.acquire, True, PATIENCE)
        return blocker

    def release(self) -> None:
        """Lets runs go on."""
        self.is_open.set()

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        try:
            return asyncio.run(asyncio.wait_for(main(), PATIENCE))
        finally:
            self.is_open.set()
            self.engine.close()


async def settle() -> None:
    """Lets everything happen that needs no thread."""
    for _ in range(5):
        await asyncio.sleep(0)


def values(answer: Mapping[str, Array], output: str = "y") -> list[float]:
    """The first column of an output."""
    return [float(row.reshape(-1)[0]) for row in answer[output]]
