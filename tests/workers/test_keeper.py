from __future__ import annotations

import asyncio
import errno
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from hotserve.config.options import ServerOptions
from hotserve.errors import ServingError
from hotserve.workers.channel import Channel
from hotserve.workers.keeper import Keeper, pause_seconds
from hotserve.workers.launch import Launcher
from hotserve.workers.messages import SetUp
from hotserve.workers.roster import Roster, Worker

PATIENCE = 30.0
SET_UP = SetUp(0, ServerOptions(model_name="m", model_base_path="m"), (), None, 20)


@dataclass
class ScriptedLauncher:
    """Starts processes that do nothing, whose end of the channel is here; or refuses to.

    Attributes:
        refusals: How often the system still has no process for it, each time before it starts one.
        others: The workers' ends of the channels, in the order of their starts.
        processes: Their processes.
        started: Set when the first of them is there, and not connected yet.
    """

    refusals: list[int]
    others: list[Channel] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)

    async def launch(self, channel: Channel, cpus: int) -> subprocess.Popen[bytes]:
        if self.refusals and self.refusals[0]:
            self.refusals[0] -= 1
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        del self.refusals[:1]
        process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])  # noqa: ASYNC220 - quick
        self.processes.append(process)
        self.started.set()
        loop = asyncio.get_running_loop()

        async def answer(_: object) -> object:
            return None

        other = Channel(loop, lambda _: None, answer, process.kill)
        for end, connection in zip((channel, other), socket.socketpair(), strict=True):
            connection.setblocking(False)
            await loop.create_connection(lambda end=end: end, sock=connection)
        self.others.append(other)
        return process


class Heard:
    """Who hears of the workers."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, bool]] = []
        self.came = asyncio.Event()

    def hear(self, worker: Worker, message: object) -> None:
        """Nothing is reported."""

    def take_in(self, worker: Worker) -> None:
        worker.is_set_up = True
        self.came.set()

    def let_go(self, worker: Worker, how: str, is_expected: bool) -> None:
        self.ends.append((how, is_expected))


async def begun(refusals: list[int]) -> tuple[Keeper, Roster, Heard, ScriptedLauncher]:
    roster, heard, launcher = Roster(), Heard(), ScriptedLauncher(refusals)

    async def answer(_: Any) -> object:
        return None

    keeper = Keeper(roster, heard, lambda number: SET_UP, answer, timeout_seconds=0)
    keeper.begin(cast(Launcher, launcher))
    keeper.resize(1, 1)
    return keeper, roster, heard, launcher


async def end(keeper: Keeper, roster: Roster) -> None:
    with roster.changed:
        roster.is_ending = True
    await asyncio.wait_for(keeper.end(), PATIENCE)


def test_a_worker_that_cannot_be_started_at_first_is_why_the_server_cannot_go_on() -> None:
    async def main() -> None:
        keeper, roster, _, _ = await begun([1])
        with pytest.raises(ServingError, match=r"Worker 0 cannot be started: .*temporarily unavailable"):
            await asyncio.wait_for(roster.wait_failed(), PATIENCE)
        await end(keeper, roster)

    asyncio.run(main())


def test_a_worker_that_cannot_be_started_again_is_tried_again_while_the_others_serve(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        keeper, roster, heard, launcher = await begun([0, 2])
        await asyncio.wait_for(heard.came.wait(), PATIENCE)
        heard.came.clear()
        launcher.processes[0].kill()
        launcher.others[0].close()
        await asyncio.wait_for(heard.came.wait(), PATIENCE)
        assert roster.failure is None
        assert len(launcher.processes) == 2
        await end(keeper, roster)

    asyncio.run(main())
    assert caplog.text.count("Worker 0 cannot be started, which is tried again in") == 2


def test_an_end_in_the_moment_of_a_start_ends_the_process_too(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> subprocess.Popen[bytes]:
        keeper, roster, heard, launcher = await begun([])
        # The process is there, and its connection is not yet.
        await launcher.started.wait()
        await end(keeper, roster)
        assert [is_expected for _, is_expected in heard.ends] == [True]
        return launcher.processes[0]

    assert asyncio.run(main()).returncode is not None
    assert [record.getMessage() for record in caplog.records] == []


def test_the_pause_grows_from_the_second_failure_in_a_row_on_up_to_half_a_minute() -> None:
    assert [pause_seconds(failures) for failures in (0, 1, 2, 3, 4, 20)] == [0, 0, 0.5, 1, 2, 30]
