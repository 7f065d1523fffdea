from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hotserve.background import give_way
from hotserve.core.events import EventBus
from hotserve.core.ids import ServableId
from hotserve.core.labels import Labels
from hotserve.core.loader import Loader
from hotserve.core.manager import Manager
from hotserve.core.servable import Servable
from hotserve.core.served_versions import ModelSpec
from hotserve.core.source import AspiredVersion
from hotserve.core.states import State, VersionStatus
from hotserve.errors import Code, InvalidArgument, NotFound
from hotserve.testing import FakeLoader, FakeServable, FakeSource

START, LOADING, AVAILABLE, UNLOADING, END = State

PATIENCE = 30.0
"""Seconds until a test gives up; nothing here takes that long unless it fails."""


class Stage:
    """A manager with a source and a loader that do what the test tells them, and a record of what was announced."""

    def __init__(self, *, hold: bool = False, labels: Labels | None = None, load_threads: int = 2) -> None:
        self.loader = FakeLoader(hold=hold)
        self.events = EventBus()
        self.manager = Manager(lambda name: self.loader, self.events, labels, load_threads)
        self.source = FakeSource(self.manager)
        self.announced: list[VersionStatus] = []
        self._heard = threading.Condition()
        self.events.subscribe(self._hear)

    def path(self, version: int, name: str = "m") -> Path:
        return self.source.path(name, version)

    def servable(self, version: int, name: str = "m") -> FakeServable:
        return self.loader.servables[self.path(version, name)]

    def settle(self, name: str = "m") -> None:
        assert self.manager.wait_settled([name], PATIENCE)

    def wait_for(self, version: int, state: State, name: str = "m") -> None:
        """Waits until this was announced."""
        wanted = (ServableId(name, version), state)
        with self._heard:
            assert self._heard.wait_for(lambda: any((s.id, s.state) == wanted for s in self.announced), PATIENCE)

    def states(self, name: str = "m") -> dict[int, State]:
        return {status.id.version: status.state for status in self.manager.status(name)}

    def release_all_loads(self) -> None:
        for name in self.manager.model_names():
            for status in self.manager.status(name):
                self.loader.finish(self.path(status.id.version, name))

    def _hear(self, status: VersionStatus) -> None:
        with self._heard:
            self.announced.append(status)
            self._heard.notify_all()


@pytest.fixture
def stages() -> Iterator[Callable[..., Stage]]:
    made: list[Stage] = []

    def make(**how: object) -> Stage:
        made.append(Stage(**how))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for stage in made:
        stage.release_all_loads()
        stage.manager.close(PATIENCE)


@pytest.fixture
def stage(stages: Callable[..., Stage]) -> Stage:
    """Loads end by themselves."""
    return stages()


@pytest.fixture
def held(stages: Callable[..., Stage]) -> Stage:
    """Each load ends when the test says so."""
    return stages(hold=True)


def not_found(manager: Manager, spec: ModelSpec) -> str:
    with pytest.raises(NotFound) as refused:
        manager.lease(spec)
    return refused.value.message


# Look-ups.


def test_something_is_served_from_the_first_version_to_the_last(held: Stage) -> None:
    assert not held.manager.serves_any()
    held.source.aspire("m", 1)
    held.wait_for(1, LOADING)
    assert not held.manager.serves_any()
    held.loader.finish(held.path(1))
    held.wait_for(1, AVAILABLE)
    assert held.manager.serves_any()
    held.source.aspire("m")
    held.wait_for(1, END)
    assert not held.manager.serves_any()


class GivingWay:
    """A loader that gives way, and notes which processors it is left then."""

    def __init__(self) -> None:
        self.processors: list[set[int]] = []

    def load(self, path: Path) -> FakeServable:
        give_way()
        self.processors.append(os.sched_getaffinity(0))
        return FakeServable(path)


@pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="one of several processors is left, on Linux"
)
def test_a_load_leaves_a_processor_alone_where_something_is_served() -> None:
    everything = os.sched_getaffinity(0)
    loader = GivingWay()
    manager = Manager(lambda name: loader, EventBus())
    source = FakeSource(manager)
    try:
        for version in (1, 2):
            source.aspire("m", version)
            assert manager.wait_settled(["m"], PATIENCE)
    finally:
        manager.close(PATIENCE)
    assert loader.processors == [everything, everything - {min(everything)}]


def test_without_a_version_the_latest_answers(stage: Stage) -> None:
    stage.source.aspire("m", 9, 10)
    stage.settle()
    with stage.manager.lease(ModelSpec("m")) as lease:
        assert lease.id == ServableId("m", 10)
        assert lease.servable is stage.servable(10)


def test_with_a_version_that_one_answers(stage: Stage) -> None:
    stage.source.aspire("m", 9, 10)
    stage.settle()
    with stage.manager.lease(ModelSpec("m", version=9)) as lease:
        assert lease.servable is stage.servable(9)


def test_with_a_label_its_version_answers(stages: Callable[..., Stage]) -> None:
    labels = Labels()
    labels.configure("m", {"stable": 9})
    stage = stages(labels=labels)
    stage.source.aspire("m", 9, 10)
    stage.settle()
    with stage.manager.lease(ModelSpec("m", label="stable")) as lease:
        assert lease.servable is stage.servable(9)


def test_a_label_takes_effect_when_its_version_becomes_available(stages: Callable[..., Stage]) -> None:
    labels = Labels()
    labels.configure("m", {"stable": 1})
    stage = stages(labels=labels, hold=True)
    stage.source.aspire("m", 1)
    with pytest.raises(InvalidArgument, match="Unrecognized servable version label: stable"):
        stage.manager.lease(ModelSpec("m", label="stable"))
    stage.loader.finish(stage.path(1))
    stage.settle()
    stage.manager.lease(ModelSpec("m", label="stable")).release()


class WatchedLabels(Labels):
    """Looks, as a label takes effect, whether its version is found."""

    def __init__(self) -> None:
        super().__init__()
        self.manager: Manager | None = None
        self.found: list[bool] = []

    def on_available(self, id: ServableId) -> None:
        assert self.manager is not None
        self.found.append(self.manager.is_available(id.name))
        super().on_available(id)


def test_a_version_is_found_before_its_labels_take_effect(stages: Callable[..., Stage]) -> None:
    labels = WatchedLabels()
    stage = stages(labels=labels)
    labels.manager = stage.manager
    stage.source.aspire("m", 1)
    stage.settle()
    assert labels.found == [True]


def test_a_label_of_a_version_that_is_gone_says_that_the_version_is_not_found(stages: Callable[..., Stage]) -> None:
    labels = Labels()
    labels.configure("m", {"old": 1})
    stage = stages(labels=labels)
    stage.source.aspire("m", 1)
    stage.settle()
    stage.source.aspire("m", 2)
    stage.settle()
    assert not_found(stage.manager, ModelSpec("m", label="old")) == (
        "Servable not found for request: Specific(m, 1). version 1 is END."
    )


def test_a_model_is_available_while_some_version_answers(stage: Stage) -> None:
    assert not stage.manager.is_available("m")
    stage.source.aspire("m", 1)
    stage.settle()
    assert stage.manager.is_available("m")
    stage.source.aspire("m")
    stage.settle()
    assert not stage.manager.is_available("m")


def test_the_status_lists_every_version_ever_seen_the_highest_first(stage: Stage) -> None:
    for version in (1, 3, 2):
        stage.source.aspire("m", version)
        stage.settle()
    assert [(s.id.version, s.state) for s in stage.manager.status("m")] == [(3, END), (2, AVAILABLE), (1, END)]
    assert stage.manager.status("other") == ()
    assert stage.manager.model_names() == ("m",)


# What a look-up in vain says: the contract's words first, then why.


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (ModelSpec("nobody"), "Servable not found for request: Latest(nobody)"),
        (ModelSpec("nobody", version=5), "Servable not found for request: Specific(nobody, 5)"),
    ],
)
def test_an_unknown_model_is_not_found_and_the_known_ones_are_named(stage: Stage, spec: ModelSpec, words: str) -> None:
    assert not_found(stage.manager, spec) == f"{words}. No versions of a model nobody have been found. Models: none."
    stage.source.aspire("digits", 1)
    stage.source.aspire("clothes", 1)
    assert not_found(stage.manager, spec) == (
        f"{words}. No versions of a model nobody have been found. Models: clothes, digits."
    )


def test_a_model_whose_storage_cannot_be_used_is_not_found_for_that_reason(stage: Stage) -> None:
    stage.manager.problems = lambda: {"m": "Its folder is away."}
    assert not_found(stage.manager, ModelSpec("m")) == (
        "Servable not found for request: Latest(m). Its folder is away."
    )


def test_an_unknown_version_is_not_found_and_the_available_ones_are_named(stage: Stage) -> None:
    stage.source.aspire("m", 1, 2)
    stage.settle()
    assert not_found(stage.manager, ModelSpec("m", version=5)) == (
        "Servable not found for request: Specific(m, 5). Versions AVAILABLE: 2, 1."
    )


def test_a_failed_version_is_not_found_and_its_error_is_told(stage: Stage) -> None:
    stage.loader.fail(stage.path(5), InvalidArgument("The graph has no signature. Export one."))
    stage.source.aspire("m", 5)
    stage.settle()
    why = ". version 5 is END: INVALID_ARGUMENT: The graph has no signature. Export one."
    assert not_found(stage.manager, ModelSpec("m")) == f"Servable not found for request: Latest(m){why}"
    assert not_found(stage.manager, ModelSpec("m", version=5)) == (
        f"Servable not found for request: Specific(m, 5){why}"
    )


def test_an_incomplete_version_is_not_found_and_what_it_waits_for_is_told(stage: Stage) -> None:
    stage.source.aspire("m", 5, waiting={5: "variables/variables.index is not there yet"})
    assert not_found(stage.manager, ModelSpec("m")) == (
        "Servable not found for request: Latest(m). version 5 is START: variables/variables.index is not there yet."
    )


def test_a_loading_version_is_not_found_and_that_it_loads_is_told(held: Stage) -> None:
    held.source.aspire("m", 5)
    assert not_found(held.manager, ModelSpec("m")) == (
        "Servable not found for request: Latest(m). version 5 is LOADING."
    )


def test_a_model_with_many_failed_versions_tells_about_the_highest_three(stage: Stage) -> None:
    for version in range(1, 6):
        stage.loader.fail(stage.path(version))
    stage.source.aspire("m", *range(1, 6))
    stage.settle()
    message = not_found(stage.manager, ModelSpec("m"))
    assert [number for number in range(1, 6) if f"version {number} is END" in message] == [3, 4, 5]


# Swaps.


def test_the_new_version_is_ready_before_the_old_one_unloads(held: Stage) -> None:
    held.loader.finish(held.path(1))
    held.source.aspire("m", 1)
    held.settle()
    held.source.aspire("m", 2)
    assert held.loader.wait_started(held.path(2))
    with held.manager.lease(ModelSpec("m")) as lease:
        assert lease.id.version == 1
    assert held.states() == {1: AVAILABLE, 2: LOADING}
    held.loader.finish(held.path(2))
    held.settle()
    with held.manager.lease(ModelSpec("m")) as lease:
        assert lease.id.version == 2
    assert held.servable(1).unloaded
    moves = [(status.id.version, status.state) for status in held.announced]
    assert moves.index((2, AVAILABLE)) < moves.index((1, UNLOADING)) < moves.index((1, END))


def test_a_lease_keeps_a_withdrawn_version_loaded(stage: Stage) -> None:
    stage.source.aspire("m", 1)
    stage.settle()
    lease = stage.manager.lease(ModelSpec("m"))
    stage.source.aspire("m", 2)
    stage.wait_for(1, UNLOADING)
    assert not stage.manager.wait_settled(["m"], 0)
    assert not_found(stage.manager, ModelSpec("m", version=1)) == (
        "Servable not found for request: Specific(m, 1). version 1 is UNLOADING."
    )
    with stage.manager.lease(ModelSpec("m")) as newer:
        assert newer.id.version == 2
    assert not stage.servable(1).unloaded
    lease.release()
    stage.settle()
    assert stage.servable(1).unloaded
    assert stage.states() == {1: END, 2: AVAILABLE}


def test_a_load_that_fails_leaves_the_old_version_and_puts_the_error_into_the_status(stage: Stage) -> None:
    error = InvalidArgument("truncated file")
    stage.source.aspire("m", 1)
    stage.settle()
    stage.loader.fail(stage.path(2), error)
    stage.source.aspire("m", 2)
    stage.settle()
    with stage.manager.lease(ModelSpec("m")) as lease:
        assert lease.id.version == 1
    assert stage.manager.status("m") == (
        VersionStatus(ServableId("m", 2), END, error),
        VersionStatus(ServableId("m", 1), AVAILABLE),
    )


@pytest.mark.parametrize(
    "fault",
    [ValueError("bad shape"), MemoryError(), RecursionError("too deep"), SystemExit(3), KeyboardInterrupt()],
    ids=lambda fault: type(fault).__name__,
)
def test_a_loader_that_raises_anything_fails_its_version_only(
    stage: Stage, fault: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    stage.loader.fail(stage.path(1), fault)
    stage.source.aspire("m", 1)
    stage.settle()
    stage.source.aspire("other", 1)
    stage.settle("other")
    assert stage.states("other") == {1: AVAILABLE}
    (status,) = stage.manager.status("m")
    assert status.state is END
    assert status.error is not None
    assert status.error.code is Code.INTERNAL
    assert status.error.message == f"The loader failed: {type(fault).__name__}: {fault}"
    assert "Traceback" in caplog.text


def test_a_model_for_which_there_is_no_loader_fails_and_holds_up_no_other() -> None:
    good = FakeLoader()

    def loader_for(id: ServableId) -> Loader:
        if id.name == "good":
            return good
        raise KeyError(id.name)

    manager = Manager(loader_for)
    source = FakeSource(manager)
    source.aspire("bad", 1)
    source.aspire("good", 1)
    assert manager.wait_settled(["bad", "good"], PATIENCE)
    assert manager.is_available("good")
    (status,) = manager.status("bad")
    assert str(status.error) == "INTERNAL: The loader failed: KeyError: 'bad'"
    manager.close(PATIENCE)


def test_a_failed_version_loads_when_its_files_have_changed(stage: Stage) -> None:
    def aspire(fingerprint: str) -> None:
        stage.manager.set_aspired("m", [AspiredVersion(ServableId("m", 1), stage.path(1), fingerprint)])

    stage.loader.fail(stage.path(1))
    aspire("a")
    stage.settle()
    stage.loader.finish(stage.path(1))
    aspire("a")
    stage.settle()
    assert stage.states() == {1: END}
    aspire("b")
    stage.settle()
    assert stage.states() == {1: AVAILABLE}
    assert stage.loader.started == [stage.path(1)] * 2


def test_a_version_that_comes_back_while_it_unloads_is_loaded_anew(stage: Stage) -> None:
    stage.source.aspire("m", 1)
    stage.settle()
    first = stage.servable(1)
    with stage.manager.lease(ModelSpec("m")):
        stage.source.aspire("m")
        stage.source.aspire("m", 1)
        assert stage.states() == {1: UNLOADING}
    stage.settle()
    assert stage.states() == {1: AVAILABLE}
    assert first.unloaded
    with stage.manager.lease(ModelSpec("m")) as lease:
        assert lease.servable is not first


class Clinging(FakeServable):
    """Cannot be unloaded."""

    def unload(self) -> None:
        raise OSError("still mapped")


class ClingingLoader:
    def load(self, path: Path) -> Servable:
        return Clinging(path)


def test_a_version_that_cannot_be_unloaded_ends_with_the_error() -> None:
    manager = Manager(lambda name: ClingingLoader())
    source = FakeSource(manager)
    source.aspire("m", 1)
    assert manager.wait_settled(["m"], PATIENCE)
    source.aspire("m")
    assert manager.wait_settled(["m"], PATIENCE)
    (status,) = manager.status("m")
    assert status.state is END
    assert str(status.error) == "INTERNAL: Unloading failed: OSError: still mapped"
    manager.close(PATIENCE)


# Loads.


def test_models_load_side_by_side_and_delay_no_request(held: Stage) -> None:
    held.loader.finish(held.path(1, "old"))
    held.source.aspire("old", 1)
    held.settle("old")
    held.source.aspire("a", 1)
    held.source.aspire("b", 1)
    # Both have begun and neither can end: they are under way at the same time.
    assert held.loader.wait_started(held.path(1, "a"))
    assert held.loader.wait_started(held.path(1, "b"))
    with held.manager.lease(ModelSpec("old")) as lease:
        assert lease.servable is held.servable(1, "old")
    assert held.states("a") == held.states("b") == {1: LOADING}
    held.loader.finish(held.path(1, "b"))
    held.settle("b")
    assert held.states("a") == {1: LOADING}


def test_no_more_models_load_at_a_time_than_there_are_load_threads(stages: Callable[..., Stage]) -> None:
    stage = stages(hold=True, load_threads=1)
    stage.source.aspire("a", 1)
    stage.source.aspire("b", 1)
    assert stage.loader.wait_started(stage.path(1, "a"))
    assert stage.loader.started == [stage.path(1, "a")]
    stage.loader.finish(stage.path(1, "a"))
    assert stage.loader.wait_started(stage.path(1, "b"))


def test_a_version_left_out_before_its_load_began_is_cancelled(stages: Callable[..., Stage]) -> None:
    stage = stages(hold=True, load_threads=1)
    stage.source.aspire("a", 1)
    assert stage.loader.wait_started(stage.path(1, "a"))
    stage.source.aspire("b", 1)
    stage.source.aspire("b")
    assert stage.states("b") == {1: LOADING}
    stage.loader.finish(stage.path(1, "a"))
    stage.settle("b")
    assert stage.loader.started == [stage.path(1, "a")]
    (status,) = stage.manager.status("b")
    assert str(status.error) == (
        "CANCELLED: Loading of servable cancelled: the version was no longer aspired when its turn came"
    )


def test_a_cancelled_version_loads_when_it_is_aspired_again(stages: Callable[..., Stage]) -> None:
    stage = stages(hold=True, load_threads=1)
    stage.source.aspire("a", 1)
    assert stage.loader.wait_started(stage.path(1, "a"))
    stage.source.aspire("b", 1)
    stage.source.aspire("b")
    stage.loader.finish(stage.path(1, "a"))
    stage.settle("b")
    stage.loader.finish(stage.path(1, "b"))
    stage.source.aspire("b", 1)
    stage.settle("b")
    assert stage.states("b") == {1: AVAILABLE}


def test_settling_is_waited_for_no_longer_than_asked(held: Stage) -> None:
    held.source.aspire("m", 1)
    assert not held.manager.wait_settled(["m"], 0)
    assert held.manager.wait_settled(["other"], 0)
    assert held.manager.wait_settled([], 0)


# Who listens.


def test_whoever_hears_available_can_look_the_version_up(stage: Stage) -> None:
    found: list[bool] = []

    def look(status: VersionStatus) -> None:
        if status.state is AVAILABLE:
            found.append(stage.manager.is_available("m"))

    stage.events.subscribe(look)
    stage.source.aspire("m", 1)
    stage.settle()
    assert found == [True]


def test_a_listener_that_fails_does_not_keep_a_version_from_loading(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(status: VersionStatus) -> None:
        raise RuntimeError("the loop is closed")

    stage.events.subscribe(broken)
    with caplog.at_level(logging.CRITICAL, logger="hotserve.core.events"):
        stage.source.aspire("m", 1)
        stage.settle()
    assert stage.states() == {1: AVAILABLE}


def test_the_lines_that_scripts_wait_for_are_logged(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="hotserve"):
        stage.source.aspire("m", 7)
        stage.settle()
        stage.manager.close(PATIENCE)
    assert "Successfully loaded servable version {name: m version: 7}" in caplog.text


# The end.


def test_close_unloads_everything(stage: Stage) -> None:
    stage.source.aspire("a", 1, 2)
    stage.source.aspire("b", 1)
    stage.source.aspire("c", 1, waiting={1: "its files"})
    for name in "abc":
        stage.settle(name)
    stage.manager.close(PATIENCE)
    assert {state for name in "abc" for state in stage.states(name).values()} == {END}
    assert all(servable.unloaded for servable in stage.loader.servables.values())
    with pytest.raises(NotFound):
        stage.manager.lease(ModelSpec("a"))


def begin_to_close(stage: Stage) -> threading.Thread:
    """Closes on a thread; returns once no version is aspired any more."""
    stage.source.aspire("zz, the last in order", 1, waiting={1: "its files"})
    closing = threading.Thread(target=stage.manager.close, args=(PATIENCE,))
    closing.start()
    stage.wait_for(1, END, "zz, the last in order")
    return closing


def test_close_waits_for_a_load_under_way_and_unloads_what_came_of_it(held: Stage) -> None:
    held.source.aspire("m", 1)
    assert held.loader.wait_started(held.path(1))
    closing = begin_to_close(held)
    assert closing.is_alive()
    held.loader.finish(held.path(1))
    closing.join(PATIENCE)
    assert held.states() == {1: END}
    assert held.servable(1).unloaded


def test_close_waits_for_the_requests_in_flight(stage: Stage) -> None:
    stage.source.aspire("m", 1)
    stage.settle()
    with stage.manager.lease(ModelSpec("m")) as lease:
        closing = begin_to_close(stage)
        assert closing.is_alive()
        assert not stage.servable(lease.id.version).unloaded
    closing.join(PATIENCE)
    assert stage.servable(1).unloaded


def test_close_begins_no_load_that_waits_for_a_thread(stages: Callable[..., Stage]) -> None:
    stage = stages(hold=True, load_threads=1)
    for name in "abc":
        stage.source.aspire(name, 1)
    assert stage.loader.wait_started(stage.path(1, "a"))
    closing = begin_to_close(stage)
    stage.loader.finish(stage.path(1, "a"))
    closing.join(PATIENCE)
    assert stage.loader.started == [stage.path(1, "a")]
    assert stage.states("a") == stage.states("b") == stage.states("c") == {1: END}


def test_close_gives_up_on_a_request_that_takes_too_long_and_unloads_when_it_ends(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.source.aspire("m", 1)
    stage.settle()
    with stage.manager.lease(ModelSpec("m")):
        stage.manager.close(timeout_seconds=0)
        assert "still busy 0 s after the stop" in caplog.text
        assert not stage.servable(1).unloaded
    stage.settle()
    assert stage.servable(1).unloaded


def test_a_source_that_outlives_the_stop_is_not_heard(stage: Stage) -> None:
    stage.source.aspire("m", 1)
    stage.settle()
    stage.manager.close(PATIENCE)
    stage.source.aspire("m", 1, 2)
    stage.source.aspire("other", 1)
    assert stage.states() == {1: END}
    assert stage.manager.model_names() == ("m",)


def test_close_ends_the_threads(stages: Callable[..., Stage]) -> None:
    before = set(threading.enumerate())
    stage = stages()
    stage.source.aspire("m", 1)
    stage.settle()
    stage.source.aspire("m", 2)
    stage.settle()
    stage.manager.close(PATIENCE)
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
    assert set(threading.enumerate()) <= before


def test_close_may_be_called_twice_and_without_models(stage: Stage) -> None:
    stage.manager.close(PATIENCE)
    stage.manager.close(PATIENCE)
    assert stage.manager.model_names() == ()


# All at once.

SWAPS = 200


@pytest.mark.usefixtures("eager_switches")
def test_look_ups_never_fail_and_never_meet_an_unloaded_servable_while_versions_swap(stage: Stage) -> None:
    stage.source.aspire("m", 0)
    stage.settle()
    done = threading.Event()
    faults: list[str] = []
    seen: list[set[int]] = [set(), set(), set()]

    def ask(versions: set[int]) -> None:
        while not done.is_set():
            try:
                with stage.manager.lease(ModelSpec("m")) as lease:
                    versions.add(lease.id.version)
                    if stage.servable(lease.id.version).unloaded:
                        faults.append(f"{lease.id} was unloaded under a lease")
            except NotFound as error:
                faults.append(error.message)

    clients = [threading.Thread(target=ask, args=(versions,)) for versions in seen]
    for client in clients:
        client.start()
    try:
        for version in range(1, SWAPS + 1):
            stage.source.aspire("m", version)
            stage.wait_for(version, AVAILABLE)
    finally:
        done.set()
        for client in clients:
            client.join(PATIENCE)
    stage.settle()
    assert faults == []
    assert len(set.union(*seen)) > 1
    assert stage.states() == {SWAPS: AVAILABLE} | dict.fromkeys(range(SWAPS), END)
    assert all(stage.servable(version).unloaded for version in range(SWAPS))


def test_a_load_that_failed_is_tried_again_and_serves_when_it_succeeds() -> None:
    loader = FakeLoader()
    manager = Manager(lambda name: loader, max_load_retries=1000, load_retry_seconds=0.001)
    source = FakeSource(manager)
    loader.fail(source.path("m", 1), InvalidArgument("not now"))
    heard = threading.Event()
    manager.events.subscribe(lambda status: heard.set() if status.state is LOADING and status.error else None)
    source.aspire("m", 1)
    assert heard.wait(PATIENCE)
    available = threading.Event()
    manager.events.subscribe(lambda status: available.set() if status.state is AVAILABLE else None)
    loader.finish(source.path("m", 1))
    assert available.wait(PATIENCE)
    (status,) = manager.status("m")
    assert status.error is None
    manager.close(PATIENCE)


def test_a_stop_waits_for_no_attempt_to_come() -> None:
    loader = FakeLoader()
    manager = Manager(lambda name: loader, max_load_retries=1, load_retry_seconds=1e6)
    source = FakeSource(manager)
    loader.fail(source.path("m", 1), InvalidArgument("not now"))
    source.aspire("m", 1)
    assert manager.wait_settled(["m"], PATIENCE)
    assert [status.state for status in manager.status("m")] == [LOADING]
    timers = [thread for thread in threading.enumerate() if thread.name == "hotserve-load-retry"]
    assert len(timers) == 1
    manager.close(PATIENCE)
    timers[0].join(PATIENCE)
    assert not timers[0].is_alive()
    assert [status.state for status in manager.status("m")] == [END]


def test_versions_unload_at_the_same_time_where_there_are_threads_for_it() -> None:
    both = threading.Barrier(2)

    class Meets(FakeServable):
        def unload(self) -> None:
            both.wait(PATIENCE)  # raises if it is alone
            super().unload()

    class Meeting(FakeLoader):
        def load(self, path: Path) -> Servable:
            return Meets(path)

    loader = Meeting()
    manager = Manager(lambda name: loader, unload_threads=2)
    source = FakeSource(manager)
    source.aspire("m", 1, 2)
    assert manager.wait_settled(["m"], PATIENCE)
    manager.close(PATIENCE)
    assert [(status.state, status.error) for status in manager.status("m")] == [(END, None)] * 2
