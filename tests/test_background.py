from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from hotserve.background import NICENESS, BackgroundThreads, give_way, give_way_behind, run_apart
from hotserve.spared_processor import SparedProcessor
from support.server_process import wait_until

PATIENCE = 30.0

Make = Callable[[int], BackgroundThreads]

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no priorities of single threads")

needs_processors = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="one of several processors is left, on Linux"
)


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[BackgroundThreads] = []

    def new(threads: int) -> BackgroundThreads:
        made.append(BackgroundThreads(threads, "test"))
        return made[-1]

    yield new
    for each in made:
        each.shutdown()


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


class Stage:
    """A task that a test holds."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def run(self) -> None:
        self.begun.set()
        assert self.may_end.wait(PATIENCE)


def test_no_more_tasks_run_at_once_than_may_and_the_rest_follows_in_order(make: Make) -> None:
    threads = make(2)
    stages = [Stage() for _ in range(4)]
    for stage in stages:
        threads.submit(stage.run)
    assert stages[0].begun.wait(PATIENCE)
    assert stages[1].begun.wait(PATIENCE)
    assert not stages[2].begun.is_set()
    stages[1].may_end.set()
    assert stages[2].begun.wait(PATIENCE)
    assert not stages[3].begun.is_set()
    for stage in stages:
        stage.may_end.set()
    assert stages[3].begun.wait(PATIENCE)


def test_each_task_has_a_thread_of_its_own_with_the_name_of_them_all(make: Make) -> None:
    threads = make(1)
    seen: list[threading.Thread] = []
    done = threading.Event()
    for _ in range(3):
        threads.submit(lambda: seen.append(threading.current_thread()))
    threads.submit(done.set)
    assert done.wait(PATIENCE)
    assert [thread.name for thread in seen] == ["test_0", "test_1", "test_2"]


def test_a_task_that_fails_is_logged_and_those_that_wait_run(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    threads = make(1)
    done = threading.Event()

    def fail() -> None:
        raise SystemExit("oops")

    threads.submit(fail)
    threads.submit(done.set)
    assert done.wait(PATIENCE)
    assert "A task of test has failed" in caplog.text


def test_where_the_system_has_no_thread_left_a_task_runs_all_the_same(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = make(1)
    first, done = threading.Event(), threading.Event()
    threads.submit(first.set)
    assert first.wait(PATIENCE)

    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more)
    threads.submit(done.set)
    assert done.wait(PATIENCE)


def test_what_cannot_be_started_at_all_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = make(1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more)
        with pytest.raises(RuntimeError):
            threads.submit(lambda: None)
    done = threading.Event()
    threads.submit(done.set)
    assert done.wait(PATIENCE)


def test_after_the_shutdown_nothing_begins(make: Make) -> None:
    threads = make(1)
    first, second = Stage(), Stage()
    threads.submit(first.run)
    threads.submit(second.run)
    assert first.begun.wait(PATIENCE)
    threads.shutdown()
    with pytest.raises(RuntimeError, match="no more work"):
        threads.submit(second.run)
    own = [thread for thread in threading.enumerate() if thread.name.startswith("test_")]
    first.may_end.set()
    for thread in own:
        thread.join(PATIENCE)
    assert not second.begun.is_set()


@on_linux
def test_a_background_thread_gives_way_and_the_next_one_begins_as_any_other(make: Make) -> None:
    threads = make(1)
    own = niceness()
    seen: list[int] = []
    done = threading.Event()

    def work() -> None:
        seen.append(niceness())
        give_way()
        seen.append(niceness())

    threads.submit(work)
    threads.submit(work)
    threads.submit(done.set)
    assert done.wait(PATIENCE)
    assert seen == 2 * [own, min(19, own + NICENESS)]
    assert niceness() == own


@needs_processors
@pytest.mark.parametrize("are_answered", [True, False])
def test_a_task_that_comes_while_requests_are_answered_leaves_a_processor_to_them(are_answered: bool) -> None:
    everything = os.sched_getaffinity(0)
    threads = BackgroundThreads(1, "test", SparedProcessor(lambda: are_answered))
    seen: list[set[int]] = []
    helper = Stage()
    done = threading.Event()

    def part() -> None:
        give_way()
        seen.append(os.sched_getaffinity(0))

    def work() -> None:
        seen.append(os.sched_getaffinity(0))
        run_apart(part)
        give_way()
        seen.append(os.sched_getaffinity(0))
        # What it starts from now on does as it does, and has all of them again when it has ended.
        threading.Thread(target=helper.run, name="helper").start()
        done.set()

    try:
        threads.submit(work)
        assert done.wait(PATIENCE)
        assert helper.begun.wait(PATIENCE)
        left = everything - {min(everything)} if are_answered else everything
        assert seen == [everything, left, left]
        number = next(thread.native_id for thread in threading.enumerate() if thread.name == "helper")
        assert number is not None
        wait_until(lambda: os.sched_getaffinity(number) == everything, what="all processors to be used again")
    finally:
        helper.may_end.set()
        threads.shutdown()


class HeldAtItsEnd(SparedProcessor):
    """Keeps a thread from ending when it has taken its processor back."""

    def __init__(self) -> None:
        super().__init__(lambda: True)
        self.taken_back, self.may_end = threading.Event(), threading.Event()

    def take_back(self, task: int) -> None:
        super().take_back(task)
        self.taken_back.set()
        assert self.may_end.wait(PATIENCE)


@needs_processors
def test_a_task_that_is_over_gives_way_no_more() -> None:
    everything = os.sched_getaffinity(0)
    spared = HeldAtItsEnd()
    threads = BackgroundThreads(1, "test", spared)
    try:
        threads.submit(lambda: None)
        assert spared.taken_back.wait(PATIENCE)
        (thread,) = (each for each in threading.enumerate() if each.name == "test_0")
        assert thread.native_id is not None
        thread.stand_behind(thread.native_id)  # type: ignore[attr-defined]  # as `give_way_behind` does, too late
        assert os.sched_getaffinity(thread.native_id) == everything
    finally:
        spared.may_end.set()
        threads.shutdown()


@on_linux
def test_other_threads_do_not_give_way() -> None:
    own = niceness()
    give_way()
    assert niceness() == own


@on_linux
def test_a_thread_gives_way_behind_the_threads_that_it_starts(make: Make) -> None:
    threads = make(1)
    own = niceness()
    seen: dict[str, int] = {}
    began: list[bool] = []
    given_way, done = threading.Event(), threading.Event()

    def helper() -> None:
        assert given_way.wait(PATIENCE)
        seen[threading.current_thread().name] = niceness()

    def work() -> None:
        give_way_behind(2)
        helpers = [threading.Thread(target=helper, name=name) for name in ("first", "second")]
        helpers[0].start()
        began.append(niceness() == own)
        helpers[1].start()
        wait_until(lambda: niceness() != own, what="the caller to give way")
        given_way.set()
        for each in helpers:
            each.join(PATIENCE)
        seen["caller"] = niceness()
        done.set()

    threads.submit(work)
    assert done.wait(PATIENCE)
    assert began == [True]
    assert seen == {"first": own, "second": own, "caller": min(19, own + NICENESS)}


@on_linux
def test_a_thread_that_is_to_start_none_gives_way_at_once(make: Make) -> None:
    threads = make(1)
    own = niceness()
    seen: list[int] = []
    done = threading.Event()

    def work() -> None:
        give_way_behind(0)
        seen.append(niceness())
        done.set()

    threads.submit(work)
    assert done.wait(PATIENCE)
    assert seen == [min(19, own + NICENESS)]


@on_linux
def test_who_has_ended_before_its_threads_came_is_looked_for_no_longer(make: Make) -> None:
    threads = make(1)
    threads.submit(give_way_behind, 1000)
    threads.submit(lambda: None)
    wait_until(lambda: not any(thread.name.endswith("-behind") for thread in threading.enumerate()), what="its end")


@on_linux
def test_a_part_that_runs_apart_gives_way_alone(make: Make) -> None:
    threads = make(1)
    own = niceness()
    seen: list[int] = []
    done = threading.Event()

    def part(argument: str) -> tuple[str, int]:
        give_way()
        return argument, niceness()

    def work() -> None:
        given, there = run_apart(part, argument="given")
        assert given == "given"
        seen.extend((there, niceness()))
        done.set()

    threads.submit(work)
    assert done.wait(PATIENCE)
    assert seen == [min(19, own + NICENESS), own]


def test_what_a_part_that_runs_apart_raises_comes_to_the_caller() -> None:
    def fail() -> None:
        raise LookupError("not there")

    with pytest.raises(LookupError, match="not there"):
        run_apart(fail)
