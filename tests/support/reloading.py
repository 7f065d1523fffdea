"""A manager, a poller of real folders and a reloader in one process; versions are `FakeServable`s."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from hotserve.config.model_config import ModelConfig
from hotserve.core.labels import Labels
from hotserve.core.manager import Manager
from hotserve.core.states import State
from hotserve.errors import ServingError
from hotserve.handlers.health import Health
from hotserve.handlers.reload_config import ConfigReloader, ModelOutcome
from hotserve.platforms.by_content import check_platform
from hotserve.sources.local import LocalStorage
from hotserve.sources.poller import Poller
from hotserve.testing import FakeLoader

PATIENCE = 30.0
"""Seconds until a test gives up; nothing takes that long unless it fails."""

MODEL_FILE = "model"


def missing_parts(path: Path, preferred: str = "") -> str | None:
    """A version is complete when it has its file."""
    return None if (path / MODEL_FILE).exists() else f"{MODEL_FILE} is not there yet"


class Reloading:
    """A server without wires, whose models are folders below `folder`; a context manager.

    Attributes:
        told: Every list of models that was handed on after a reload.
    """

    def __init__(self, folder: Path, *models: ModelConfig, hold: bool = False) -> None:
        self.folder = folder
        self.loader = FakeLoader(hold=hold)
        self.told: list[Sequence[ModelConfig]] = []
        loaders = {model.name: self._make_loader(model) for model in models}
        self.labels = Labels()
        for model in models:
            self.labels.configure(model.name, model.version_labels)
        self.manager = Manager(lambda id: loaders[id.name], labels=self.labels, load_threads=4)
        # Whatever is there counts as old, so that it is loaded at the first look.
        self.poller = Poller([], self.manager, LocalStorage(), missing_parts, 0.02, lambda: time.time() + 3600)
        self.health = Health(self.manager, [model.name for model in models], lambda: self.poller.problems)
        self.reloader = ConfigReloader(
            [], loaders, self._make_loader, self.manager, self.poller, self.health, self.told.append
        )
        self._models = models

    def _make_loader(self, model: ModelConfig) -> FakeLoader:
        check_platform(model.name, model.platform)
        return self.loader

    def add(self, model: str, version: int, *, complete: bool = True) -> Path:
        """Writes a version of a model."""
        path = self.folder / model / str(version)
        path.mkdir(parents=True)
        (path / (MODEL_FILE if complete else "part")).write_bytes(b"1")
        return path

    def config(self, name: str, **fields: object) -> ModelConfig:
        """A model whose base path is the folder of its name."""
        return ModelConfig(name, self.folder / name, **fields)  # type: ignore[arg-type]

    def reload(self, *models: ModelConfig, timeout_seconds: float = PATIENCE) -> dict[str, ModelOutcome]:
        """Applies a list, and waits for what is new or changed in it."""
        change = self.reloader.apply(models)
        names = [*(model.name for model in change.added), *(pair.new.name for pair in change.changed)]
        return self.outcomes(*names, timeout_seconds=timeout_seconds)

    def outcomes(self, *names: str, timeout_seconds: float = PATIENCE) -> dict[str, ModelOutcome]:
        found = asyncio.run(self.reloader.outcomes(names, timeout_seconds))
        return {outcome.name: outcome for outcome in found}

    def available(self, name: str) -> set[int]:
        """The versions of a model that are AVAILABLE."""
        return {status.id.version for status in self.manager.status(name) if status.state is State.AVAILABLE}

    def refusal(self, *models: ModelConfig) -> str:
        """The error that a list of models meets, which has changed nothing."""
        before = self.reloader.models
        told = len(self.told)
        try:
            self.reloader.apply(models)
        except ServingError as error:
            assert self.reloader.models == before
            assert len(self.told) == told
            return str(error)
        raise AssertionError("the list was not refused")

    def __enter__(self) -> Reloading:
        self.poller.start()
        if self._models:
            self.reload(*self._models)
            self.told.clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.poller.stop()
        self.manager.close(PATIENCE)
