from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from hotserve.config.model_config import ModelConfig
from hotserve.core.ids import ServableId
from hotserve.errors import Internal, InvalidArgument, ServingError
from hotserve.workers.channel import Channel
from hotserve.workers.group import WorkerGroup
from hotserve.workers.messages import Load, LoadEnded, Open, Opened, Unload, Unloaded
from hotserve.workers.roster import Place, Worker
from support.server_process import wait_until

ID = ServableId("m", 1)
MODEL = ModelConfig("m", Path("/m"))
PATIENCE = 30.0


class Told:
    """In place of a channel: what a worker was told."""

    def __init__(self) -> None:
        self.messages: list[object] = []

    def tell(self, message: object) -> None:
        self.messages.append(message)

    def wait(self, kind: type) -> None:
        """Waits until a message of a kind is the last one that has come."""
        wait_until(lambda: self.messages and isinstance(self.messages[-1], kind), PATIENCE, f"it is told {kind}")


@pytest.fixture
def group() -> WorkerGroup:
    async def answer(_: Any) -> object:
        return None

    return WorkerGroup(lambda number: pytest.fail("nobody is set up"), answer)


def join(group: WorkerGroup, number: int) -> tuple[Worker, Told]:
    """A worker that can be told things."""
    place, told = Place(number), Told()
    worker = place.worker = Worker(place, cast(Channel, told), asyncio.Event(), is_set_up=True)
    group._roster.places.append(place)
    return worker, told


def test_a_version_that_fails_in_one_worker_is_given_back_by_all_and_may_come_again(group: WorkerGroup) -> None:
    (one, told_one), (other, told_other) = join(group, 0), join(group, 1)
    with ThreadPoolExecutor() as pool:
        load: Future[Any] = pool.submit(group.load, ID, MODEL.base_path, MODEL)
        told_other.wait(Load)
        group.hear(one, LoadEnded(ID))
        group.hear(other, LoadEnded(ID, InvalidArgument("its file is broken")))
        told_one.wait(Unload)
        group.hear(one, Unloaded(ID, Internal("nor does it unload")))
        with pytest.raises(ServingError, match="its file is broken"):
            load.result(PATIENCE)

        load = pool.submit(group.load, ID, MODEL.base_path, MODEL)
        for worker, told in ((one, told_one), (other, told_other)):
            told.wait(Load)
            group.hear(worker, LoadEnded(ID))
        for worker, told in ((one, told_one), (other, told_other)):
            told.wait(Open)
            group.hear(worker, Opened(ID))
        load.result(PATIENCE)

        group._loop = cast(asyncio.AbstractEventLoop, Loop())
        unload = pool.submit(group.unload, ID)
        for worker, told in ((one, told_one), (other, told_other)):
            told.wait(Unload)
            group.hear(worker, Unloaded(ID))
        unload.result(PATIENCE)  # and says nothing of what was wrong the first time


class Loop:
    """In place of an event loop that has nothing to do."""

    def call_soon_threadsafe(self, *_: object) -> None:
        """Nothing is waiting for it."""
