from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hotserve.batching.lane import Lane
from hotserve.batching.options import NATURAL
from hotserve.batching.row_trials import begin_trials
from hotserve.core.handle import VersionHandle
from hotserve.core.ids import ServableId
from hotserve.errors import InvalidArgument
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Signature, TensorSpec
from support.in_process import PATIENCE, ToyServable

VECTOR = {"x": np.zeros(3, np.float32)}
"""Where a row is declared to have two numbers."""


class Trial:
    """A lane to which so many requests of a shape have come that it has to be tried."""

    def __init__(self, *, fails: bool = False) -> None:
        def run(signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            if fails:
                raise InvalidArgument("no")
            return {"y": inputs["x"] * np.float32(2)}

        spec = TensorSpec(DType.FLOAT, (None, 2))
        servable = ToyServable({DEFAULT_SIGNATURE: Signature({"x": spec}, {"y": spec})}, run)
        self.drained = threading.Event()
        self.handle = VersionHandle(ServableId("m", 1), servable, lambda _: self.drained.set())
        signature = servable.signatures[DEFAULT_SIGNATURE]
        self.lane = Lane(self.handle.id, DEFAULT_SIGNATURE, signature, ("y",), NATURAL, "toy")
        while not self.lane.to_try:
            self.lane.admit(VECTOR)

    def run(self, pool: ThreadPoolExecutor) -> None:
        async def main() -> None:
            lease = self.handle.acquire()
            assert lease is not None
            with lease:
                begin_trials(self.lane, lease, pool, asyncio.get_running_loop())
            self.handle.withdraw()
            await asyncio.to_thread(pool.shutdown)
            await asyncio.sleep(0)

        asyncio.run(asyncio.wait_for(main(), PATIENCE))

    @property
    def shares(self) -> bool:
        rows, weight, _ = self.lane.admit(VECTOR)
        return rows == weight


@pytest.mark.parametrize("fails", [False, True])
def test_what_comes_of_it_is_told_to_the_lane_and_the_version_is_let_go_of(fails: bool) -> None:
    trial = Trial(fails=fails)
    assert not trial.shares
    trial.run(ThreadPoolExecutor(1))
    assert trial.shares is not fails
    assert trial.lane.to_try == {}
    assert trial.drained.is_set()


def test_where_no_thread_takes_it_the_version_is_let_go_of_and_they_go_on_running_alone() -> None:
    trial, closed = Trial(), ThreadPoolExecutor(1)
    closed.shutdown()
    trial.run(closed)
    assert not trial.shares
    assert trial.drained.is_set()
