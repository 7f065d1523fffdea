from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hotserve.core.manager import Manager
from hotserve.errors import InvalidArgument, NotFound
from hotserve.handlers.status import model_status
from hotserve.protos.messages import ModelVersionStatus
from hotserve.testing import FakeLoader, FakeSource

PATIENCE = 30.0


class Stage:
    """A manager, and a loader that waits to be told how each load ends."""

    def __init__(self) -> None:
        self.loader = FakeLoader(hold=True)
        self.manager = Manager(lambda name: self.loader)
        self.source = FakeSource(self.manager)

    def path(self, version: int) -> Path:
        return self.source.path("m", version)

    def settle(self) -> None:
        assert self.manager.wait_settled(["m"], PATIENCE)

    def shown(self, version: int | None = None) -> list[tuple[int, str, int, str]]:
        """Version, state, error code and error message of each entry."""
        return [
            (
                entry.version,
                ModelVersionStatus.State.Name(entry.state),
                entry.status.error_code,
                entry.status.error_message,
            )
            for entry in model_status(self.manager, "m", version).model_version_status
        ]


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    for version in range(10):
        made.loader.finish(made.path(version))
    made.manager.close(PATIENCE)


def test_versions_are_listed_newest_first_through_all_their_life(stage: Stage) -> None:
    stage.source.aspire("m", 3)
    assert stage.loader.wait_started(stage.path(3))
    assert stage.shown() == [(3, "LOADING", 0, "")]
    stage.loader.finish(stage.path(3))
    stage.settle()
    assert stage.shown() == [(3, "AVAILABLE", 0, "")]
    stage.source.aspire("m", 3, 7)
    assert stage.loader.wait_started(stage.path(7))
    assert stage.shown() == [(7, "LOADING", 0, ""), (3, "AVAILABLE", 0, "")]
    stage.loader.finish(stage.path(7))
    stage.settle()
    stage.source.aspire("m", 7)
    stage.settle()
    assert stage.shown() == [(7, "AVAILABLE", 0, ""), (3, "END", 0, "")]


def test_a_version_that_failed_says_why(stage: Stage) -> None:
    stage.loader.fail(stage.path(3), InvalidArgument("no good model"))
    stage.source.aspire("m", 3)
    stage.settle()
    assert stage.shown() == [(3, "END", 3, "no good model")]


def test_a_version_that_waits_says_for_what_without_being_an_error(stage: Stage) -> None:
    stage.source.aspire("m", 3, waiting={3: "its files are still changing"})
    assert stage.shown() == [(3, "START", 0, "Waiting: its files are still changing")]


def test_a_version_that_is_loaded_again_says_why_the_last_attempt_failed_without_being_an_error() -> None:
    loader = FakeLoader()
    manager = Manager(lambda name: loader, max_load_retries=1, load_retry_seconds=1e6)
    source = FakeSource(manager)
    loader.fail(source.path("m", 3), InvalidArgument("no good model"))
    source.aspire("m", 3)
    assert manager.wait_settled(["m"], PATIENCE)
    (entry,) = model_status(manager, "m", None).model_version_status
    assert entry.state == ModelVersionStatus.LOADING
    assert entry.status.error_code == 0
    assert entry.status.error_message == "Loading again after a failure: INVALID_ARGUMENT: no good model"
    manager.close(PATIENCE)


def test_one_version_can_be_asked_for(stage: Stage) -> None:
    stage.source.aspire("m", 3, 4, waiting={3: "x", 4: "y"})
    assert stage.shown(3) == [(3, "START", 0, "Waiting: x")]


def test_names_of_files_that_are_no_text_can_stand_in_a_message(stage: Stage) -> None:
    # Python reads a byte of a file name that is no UTF-8 as a lone surrogate, which no message can hold.
    stage.source.aspire("m", 3, waiting={3: "b\udcffd"})
    assert stage.shown() == [(3, "START", 0, "Waiting: b?d")]
    stage.loader.fail(stage.path(4), InvalidArgument("b\udcffd"))
    stage.source.aspire("m", 4)
    stage.settle()
    assert (4, "END", 3, "b?d") in stage.shown()


def test_the_status_is_set_even_where_nothing_is_wrong(stage: Stage) -> None:
    stage.source.aspire("m", 3, waiting={3: "x"})
    assert model_status(stage.manager, "m", None).model_version_status[0].HasField("status")


@pytest.mark.parametrize(
    ("name", "version", "text"),
    [
        ("other", None, "Could not find any versions of model other"),
        ("", None, "Could not find any versions of model "),
        ("m", 4, "Could not find version 4 of model m"),
        ("other", 4, "Could not find version 4 of model other"),
        ("m", 0, "Could not find version 0 of model m"),
    ],
)
def test_what_was_never_seen_is_not_found(stage: Stage, name: str, version: int | None, text: str) -> None:
    stage.source.aspire("m", 3, waiting={3: "x"})
    with pytest.raises(NotFound) as caught:
        model_status(stage.manager, name, version)
    assert caught.value.message == text
