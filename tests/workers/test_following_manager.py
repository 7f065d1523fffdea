from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hotserve.background import give_way
from hotserve.config.model_config import ModelConfig
from hotserve.core.ids import ServableId
from hotserve.core.labels import Labels
from hotserve.core.served_versions import ModelSpec
from hotserve.core.states import State, VersionStatus
from hotserve.errors import InvalidArgument, NotFound
from hotserve.testing import FakeLoader, FakeServable
from hotserve.workers.following_manager import FollowingManager, LoadedVersion
from hotserve.workers.messages import LoadEnded, Opened, Unloaded
from support.server_process import wait_until

ONE = ServableId("m", 1)
PATH = Path("/models/m/1")
MODEL = ModelConfig("m", PATH.parent)


class Stage:
    """A following manager, whose loads the test controls, and what it has reported."""

    def __init__(self) -> None:
        self.loader = FakeLoader(hold=True)
        self.reports: list[Any] = []
        self.labels = Labels()
        self.labels.configure("m", {"stable": 1})
        self.manager = FollowingManager(self._load, self.reports.append, self.labels, 2, 1)

    def _load(self, model: ModelConfig, path: Path) -> LoadedVersion:
        return LoadedVersion(self.loader.load(path), 0.25, 0.5)

    def load(self) -> None:
        self.manager.load(ONE, PATH, MODEL)
        assert self.loader.wait_started(PATH)

    def wait(self, is_report: Callable[[Any], bool]) -> Any:
        return wait_until(lambda: next((report for report in self.reports if is_report(report)), None), 30)

    def finish(self) -> None:
        self.loader.finish(PATH)
        self.wait(lambda report: isinstance(report, LoadEnded))

    def is_found(self) -> bool:
        try:
            self.manager.lease(ModelSpec("m")).release()
        except NotFound:
            return False
        return True


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.loader.finish(PATH)
    made.manager.close()


def test_a_version_is_found_when_it_is_opened_and_not_when_it_is_loaded(stage: Stage) -> None:
    stage.load()
    stage.finish()
    assert stage.reports == [LoadEnded(ONE, None, 0.25, 0.5)]
    assert not stage.is_found()
    with pytest.raises(InvalidArgument):
        stage.manager.lease(ModelSpec("m", label="stable"))

    stage.manager.open(ONE)
    assert stage.reports[1:] == [Opened(ONE)]
    assert stage.is_found()
    with stage.manager.lease(ModelSpec("m", label="stable")) as lease:
        assert lease.id == ONE


@pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="one of several processors is left, on Linux"
)
def test_a_load_leaves_a_processor_alone_where_something_is_served() -> None:
    everything = os.sched_getaffinity(0)
    processors: list[set[int]] = []
    reports: list[Any] = []

    def load(model: ModelConfig, path: Path) -> LoadedVersion:
        give_way()
        processors.append(os.sched_getaffinity(0))
        return LoadedVersion(FakeServable(path), 0.0, 0.0)

    manager = FollowingManager(load, reports.append, Labels(), 1, 1)
    try:
        for version in (1, 2):
            one = ServableId("m", version)
            manager.load(one, PATH, MODEL)
            wait_until(lambda one=one: LoadEnded(one, None, 0.0, 0.0) in reports, 30)  # type: ignore[misc]
            manager.open(one)
    finally:
        manager.close()
    assert processors == [everything, everything - {min(everything)}]


def test_a_version_is_unloaded_when_its_last_request_is_answered(stage: Stage) -> None:
    stage.load()
    stage.finish()
    stage.manager.open(ONE)
    lease = stage.manager.lease(ModelSpec("m"))
    stage.manager.unload(ONE)
    assert not stage.is_found()
    assert not stage.loader.servables[PATH].unloaded
    lease.release()
    assert stage.wait(lambda report: isinstance(report, Unloaded)) == Unloaded(ONE)
    assert stage.loader.servables[PATH].unloaded


def test_a_version_that_is_given_back_before_it_was_opened_is_unloaded(stage: Stage) -> None:
    stage.load()
    stage.finish()
    stage.manager.unload(ONE)
    stage.wait(lambda report: isinstance(report, Unloaded))
    assert stage.loader.servables[PATH].unloaded


def test_a_version_that_is_given_back_while_it_loads_is_unloaded_when_it_has_loaded(stage: Stage) -> None:
    stage.load()
    stage.manager.unload(ONE)
    stage.loader.finish(PATH)
    stage.wait(lambda report: isinstance(report, Unloaded))
    assert stage.reports == [Unloaded(ONE)]
    assert stage.loader.servables[PATH].unloaded


def test_a_version_that_is_given_back_while_it_fails_to_load_is_gone_without_an_error(stage: Stage) -> None:
    stage.load()
    stage.manager.unload(ONE)
    stage.loader.fail(PATH)
    stage.wait(lambda report: isinstance(report, Unloaded))
    assert stage.reports == [Unloaded(ONE)]


def test_a_version_that_is_given_back_when_it_has_just_failed_loads_when_it_comes_again(stage: Stage) -> None:
    # Another worker has failed as well, and the supervisor did not know of this one when it said so.
    stage.load()
    stage.loader.fail(PATH, InvalidArgument("no"))
    stage.wait(lambda report: isinstance(report, LoadEnded))
    stage.manager.unload(ONE)
    stage.reports.clear()

    stage.manager.load(ONE, PATH, MODEL)
    stage.loader.finish(PATH)
    assert stage.wait(lambda report: True) == LoadEnded(ONE, None, 0.25, 0.5)


def test_why_a_load_failed_is_reported(stage: Stage) -> None:
    stage.load()
    stage.loader.fail(PATH, InvalidArgument("not a model"))
    report = stage.wait(lambda report: isinstance(report, LoadEnded))
    assert str(report.error) == "INVALID_ARGUMENT: not a model"


def test_a_fault_of_a_loader_is_reported_as_one(stage: Stage) -> None:
    stage.load()
    stage.loader.fail(PATH, SystemExit("no"))
    report = stage.wait(lambda report: isinstance(report, LoadEnded))
    assert str(report.error) == "INTERNAL: The loader failed: SystemExit: no"


def test_the_status_is_what_the_supervisor_says_and_listeners_hear_of_it(stage: Stage) -> None:
    heard: list[VersionStatus] = []
    stage.manager.events.subscribe(heard.append)
    two = ServableId("m", 2)
    loading, available = VersionStatus(ONE, State.LOADING), VersionStatus(ONE, State.AVAILABLE)
    stage.manager.set_statuses([loading, VersionStatus(two, State.START, waiting_for="its file")])
    assert not stage.manager.is_available("m")
    stage.manager.set_statuses([available])
    assert stage.manager.is_available("m")
    assert [status.id.version for status in stage.manager.status("m")] == [2, 1]
    assert len(heard) == 3
    with pytest.raises(NotFound, match="version 2 is START: its file"):
        stage.manager.lease(ModelSpec("m", 2))


def test_models_of_which_no_version_was_found_are_known_by_name(stage: Stage) -> None:
    stage.manager.set_model_names(["z", "a"])
    stage.manager.set_statuses([VersionStatus(ONE, State.LOADING)])
    assert stage.manager.model_names() == ("a", "m", "z")
    assert stage.manager.status("a") == ()
