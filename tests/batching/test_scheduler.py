from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from hotserve.batching.lane import INLINE_SECONDS
from hotserve.batching.options import ALONE, NATURAL, BatchRules
from hotserve.batching.plans import BatchPlans, VersionPlan
from hotserve.batching.scheduler import EngineThreads
from hotserve.core.handle import Lease, VersionHandle
from hotserve.core.ids import ServableId
from hotserve.core.servable import NeedsThread, Servable
from hotserve.errors import Code, DeadlineExceeded, InvalidArgument, Unavailable
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Signature, TensorSpec
from hotserve.testing import FakeClock
from support.in_process import PATIENCE, Gate, ToyServable, adder, failing

ONE = {"x": np.float32([1])}


class Version:
    """A loaded version, and whether all leases on it have been given back since it was withdrawn."""

    def __init__(self, servable: Servable) -> None:
        self.drained = threading.Event()
        self.handle = VersionHandle(ServableId("m", 1), servable, lambda _: self.drained.set())

    def lease(self) -> Lease:
        lease = self.handle.acquire()
        assert lease is not None
        return lease


MakeEngine = Callable[[int], EngineThreads]


@pytest.fixture
def make_engine() -> Iterator[MakeEngine]:
    made: list[EngineThreads] = []

    def make(threads: int) -> EngineThreads:
        made.append(EngineThreads(threads))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def gate() -> Iterator[Gate]:
    held = Gate()
    yield held
    held.open()


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_a_run_happens_on_an_engine_thread_and_not_on_the_loop(make_engine: MakeEngine) -> None:
    threads: list[threading.Thread] = []

    def note(signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        threads.append(threading.current_thread())
        return {"y": inputs["x"]}

    x = TensorSpec(DType.FLOAT, (None,))
    version = Version(ToyServable({DEFAULT_SIGNATURE: Signature({"x": x}, {"y": x})}, note))

    async def main() -> None:
        with version.lease() as lease:
            await make_engine(1).run(lease, DEFAULT_SIGNATURE, ONE, ["y"])

    run(main)
    (thread,) = threads
    assert thread is not threading.current_thread()
    assert thread.name.startswith("hotserve-engine")


def test_the_loop_goes_on_while_a_run_does(make_engine: MakeEngine, gate: Gate) -> None:
    version = Version(gate.servable)

    async def main() -> dict[str, Array]:
        with version.lease() as lease:
            running = asyncio.ensure_future(make_engine(1).run(lease, DEFAULT_SIGNATURE, ONE, ["y"]))
            await asyncio.to_thread(gate.wait_entered)
            gate.open()  # only a loop that goes on comes here
            return await running

    assert run(main)["y"].tolist() == [1.0]


def test_as_many_run_at_once_as_there_are_threads(make_engine: MakeEngine, gate: Gate) -> None:
    version = Version(gate.servable)

    async def main() -> None:
        engine = make_engine(2)
        with version.lease() as lease:
            runs = [asyncio.ensure_future(engine.run(lease, DEFAULT_SIGNATURE, ONE, ["y"])) for _ in range(3)]
            await asyncio.to_thread(gate.wait_entered)
            await asyncio.to_thread(gate.wait_entered)
            assert gate.servable.runs == 2
            gate.open()
            await asyncio.gather(*runs)

    run(main)
    assert gate.servable.runs == 3


def test_what_a_servable_raises_reaches_the_caller_as_it_is(make_engine: MakeEngine) -> None:
    error = InvalidArgument("no")
    version = Version(failing(error))

    async def main() -> None:
        with version.lease() as lease:
            await make_engine(1).run(lease, DEFAULT_SIGNATURE, ONE, ["y"], PATIENCE)

    with pytest.raises(InvalidArgument) as caught:
        run(main)
    assert caught.value is error
    version.handle.withdraw()
    assert version.drained.wait(PATIENCE)


def test_a_timeout_of_the_servables_own_is_not_the_callers_deadline(make_engine: MakeEngine) -> None:
    version = Version(failing(TimeoutError("a disk")))

    async def main() -> None:
        with version.lease() as lease:
            await make_engine(1).run(lease, DEFAULT_SIGNATURE, ONE, ["y"], PATIENCE)

    with pytest.raises(TimeoutError, match="a disk"):
        run(main)


@pytest.mark.parametrize("timeout_seconds", [0.0, 0.02])
def test_a_caller_waits_no_longer_than_its_deadline(
    make_engine: MakeEngine, gate: Gate, timeout_seconds: float
) -> None:
    version = Version(gate.servable)

    async def main() -> None:
        with version.lease() as lease:
            await make_engine(1).run(lease, DEFAULT_SIGNATURE, ONE, ["y"], timeout_seconds)

    with pytest.raises(DeadlineExceeded) as caught:
        run(main)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert caught.value.message.startswith("Timed out waiting for notification: no answer within")


def test_waiting_for_a_thread_counts_towards_the_deadline(make_engine: MakeEngine, gate: Gate) -> None:
    busy, waiting = Version(gate.servable), adder(1)

    async def main() -> None:
        engine = make_engine(1)
        with busy.lease() as first, Version(waiting).lease() as second:
            blocker = asyncio.ensure_future(engine.run(first, DEFAULT_SIGNATURE, ONE, ["y"]))
            await asyncio.to_thread(gate.wait_entered)
            with pytest.raises(DeadlineExceeded):
                await engine.run(second, DEFAULT_SIGNATURE, ONE, ["y"], 0.02)
            gate.open()
            await blocker
            # One thread, in order: had the second run still been queued, it would have come before this one.
            await engine.run(first, DEFAULT_SIGNATURE, ONE, ["y"])

    run(main)
    assert waiting.runs == 0


def test_a_caller_that_is_cancelled_drops_its_queued_run(make_engine: MakeEngine, gate: Gate) -> None:
    busy, waiting = Version(gate.servable), adder(1)
    dropped = Version(waiting)

    async def main() -> None:
        engine = make_engine(1)
        with busy.lease() as first:
            blocker = asyncio.ensure_future(engine.run(first, DEFAULT_SIGNATURE, ONE, ["y"]))
            await asyncio.to_thread(gate.wait_entered)
            with dropped.lease() as second:
                queued = asyncio.ensure_future(engine.run(second, DEFAULT_SIGNATURE, ONE, ["y"]))
                await asyncio.sleep(0)
                queued.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await queued
            # The run holds no lease any more, although the thread is still busy with another.
            dropped.handle.withdraw()
            assert dropped.drained.is_set()
            gate.open()
            await blocker
            await engine.run(first, DEFAULT_SIGNATURE, ONE, ["y"])

    run(main)
    assert waiting.runs == 0


def test_a_run_in_progress_keeps_its_version_loaded_after_its_caller_gave_up(
    make_engine: MakeEngine, gate: Gate
) -> None:
    version = Version(gate.servable)

    async def main() -> None:
        with version.lease() as lease:
            running = asyncio.ensure_future(make_engine(1).run(lease, DEFAULT_SIGNATURE, ONE, ["y"]))
            await asyncio.to_thread(gate.wait_entered)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        version.handle.withdraw()
        assert not version.drained.is_set()
        gate.open()
        assert await asyncio.to_thread(version.drained.wait, PATIENCE)

    run(main)


def test_a_run_holds_its_version_only_until_it_has_ended(make_engine: MakeEngine) -> None:
    version = Version(adder(1))

    async def main() -> None:
        with version.lease() as lease:
            await make_engine(1).run(lease, DEFAULT_SIGNATURE, ONE, ["y"])
            version.handle.withdraw()
            assert not version.drained.is_set()  # the caller's own lease

    run(main)
    assert version.drained.wait(PATIENCE)


def test_an_engine_that_is_closed_refuses_runs_and_keeps_no_lease(make_engine: MakeEngine) -> None:
    version = Version(adder(1))
    engine = make_engine(1)
    engine.close()

    async def main() -> None:
        with version.lease() as lease:
            await engine.run(lease, DEFAULT_SIGNATURE, ONE, ["y"])

    with pytest.raises(Unavailable, match="Send it again"):
        run(main)
    version.handle.withdraw()
    assert version.drained.is_set()


def test_closing_drops_what_is_queued_and_lets_go_on_what_runs(make_engine: MakeEngine, gate: Gate) -> None:
    busy, waiting = Version(gate.servable), adder(1)

    async def main() -> dict[str, Array]:
        engine = make_engine(1)
        with busy.lease() as first, Version(waiting).lease() as second:
            running = asyncio.ensure_future(engine.run(first, DEFAULT_SIGNATURE, ONE, ["y"]))
            await asyncio.to_thread(gate.wait_entered)
            queued = asyncio.ensure_future(engine.run(second, DEFAULT_SIGNATURE, ONE, ["y"]))
            await asyncio.sleep(0)
            engine.close()
            with pytest.raises(Unavailable, match="stopping"):
                await queued
            gate.open()
            return await running

    assert run(main)["y"].tolist() == [1.0]
    assert waiting.runs == 0


class Timed:
    """A servable whose runs take the time that a test says, by a clock of the test's."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.threads: list[str] = []
        self.engine = EngineThreads(1, self.clock)

        def work(signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            self.threads.append("loop" if threading.current_thread() is threading.main_thread() else "engine")
            self.clock.advance(self.seconds)
            if self.error is not None:
                raise self.error
            return {"y": inputs["x"]}

        x = TensorSpec(DType.FLOAT, (None,))
        self.version = Version(ToyServable({DEFAULT_SIGNATURE: Signature({"x": x}, {"y": x})}, work))
        self.seconds = 0.0
        self.error: Exception | None = None

    async def run(self, seconds: float, numbers: int = 1) -> str:
        """Runs once; returns where."""
        self.seconds = seconds
        with self.version.lease() as lease:
            await self.engine.run(lease, DEFAULT_SIGNATURE, {"x": np.zeros(numbers, np.float32)}, ["y"])
        return self.threads[-1]


def test_a_run_stays_on_the_loop_once_it_is_known_to_be_short() -> None:
    timed = Timed()

    async def main() -> list[str]:
        return [await timed.run(INLINE_SECONDS / 10) for _ in range(3)]

    assert run(main) == ["engine", "loop", "loop"]


def test_a_long_run_never_stays_on_the_loop() -> None:
    timed = Timed()

    async def main() -> list[str]:
        return [await timed.run(INLINE_SECONDS * 2) for _ in range(3)]

    assert run(main) == ["engine"] * 3


def test_a_short_run_with_much_larger_inputs_goes_to_a_thread() -> None:
    timed = Timed()

    async def main() -> list[str]:
        short = INLINE_SECONDS / 10
        return [await timed.run(short), await timed.run(short), await timed.run(short, numbers=100)]

    assert run(main) == ["engine", "loop", "engine"]


def test_a_signature_that_has_become_slow_leaves_the_loop_and_returns_when_it_is_fast_again() -> None:
    timed = Timed()

    async def main() -> list[str]:
        short, long = INLINE_SECONDS / 10, INLINE_SECONDS * 20
        return [await timed.run(seconds) for seconds in (short, short, *6 * [long], short, short)]

    # One slow run might be a thread that was kept from its processor; several are believed.
    assert run(main) == ["engine", "loop", *5 * ["loop"], "engine", "engine", "loop"]


def test_a_run_on_the_loop_fails_as_one_on_a_thread_does() -> None:
    timed = Timed()

    async def main() -> None:
        await timed.run(0.0)
        timed.error = InvalidArgument("no")
        await timed.run(0.0)

    with pytest.raises(InvalidArgument, match="no"):
        run(main)
    assert timed.threads == ["engine", "loop"]


class SometimesLong(ToyServable):
    """A servable that the loop may only ask for numbers up to 9; see `for_loop`."""

    def __init__(self) -> None:
        x = TensorSpec(DType.FLOAT, (None,))
        super().__init__({DEFAULT_SIGNATURE: Signature({"x": x}, {"y": x})}, self._note)
        self.threads: list[str] = []
        self.on_loop = ToyServable(self.signatures, self._only_short)

    def _note(self, signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        self.threads.append(threading.current_thread().name)
        return {"y": inputs["x"] + 1}

    def _only_short(self, signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        if inputs["x"].max() > 9:
            raise NeedsThread
        return self._note(signature_name, inputs)


@pytest.mark.parametrize("rules", [ALONE, NATURAL])
def test_a_run_that_the_loop_may_not_begin_goes_to_a_thread_whoever_else_waits(rules: BatchRules) -> None:
    servable = SometimesLong()
    plans = BatchPlans()
    plans.set(servable, VersionPlan(otherwise=rules))
    version = Version(servable)
    engine = EngineThreads(1, FakeClock(), plans=plans)

    async def main() -> list[float]:
        with version.lease() as lease:

            async def ask(number: float) -> float:
                answer = await engine.run(lease, DEFAULT_SIGNATURE, {"x": np.float32([number])}, ["y"])
                return float(answer["y"][0])

            for number in range(5):
                await ask(number)
            servable.threads.clear()
            alone = [await ask(3), await ask(10)]
            return alone + list(await asyncio.gather(*(ask(number) for number in (1, 20, 2, 30, 40))))

    try:
        assert run(main) == [4, 11, 2, 21, 3, 31, 41]
    finally:
        engine.close()
    assert any(name.startswith("hotserve-engine") for name in servable.threads)
    assert any(not name.startswith("hotserve-engine") for name in servable.threads)
    version.handle.withdraw()
    assert version.drained.wait(PATIENCE)
