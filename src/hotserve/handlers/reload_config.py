"""A new list of models takes the place of the one that is served, whoever brings it: an RPC, or the config file.

Everything that can be refused is refused before anything is changed. What follows cannot fail, and touches no model
that the two lists have in common: their versions, and requests to them, go on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

from hotserve.config.model_config import ModelConfig
from hotserve.config.reload import ConfigChange, plan_reload
from hotserve.core.ids import ServableId
from hotserve.core.manager import Manager
from hotserve.core.states import State
from hotserve.errors import ServingError
from hotserve.handlers.health import Health
from hotserve.sources.folder import WatchedModel

logger = logging.getLogger(__name__)

QUIET_SECONDS = 5.0
"""How long a wait counts on folders that are not known to be complete yet, as the start of the server does."""

_LOOK_SECONDS = 0.05
"""The pause between two looks at how new models stand."""


class ReloadableSource(Protocol):
    """A source whose list of models can be replaced."""

    @property
    def problems(self) -> Mapping[str, str]:
        """Model name -> why its storage cannot be used just now."""
        ...

    def set_models(self, models: Sequence[WatchedModel]) -> None:
        """Replaces the list; returns at once."""
        ...

    def wait_first_look(self, timeout_seconds: float) -> bool:
        """Waits until every model of the last list has been looked at once; returns whether that was so in time."""
        ...


class Outcome(Enum):
    """What has become of a model."""

    AVAILABLE = "available"
    FAILED = "failed"
    WAITING = "waiting"
    """It is loading still, or lacks something, and will be served when that ends."""
    REMOVED = "removed"
    """A later reload has left it out."""


@dataclass(frozen=True, slots=True)
class ModelOutcome:
    """How one model of a reload stands.

    Attributes:
        name: The model.
        outcome: In one word.
        detail: What it waits for, in words for the user.
        id: The version that failed.
        error: Why it failed.
    """

    name: str
    outcome: Outcome
    detail: str = ""
    id: ServableId | None = None
    error: ServingError | None = None


ModelLoader = TypeVar("ModelLoader")
"""What a manager has for each model, to load its versions."""


class ConfigReloader(Generic[ModelLoader]):
    """Applies new lists of models, one at a time. Reloads may come from any thread."""

    def __init__(
        self,
        models: Sequence[ModelConfig],
        loaders: dict[str, ModelLoader],
        make_loader: Callable[[ModelConfig], ModelLoader],
        manager: Manager,
        source: ReloadableSource,
        health: Health,
        on_reloaded: Callable[[Sequence[ModelConfig]], None],
    ) -> None:
        """Makes a reloader.

        Args:
            models: What is served now.
            loaders: Model name -> its loader, as the manager looks it up; new ones are added.
            make_loader: Makes the loader of a model; refuses a platform that there is not.
            manager: Knows the versions and the labels.
            source: Finds the versions.
            health: Is told which models are configured.
            on_reloaded: Called with the new list after every change; must not block.
        """
        self._models = tuple(models)
        self._loaders = loaders
        self._make_loader = make_loader
        self._manager = manager
        self._source = source
        self._health = health
        self._on_reloaded = on_reloaded
        self._lock = threading.Lock()

    @property
    def models(self) -> tuple[ModelConfig, ...]:
        """What is configured now."""
        return self._models

    def apply(self, models: Sequence[ModelConfig]) -> ConfigChange:
        """Replaces the list of models; does not wait for versions to load.

        Models that are left out are unloaded once their requests are answered. Of a model that is kept, versions that
        serve go on until what the new entry asks for is AVAILABLE.

        Args:
            models: The new list.

        Returns:
            What was changed.

        Raises:
            ConfigError: A name is listed twice, a platform is unknown or would change. Nothing was changed.
            FailedPrecondition: A label would move to a version that does not answer. Nothing was changed.
        """
        models = tuple(models)
        with self._lock:
            change = plan_reload(self._models, models)
            loaders = {model.name: self._make_loader(model) for model in change.added}
            loaders |= {pair.new.name: self._make_loader(pair.new) for pair in change.changed}
            for pair in change.changed:
                name = pair.new.name
                self._manager.labels.check(name, pair.new.version_labels, self._available_versions(name).__contains__)
            if change.is_empty:
                return change
            self._commit(models, change, loaders)
        logger.info("Reloaded the list of models: %s", change)
        return change

    def _commit(
        self, models: tuple[ModelConfig, ...], change: ConfigChange, loaders: Mapping[str, ModelLoader]
    ) -> None:
        # Before the source hears of a model: its loader and its labels are there when its first version is found.
        self._loaders.update(loaders)
        for model in (*change.added, *(pair.new for pair in change.changed)):
            self._manager.labels.configure(model.name, model.version_labels)
        for name in change.removed:
            # The loader stays: a load of it may be under way.
            self._manager.labels.remove(name)
        self._models = models
        self._source.set_models([WatchedModel(m.name, m.base_path, m.version_policy, m.platform) for m in models])
        self._health.set_models([model.name for model in models])
        self._on_reloaded(models)

    def _available_versions(self, name: str) -> frozenset[int]:
        return frozenset(s.id.version for s in self._manager.status(name) if s.state is State.AVAILABLE)

    async def outcomes(self, names: Sequence[str], timeout_seconds: float) -> tuple[ModelOutcome, ...]:
        """Waits until each of these models answers, has failed, or is known to wait for something.

        A model answers when one of its versions does, and each that a label stands for: clients may name it now. A
        labelled version whose load has failed, or that is not complete, holds back nobody.

        Args:
            names: Models of a list that was applied.
            timeout_seconds: How long to wait at most.

        Returns:
            How each of them stands, in the order of `names`.
        """
        clock = asyncio.get_running_loop().time
        start = clock()
        while clock() - start < timeout_seconds:
            patient = clock() - start < QUIET_SECONDS
            if all(self._is_decided(name, patient) for name in names):
                break
            await asyncio.sleep(min(_LOOK_SECONDS, timeout_seconds))
        return tuple(self._outcome(name) for name in names)

    def _is_decided(self, name: str, patient: bool) -> bool:
        if not self._is_configured(name):
            return True
        if not self._source.wait_first_look(0):
            return False
        if name in self._source.problems:
            return True
        if self._manager.is_available(name):
            return self._label_to_come(name) is None
        return self._manager.wait_settled([name], 0, patient=patient)

    def _label_to_come(self, name: str) -> tuple[str, int] | None:
        """A label whose version loads just now, or is about to, and that version; None where there is none."""
        coming = {
            status.id.version
            for status in self._manager.status(name)
            if status.state in (State.START, State.LOADING) and status.error is None and not status.waiting_for
        }
        labels = next((model.version_labels for model in self._models if model.name == name), {})
        return next(((label, version) for label, version in labels.items() if version in coming), None)

    def _is_configured(self, name: str) -> bool:
        return any(model.name == name for model in self._models)

    def _outcome(self, name: str) -> ModelOutcome:
        if not self._is_configured(name):
            return ModelOutcome(name, Outcome.REMOVED, "it has been removed by a later reload")
        problem = self._source.problems.get(name)
        if self._manager.is_available(name):
            to_come = self._label_to_come(name)
            if problem is None and to_come is not None:
                label, version = to_come
                detail = f"its label {label} takes effect when version {version} is AVAILABLE"
                return ModelOutcome(name, Outcome.WAITING, detail)
            if problem is None:
                return ModelOutcome(name, Outcome.AVAILABLE)
            return ModelOutcome(name, Outcome.WAITING, f"{problem} Until then it goes on as it is")
        # What an earlier life of the model has left behind is all that is END while something else is the matter.
        statuses = self._manager.status(name)
        if problem is None and all(status.state is State.END for status in statuses):
            for status in statuses:
                if status.error is not None:
                    return ModelOutcome(name, Outcome.FAILED, id=status.id, error=status.error)
        return ModelOutcome(name, Outcome.WAITING, self._health.describe(name))
