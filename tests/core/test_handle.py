from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from hotserve.core.handle import Lease, VersionHandle
from hotserve.core.ids import ServableId
from hotserve.testing import FakeServable

ID = ServableId("m", 3)


class Drained:
    """Counts the reports."""

    def __init__(self) -> None:
        self.reports: list[ServableId] = []

    def __call__(self, id: ServableId) -> None:
        self.reports.append(id)


@pytest.fixture
def drained() -> Drained:
    return Drained()


@pytest.fixture
def handle(drained: Drained) -> VersionHandle:
    return VersionHandle(ID, FakeServable(Path("/models/m/3")), drained)


def test_a_lease_names_its_version_and_leads_to_the_servable(handle: VersionHandle) -> None:
    lease = handle.acquire()
    assert lease is not None
    assert lease.id == ID
    assert lease.servable is handle.servable


def test_a_version_without_leases_is_drained_as_soon_as_it_is_withdrawn(
    handle: VersionHandle, drained: Drained
) -> None:
    handle.withdraw()
    assert drained.reports == [ID]


def test_a_version_is_drained_when_the_last_lease_is_released(handle: VersionHandle, drained: Drained) -> None:
    first, second = handle.acquire(), handle.acquire()
    assert first is not None
    assert second is not None
    handle.withdraw()
    first.release()
    assert drained.reports == []
    second.release()
    assert drained.reports == [ID]


def test_releasing_the_last_lease_of_a_version_that_is_not_withdrawn_reports_nothing(
    handle: VersionHandle, drained: Drained
) -> None:
    lease = handle.acquire()
    assert lease is not None
    lease.release()
    assert drained.reports == []


def test_a_withdrawn_version_hands_out_no_lease(handle: VersionHandle) -> None:
    handle.withdraw()
    assert handle.acquire() is None


def test_trying_for_a_lease_on_a_drained_version_does_not_report_it_again(
    handle: VersionHandle, drained: Drained
) -> None:
    handle.withdraw()
    handle.acquire()
    assert drained.reports == [ID]


def test_trying_for_a_lease_on_a_withdrawn_version_leaves_the_leases_on_it_alone(
    handle: VersionHandle, drained: Drained
) -> None:
    lease = handle.acquire()
    handle.withdraw()
    assert handle.acquire() is None
    assert drained.reports == []
    assert lease is not None
    lease.release()
    assert drained.reports == [ID]


def test_a_lease_is_released_once_however_often_it_is_asked_to(handle: VersionHandle, drained: Drained) -> None:
    twice, other = handle.acquire(), handle.acquire()
    assert twice is not None
    assert other is not None
    twice.release()
    twice.release()
    handle.withdraw()
    assert drained.reports == []
    other.release()
    assert drained.reports == [ID]


def test_a_with_block_releases_its_lease_also_when_it_raises(handle: VersionHandle, drained: Drained) -> None:
    lease = handle.acquire()
    assert lease is not None
    handle.withdraw()
    with pytest.raises(RuntimeError, match="the engine failed"), lease:
        raise RuntimeError("the engine failed")
    assert drained.reports == [ID]


def test_a_with_block_gives_its_lease(handle: VersionHandle) -> None:
    lease = handle.acquire()
    assert lease is not None
    with lease as entered:
        assert entered is lease


def test_a_shared_lease_holds_the_version_after_the_first_is_released(handle: VersionHandle, drained: Drained) -> None:
    lease = handle.acquire()
    assert lease is not None
    shared = lease.share()
    handle.withdraw()
    lease.release()
    assert drained.reports == []
    shared.release()
    assert drained.reports == [ID]


def test_a_lease_on_a_withdrawn_version_can_still_be_shared(handle: VersionHandle, drained: Drained) -> None:
    lease = handle.acquire()
    assert lease is not None
    handle.withdraw()
    shared = lease.share()
    lease.release()
    assert drained.reports == []
    assert shared.id == ID
    shared.release()
    assert drained.reports == [ID]


def test_a_released_lease_cannot_be_shared(handle: VersionHandle) -> None:
    lease = handle.acquire()
    assert lease is not None
    lease.release()
    with pytest.raises(RuntimeError, match=r"the lease on \{name: m version: 3\} has been released"):
        lease.share()


# Two threads meet: one is stopped before each bytecode in turn, and the other runs just then.


class Scene:
    """A handle, the leases held on it, and how often it was reported as drained."""

    def __init__(self, leases: int) -> None:
        self.drained = Drained()
        self.handle = VersionHandle(ID, FakeServable(Path("/models/m/3")), self.drained)
        self.leases: list[Lease] = []
        for _ in range(leases):
            self.acquire()

    def acquire(self) -> None:
        lease = self.handle.acquire()
        if lease is not None:
            self.leases.append(lease)

    def share(self) -> None:
        self.leases.append(self.leases[0].share())

    def release(self) -> None:
        self.leases.pop().release()

    def withdraw(self) -> None:
        self.handle.withdraw()


def interrupt(at: int, action: Callable[[], None], other: Callable[[], None]) -> bool:
    """Runs `action`, and `other` before its bytecode number `at` in handle.py; returns whether it came so far."""
    seen = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal seen
        if frame.f_code.co_filename != VersionHandle.withdraw.__code__.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            seen += 1
            if seen == at:
                other()
        return trace

    tracer = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(tracer)
    return seen >= at


Act = Callable[[Scene], None]


@pytest.mark.parametrize(
    ("leases", "withdrawn", "action", "other"),
    [
        pytest.param(0, False, Scene.acquire, Scene.withdraw, id="withdrawn during acquire"),
        pytest.param(0, False, Scene.withdraw, Scene.acquire, id="acquired during withdraw"),
        pytest.param(1, False, Scene.acquire, Scene.withdraw, id="withdrawn during a second acquire"),
        pytest.param(1, False, Scene.share, Scene.withdraw, id="withdrawn during share"),
        pytest.param(1, False, Scene.withdraw, Scene.share, id="shared during withdraw"),
        pytest.param(1, False, Scene.release, Scene.withdraw, id="withdrawn during release"),
        pytest.param(1, False, Scene.withdraw, Scene.release, id="released during withdraw"),
        pytest.param(2, True, Scene.release, Scene.release, id="both of two leases released"),
        pytest.param(1, True, Scene.acquire, Scene.release, id="the last lease released during a vain acquire"),
        pytest.param(1, True, Scene.release, Scene.acquire, id="a vain acquire during the last release"),
        pytest.param(0, True, Scene.acquire, Scene.acquire, id="two vain acquires"),
    ],
)
def test_wherever_a_thread_is_interrupted_drained_is_reported_once_and_with_no_lease_held(
    leases: int, withdrawn: bool, action: Act, other: Act
) -> None:
    at = 1
    while True:
        scene = Scene(leases)
        if withdrawn:
            scene.withdraw()
        if not interrupt(at, partial(action, scene), partial(other, scene)):
            break
        assert scene.drained.reports == ([] if scene.leases else [ID])
        while scene.leases:
            assert scene.drained.reports == []
            scene.release()
        assert scene.drained.reports == [ID]
        assert scene.handle.acquire() is None
        at += 1
    assert at > 5, "the action was not interrupted"


# Many threads meet, as they come.

ROUNDS = 500
WORKERS = 4


class Round:
    """One handle under fire, and who holds a lease on it.

    Each side first writes what it knows and then reads what the other has written (a worker: `held`, then `reported`;
    the report: `reported`, then `held`), so that a lease held at the moment of the report is seen by one of them.
    """

    def __init__(self) -> None:
        self.handle = VersionHandle(ID, FakeServable(Path("/models/m/3")), self._report)
        self.held = [0] * WORKERS
        self.leases = 0
        self.reported = threading.Event()
        self.faults: list[str] = []

    def _report(self, id: ServableId) -> None:
        if self.reported.is_set():
            self.faults.append("drained was reported twice")
        self.reported.set()
        if any(self.held):
            self.faults.append("drained was reported while a lease was held")

    def use(self, worker: int, chance: random.Random) -> None:
        """Leases, perhaps shares, and releases until the version is withdrawn."""
        while (lease := self.handle.acquire()) is not None:
            self.held[worker] += 1
            if self.reported.is_set():
                self.faults.append("a lease was handed out after drained was reported")
            if chance.random() < 0.5:
                shared = lease.share()
                lease.release()
                lease = shared
            if self.reported.is_set():
                self.faults.append("drained was reported while a lease was held")
            self.held[worker] -= 1
            self.leases += 1
            lease.release()


@pytest.mark.usefixtures("eager_switches")
def test_a_version_is_never_reported_as_drained_while_some_thread_holds_a_lease_and_always_once_none_does() -> None:
    rounds = [Round() for _ in range(ROUNDS)]
    begin = threading.Barrier(WORKERS + 1)

    def work(worker: int) -> None:
        chance = random.Random(worker)
        for current in rounds:
            begin.wait(timeout=30)
            current.use(worker, chance)

    workers = [threading.Thread(target=work, args=(worker,)) for worker in range(WORKERS)]
    for thread in workers:
        thread.start()
    chance = random.Random(0)
    for current in rounds:
        begin.wait(timeout=30)
        for _ in range(chance.randrange(200)):
            pass  # the withdrawal meets the workers at any point of their work
        current.handle.withdraw()
        assert current.reported.wait(timeout=30)
    for thread in workers:
        thread.join(timeout=30)
    assert [fault for current in rounds for fault in current.faults] == []
    assert any(current.leases for current in rounds)
