"""Health: whether the process lives, and whether it is ready for requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hotserve.core.served_versions import ServedVersions
from hotserve.core.states import State

SERVICES = (
    "",
    "ModelService",
    "PredictionService",
    "tensorflow.serving.ModelService",
    "tensorflow.serving.PredictionService",
)
"""The services that the health service knows beside the models; the original has the unqualified names only."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether every configured model answers, and what is the matter if not.

    Attributes:
        ready: Every configured model has a version AVAILABLE, and the server is not stopping.
        models: Model -> "AVAILABLE", or why it does not answer.
        stopping: Whether the server has been told to stop.
    """

    ready: bool
    models: Mapping[str, str]
    stopping: bool


class Health:
    """Tells the truth about readiness at any moment.

    Attributes:
        stopping: Set once the server has been told to stop; it is not ready from then on.
    """

    def __init__(
        self, manager: ServedVersions, model_names: Sequence[str], problems: Callable[[], Mapping[str, str]]
    ) -> None:
        """Makes a health check.

        Args:
            manager: Knows the versions.
            model_names: The configured models.
            problems: Model name -> why its storage cannot be used just now.
        """
        self.stopping = False
        self._manager = manager
        self._model_names = tuple(model_names)
        self._problems = problems

    @property
    def model_names(self) -> tuple[str, ...]:
        """The configured models."""
        return self._model_names

    def set_models(self, model_names: Sequence[str]) -> None:
        """Replaces the list of configured models."""
        self._model_names = tuple(model_names)

    def readiness(self) -> Readiness:
        """Readiness now."""
        return Readiness(self.is_ready(), {name: self.describe(name) for name in self._model_names}, self.stopping)

    def is_ready(self) -> bool:
        """Whether every configured model answers, and the server is not stopping."""
        return not self.stopping and all(self._manager.is_available(name) for name in self._model_names)

    def is_serving(self, service: str) -> bool | None:
        """Whether a service of the gRPC health protocol serves: all of the server, or one model by its name.

        Returns:
            None for a service that there is not.
        """
        if service in SERVICES:
            return self.is_ready()
        if service in self._model_names:
            return not self.stopping and self._manager.is_available(service)
        return None

    def describe(self, name: str) -> str:
        """How a model stands: "AVAILABLE", or why it does not answer, in words for the user."""
        if self._manager.is_available(name):
            return State.AVAILABLE.name
        statuses = self._manager.status(name)
        if not statuses or name in self._problems():
            return self._problems().get(name, "no version found yet")
        newest = statuses[0]
        detail = str(newest.error) if newest.error else newest.waiting_for
        text = f"version {newest.id.version} is {newest.state.name}"
        if newest.state is State.START and detail:
            return f"{text}, waiting: {detail}"
        return f"{text}: {detail}" if detail else text
