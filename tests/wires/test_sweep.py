from __future__ import annotations

import asyncio

from hotserve.wires.sweep import Sweep


class Member:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.expired = asyncio.Event()

    def expire(self) -> None:
        self.deadline = float("inf")
        self.expired.set()


def test_a_deadline_that_has_passed_is_told_and_another_is_not() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        sweep = Sweep(loop, 0.001, lambda: None)
        soon, never = Member(sweep.deadline(0.005)), Member(sweep.deadline(3600))
        start = loop.time()
        sweep.add(soon)
        sweep.add(never)
        await asyncio.wait_for(soon.expired.wait(), 30)
        assert loop.time() - start >= 0.005  # never early
        assert not never.expired.is_set()
        sweep.discard(soon)
        sweep.discard(never)

    asyncio.run(test())


def test_members_may_come_and_go_while_it_looks() -> None:
    async def test() -> None:
        sweep = Sweep(asyncio.get_running_loop(), 0.001, lambda: None)
        newcomer = Member(0.0)

        class Leaver(Member):
            def expire(self) -> None:
                super().expire()
                sweep.discard(self)
                sweep.add(newcomer)

        leavers = [Leaver(0.0) for _ in range(5)]
        for leaver in leavers:
            sweep.add(leaver)
        await asyncio.wait_for(newcomer.expired.wait(), 30)
        assert all(leaver.expired.is_set() for leaver in leavers)
        assert len(sweep) == 1
        sweep.discard(newcomer)

    asyncio.run(test())


def test_a_member_that_was_taken_out_by_another_is_not_told() -> None:
    async def test() -> None:
        sweep = Sweep(asyncio.get_running_loop(), 0.001, lambda: None)

        class Ender(Member):
            def expire(self) -> None:
                super().expire()
                for member in members:
                    sweep.discard(member)

        members = [Ender(0.0) for _ in range(5)]
        for member in members:
            sweep.add(member)
        await asyncio.wait(
            (*(asyncio.ensure_future(each.expired.wait()) for each in members),),
            timeout=30,
            return_when=asyncio.FIRST_COMPLETED,
        )
        assert sum(each.expired.is_set() for each in members) == 1

    asyncio.run(test())


def test_there_is_no_timer_without_members() -> None:
    async def test() -> None:
        turns: list[float] = []
        sweep = Sweep(asyncio.get_running_loop(), 0.001, lambda: turns.append(sweep.now))
        member = Member(float("inf"))
        for _ in range(2):
            sweep.add(member)
            assert sweep._timer is not None
            sweep.discard(member)
            assert sweep._timer is None
            sweep.discard(member)
        assert len(turns) == 2
        assert turns == sorted(turns)

    asyncio.run(test())
