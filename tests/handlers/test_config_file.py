from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hotserve.config.model_config import ModelConfig
from hotserve.errors import ConfigError
from hotserve.handlers.config_file import ConfigFile
from support.reloading import PATIENCE, Reloading
from support.server_process import wait_until


class Stage:
    """A file that says what a test makes it say, and a server that follows it."""

    def __init__(self, served: Reloading) -> None:
        self.served = served
        self.says: Sequence[ModelConfig] | ConfigError = served.reloader.models
        self.file = ConfigFile(Path("models.config"), self._read, served.reloader.models, served.reloader)

    def _read(self, path: Path) -> Sequence[ModelConfig]:
        if isinstance(self.says, ConfigError):
            raise self.says
        return self.says

    def names(self) -> list[str]:
        return [model.name for model in self.served.reloader.models]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Reloading(tmp_path) as served:
        served.add("a", 1)
        served.reload(served.config("a"))
        served.told.clear()
        yield Stage(served)


def test_a_file_that_says_something_new_is_applied_once(stage: Stage) -> None:
    stage.says = [stage.served.config("a"), stage.served.config("b")]
    stage.file.look()
    stage.file.look()
    assert stage.names() == ["a", "b"]
    assert len(stage.served.told) == 1


def test_a_file_that_has_not_changed_does_not_undo_a_reload_that_came_otherwise(stage: Stage) -> None:
    stage.served.reload(stage.served.config("c"))
    stage.file.look()
    assert stage.names() == ["c"]


def test_a_file_that_is_wrong_changes_nothing_and_is_complained_about_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.says = ConfigError("4:7: Expected a name")
    for _ in range(3):
        stage.file.look()
    assert stage.names() == ["a"]
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "Failed to read ModelServerConfig file: INVALID_ARGUMENT: 4:7: Expected a name. The models go on as they are."
    ]
    stage.says = [stage.served.config("b")]
    stage.file.look()
    assert stage.names() == ["b"]


def test_the_same_mistake_made_again_is_complained_about_again(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    good = stage.says
    for says in (ConfigError("no"), good, ConfigError("no")):
        stage.says = says
        stage.file.look()
    assert caplog.text.count("Failed to read ModelServerConfig file") == 2


def test_a_list_that_is_refused_is_tried_again_until_it_is_not(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    served = stage.served
    served.reload(served.config("a", version_labels={"stable": 1}))
    stage.says = [served.config("a", version_labels={"stable": 2})]
    stage.file.look()
    assert "PollFilesystemAndReloadConfig failed to ReloadConfig: FAILED_PRECONDITION: Request to assign" in caplog.text
    served.add("a", 2)
    wait_until(lambda: served.available("a") == {2}, PATIENCE)
    stage.file.look()
    assert served.labels.resolve("a", "stable") == 2
