from __future__ import annotations

from collections.abc import Iterator

import pytest

from hotserve.core.manager import Manager
from hotserve.errors import InvalidArgument
from hotserve.handlers.health import SERVICES, Health
from hotserve.testing import FakeLoader, FakeSource

PATIENCE = 30.0


class Stage:
    """A health check of the models `a` and `b`, whose versions load as the test says."""

    def __init__(self) -> None:
        self.loader = FakeLoader(hold=True)
        self.manager = Manager(lambda name: self.loader)
        self.source = FakeSource(self.manager)
        self.problems: dict[str, str] = {}
        self.health = Health(self.manager, ["a", "b"], lambda: self.problems)

    def serve(self, name: str, *versions: int) -> None:
        for version in versions:
            self.loader.finish(self.source.path(name, version))
        self.source.aspire(name, *versions)
        assert self.manager.wait_settled([name], PATIENCE)

    def described(self, name: str) -> str:
        return self.health.readiness().models[name]


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    for name in "ab":
        for version in range(5):
            made.loader.finish(made.source.path(name, version))
    made.manager.close(PATIENCE)


def test_a_server_is_ready_when_every_configured_model_has_a_version(stage: Stage) -> None:
    assert not stage.health.readiness().ready
    stage.serve("a", 1)
    assert not stage.health.readiness().ready
    stage.serve("b", 1)
    readiness = stage.health.readiness()
    assert (readiness.ready, readiness.stopping) == (True, False)
    assert readiness.models == {"a": "AVAILABLE", "b": "AVAILABLE"}


def test_a_model_that_nobody_configured_does_not_count(stage: Stage) -> None:
    stage.serve("a", 1)
    stage.serve("b", 1)
    stage.loader.fail(stage.source.path("c", 1), InvalidArgument("no"))
    stage.source.aspire("c", 1)
    assert stage.manager.wait_settled(["c"], PATIENCE)
    assert stage.health.readiness().ready
    assert stage.health.is_serving("c") is None


def test_a_server_of_no_models_is_ready(stage: Stage) -> None:
    assert Health(stage.manager, [], dict).readiness().ready


def test_a_model_stays_ready_while_its_next_version_loads_or_fails(stage: Stage) -> None:
    stage.serve("a", 1)
    stage.source.aspire("a", 1, 2)
    assert stage.loader.wait_started(stage.source.path("a", 2))
    assert stage.described("a") == "AVAILABLE"
    stage.loader.fail(stage.source.path("a", 2), InvalidArgument("no"))
    assert stage.manager.wait_settled(["a"], PATIENCE)
    assert stage.described("a") == "AVAILABLE"


def test_a_model_that_is_not_ready_says_what_is_the_matter(stage: Stage) -> None:
    assert stage.described("a") == "no version found yet"
    stage.problems["a"] = "its folder is not there"
    assert stage.described("a") == "its folder is not there"
    stage.problems.clear()
    stage.source.aspire("a", 1, waiting={1: "its files are still changing"})
    assert stage.described("a") == "version 1 is START, waiting: its files are still changing"
    stage.source.aspire("a", 1, 2, waiting={1: "its files are still changing"})
    assert stage.loader.wait_started(stage.source.path("a", 2))
    assert stage.described("a") == "version 2 is LOADING"
    stage.loader.fail(stage.source.path("a", 2), InvalidArgument("no good"))
    assert stage.manager.wait_settled(["a"], PATIENCE)
    assert stage.described("a") == "version 2 is END: INVALID_ARGUMENT: no good"


def test_storage_that_is_away_matters_only_once_nothing_serves(stage: Stage) -> None:
    stage.problems["a"] = "its folder is not there"
    stage.serve("a", 1)
    assert stage.described("a") == "AVAILABLE"
    stage.source.aspire("a")
    assert stage.manager.wait_settled(["a"], PATIENCE)
    assert stage.described("a") == "its folder is not there"


def test_a_server_that_stops_is_not_ready_although_its_models_answer(stage: Stage) -> None:
    stage.serve("a", 1)
    stage.serve("b", 1)
    stage.health.stopping = True
    readiness = stage.health.readiness()
    assert (readiness.ready, readiness.stopping) == (False, True)
    assert readiness.models == {"a": "AVAILABLE", "b": "AVAILABLE"}
    assert not stage.health.is_serving("")
    assert not stage.health.is_serving("a")


@pytest.mark.parametrize("service", SERVICES)
def test_the_services_of_the_server_serve_when_all_models_do(stage: Stage, service: str) -> None:
    stage.serve("a", 1)
    assert stage.health.is_serving(service) is False
    stage.serve("b", 1)
    assert stage.health.is_serving(service) is True


def test_a_model_is_a_service_of_its_own(stage: Stage) -> None:
    stage.serve("a", 1)
    assert stage.health.is_serving("a") is True
    assert stage.health.is_serving("b") is False
    assert stage.health.is_serving("nope") is None
