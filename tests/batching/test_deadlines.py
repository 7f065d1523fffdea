from __future__ import annotations

import asyncio

from hotserve.batching.deadlines import Deadlines
from support.in_process import PATIENCE


def test_what_is_due_is_told_and_what_was_forgotten_is_not() -> None:
    told: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        last = loop.create_future()

        def on_due(item: str) -> None:
            told.append(item)
            if item == "last":
                last.set_result(None)

        deadlines = Deadlines(loop, on_due)
        deadlines.watch("first", 0.0)
        del deadlines.watch("forgotten", 0.0)["forgotten"]
        deadlines.watch("far", 1000.0)
        deadlines.watch("last", 0.03)
        start = loop.time()
        await asyncio.wait_for(last, PATIENCE)
        assert loop.time() - start >= 0.02

    asyncio.run(main())
    assert told == ["first", "last"]


def test_deadlines_that_are_close_together_share_a_timer() -> None:
    async def main() -> None:
        deadlines: Deadlines[int] = Deadlines(asyncio.get_running_loop(), lambda item: None)
        buckets = {id(deadlines.watch(number, 1000.0)) for number in range(100)}
        assert len(buckets) <= 2

    asyncio.run(main())


def test_one_that_is_forgotten_while_others_of_its_time_are_told_is_not_told() -> None:
    told: list[int] = []

    async def main() -> None:
        done = asyncio.get_running_loop().create_future()

        def on_due(item: int) -> None:
            told.append(item)
            for bucket in buckets:
                bucket.pop(1 - item, None)
            done.set_result(None)

        deadlines: Deadlines[int] = Deadlines(asyncio.get_running_loop(), on_due)
        buckets = [deadlines.watch(number, 0.01) for number in range(2)]
        await asyncio.wait_for(done, PATIENCE)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert len(told) == 1
