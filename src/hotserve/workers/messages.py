"""What the supervisor and its workers say to each other; see `channel.py` for how.

To a worker: `SetUp` first, then the rest in any order. What concerns one version comes in this order: `Load`, `Open`,
`Unload`, each answered by the report of the same event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hotserve.config.model_config import ModelConfig
from hotserve.config.options import ServerOptions
from hotserve.core.ids import ServableId
from hotserve.core.loader import Loader
from hotserve.core.states import VersionStatus
from hotserve.errors import ServingError
from hotserve.observability.merged_metrics import Snapshot

LoaderFactory = Callable[[ModelConfig], Loader]


@dataclass(frozen=True, slots=True)
class SetUp:
    """Asked: make all parts of a server, and listen to nobody yet. Answered with None.

    Attributes:
        number: Which worker this is, from 0.
        options: What the server is told.
        models: What it serves.
        loader: Makes the loader of a model, in place of the one that goes by a folder's content; importable by name.
        log_level: From which level on log lines are written.
    """

    number: int
    options: ServerOptions
    models: tuple[ModelConfig, ...]
    loader: LoaderFactory | None
    log_level: int


@dataclass(frozen=True, slots=True)
class Load:
    """Told: load a version and warm it up; nobody may find it yet."""

    id: ServableId
    path: Path
    model: ModelConfig


@dataclass(frozen=True, slots=True)
class Open:
    """Told: let requests find the version."""

    id: ServableId


@dataclass(frozen=True, slots=True)
class Unload:
    """Told: hide the version, wait for the requests to it, and give back what it holds; or do so once it has loaded."""

    id: ServableId


@dataclass(frozen=True, slots=True)
class HaveAnswered:
    """Told: requests have found these versions before this worker was there, so that their labels are in effect."""

    ids: tuple[ServableId, ...]


@dataclass(frozen=True, slots=True)
class Statuses:
    """Told: these versions have a new status."""

    statuses: tuple[VersionStatus, ...]


@dataclass(frozen=True, slots=True)
class Configured:
    """Told: the list of models, as it is now."""

    models: tuple[ModelConfig, ...]


@dataclass(frozen=True, slots=True)
class Sources:
    """Told: what the source knows.

    Attributes:
        model_names: The models that it has ever spoken of.
        problems: Model name -> why its storage cannot be used just now.
    """

    model_names: tuple[str, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Forget:
    """Told: drop the metrics of a version, or of a model where `version` is empty; see `Metrics.forget_version`."""

    model: str
    version: str
    model_path: str


@dataclass(frozen=True, slots=True)
class Listen:
    """Asked: let clients connect. Answered with None."""


@dataclass(frozen=True, slots=True)
class Confirm:
    """Asked: nothing. Answered with None once all that was told before is in effect."""


@dataclass(frozen=True, slots=True)
class ReadMetrics:
    """Asked, of a worker: its own metrics; of the supervisor: those of all. Answered with `Snapshots`."""


Snapshots = tuple[Snapshot, ...]


@dataclass(frozen=True, slots=True)
class Drain:
    """Asked: take no more connections, and answer what has come. Answered with None.

    Attributes:
        timeout_seconds: How long requests in flight may take.
    """

    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Finish:
    """Asked: write the request log; the end follows. Answered with None."""


@dataclass(frozen=True, slots=True)
class LoadEnded:
    """Reported by a worker.

    Attributes:
        id: The version.
        error: Why it could not be loaded; None if it was.
        warm_up_seconds: How long its warm-up took; None without one.
        run_seconds: How long a run of its slowest signature takes, where that was measured.
    """

    id: ServableId
    error: ServingError | None = None
    warm_up_seconds: float | None = None
    run_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """Reported by a worker: requests find the version."""

    id: ServableId


@dataclass(frozen=True, slots=True)
class Unloaded:
    """Reported by a worker: the version is gone, with an error if that did not go well."""

    id: ServableId
    error: ServingError | None = None


@dataclass(frozen=True, slots=True)
class ReloadConfig:
    """Asked of the supervisor: a `HandleReloadConfigRequest`. Answered with the serialized response.

    Attributes:
        message: The serialized request.
        timeout_seconds: What is left until the client's deadline; None without one.
    """

    message: bytes
    timeout_seconds: float | None
