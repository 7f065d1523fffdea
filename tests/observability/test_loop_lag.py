from __future__ import annotations

import asyncio
import time

import pytest

from hotserve.observability import loop_lag
from hotserve.observability.instruments import Histogram
from hotserve.observability.loop_lag import LoopLag


def test_a_loop_that_is_held_up_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "PERIOD_SECONDS", 0.01)
    lag = Histogram("lag", (), (20_000.0,))

    async def hold_up() -> None:
        watch = LoopLag(lag)
        watch.start()
        while not (cells := lag.cells()) or not cells[0][1].counts[1]:
            time.sleep(0.05)  # noqa: ASYNC251 - it is what is measured
            await asyncio.sleep(0)
        watch.stop()

    asyncio.run(asyncio.wait_for(hold_up(), 10))
    ((_, cell),) = lag.cells()
    assert cell.counts[1] >= 1
    assert cell.total >= 20_000


def test_nothing_is_measured_after_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "PERIOD_SECONDS", 0.001)
    lag = Histogram("lag", (), ())

    async def run() -> int:
        watch = LoopLag(lag)
        watch.start()
        while not lag.cells():  # noqa: ASYNC110 - a histogram tells nobody
            await asyncio.sleep(0.001)
        watch.stop()
        watch.stop()
        counted = lag.cells()[0][1].counts[0]
        for _ in range(20):
            await asyncio.sleep(0.001)
        return counted

    assert asyncio.run(run()) == lag.cells()[0][1].counts[0]
