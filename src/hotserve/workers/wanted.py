"""What every worker should hold and know, said once: a worker that is started late, or again, is told the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hotserve.config.model_config import ModelConfig
from hotserve.core.ids import ServableId
from hotserve.core.states import VersionStatus
from hotserve.errors import Internal, ServingError
from hotserve.workers.messages import Configured, HaveAnswered, LoadEnded, Sources, Statuses

MAX_DEATHS_IN_LOAD = 2
"""A version during whose load as many workers have ended is taken for the cause."""


@dataclass(frozen=True, slots=True)
class LoadFacts:
    """What is known of a load that went well, of the slowest worker each; None where it was not measured.

    Attributes:
        warm_up_seconds: How long the warm-up took.
        run_seconds: How long a run of the slowest signature takes.
    """

    warm_up_seconds: float | None = None
    run_seconds: float | None = None

    def with_those_of(self, end: LoadEnded) -> LoadFacts:
        """These and those of one more worker."""
        return LoadFacts(_larger(self.warm_up_seconds, end.warm_up_seconds), _larger(self.run_seconds, end.run_seconds))


@dataclass(slots=True)
class WantedVersion:
    """A version that the workers should hold.

    Attributes:
        open: Whether requests may find it.
        error: Why some worker cannot load it, while it is not open.
        deaths: How many workers have ended while they loaded it.
        facts: What is known of its loads.
    """

    id: ServableId
    path: Path
    model: ModelConfig
    open: bool = False
    error: ServingError | None = None
    deaths: int = 0
    facts: LoadFacts = field(default_factory=LoadFacts)

    def blame(self, number: int, how: str) -> None:
        """Takes into account that a worker has ended while it loaded this."""
        self.deaths += 1
        if self.deaths >= MAX_DEATHS_IN_LOAD:
            self.error = Internal(
                f"Worker {number} {how} while it loaded the version, as another had before. A model can end its process"
                " by an operation that fails there, or by taking all memory."
            )


@dataclass(slots=True)
class Wanted:
    """All of it; `Roster.changed` guards it.

    Attributes:
        versions: What the workers should hold.
        statuses: The last status of each version.
        have_answered: The versions that requests have found, in order: their labels are in effect.
        models: The list of models.
        sources: What the source knows.
    """

    versions: dict[ServableId, WantedVersion] = field(default_factory=dict)
    statuses: dict[ServableId, VersionStatus] = field(default_factory=dict)
    have_answered: dict[ServableId, None] = field(default_factory=dict)
    models: tuple[ModelConfig, ...] = ()
    sources: Sources = field(default_factory=Sources)

    def said_so_far(self) -> Iterator[object]:
        """What a new worker is told, but for the versions."""
        yield Statuses(tuple(self.statuses.values()))
        yield HaveAnswered(tuple(self.have_answered))
        yield self.sources
        yield Configured(self.models)

    def in_order(self) -> list[WantedVersion]:
        """The versions as a new worker should load them: first what the others answer with."""
        return sorted(self.versions.values(), key=lambda version: not version.open)


def _larger(one: float | None, other: float | None) -> float | None:
    known = [seconds for seconds in (one, other) if seconds is not None]
    return max(known, default=None)
