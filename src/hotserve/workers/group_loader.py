"""The loader that the supervisor's manager has: it loads nothing itself, and has all workers load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hotserve.config.model_config import ModelConfig
from hotserve.core.ids import ServableId
from hotserve.core.servable import Servable
from hotserve.errors import Unimplemented
from hotserve.tensors import Array, Signature
from hotserve.workers.group import WorkerGroup
from hotserve.workers.wanted import LoadFacts


class GroupServable:
    """A version that all workers hold. It answers no requests: those come to the workers."""

    runtime = "workers"

    def __init__(self, group: WorkerGroup, id: ServableId) -> None:
        self._group = group
        self._id = id

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """None: only the workers know them."""
        return {}

    def run(self, signature_name: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Refuses.

        Raises:
            Unimplemented: Always.
        """
        raise Unimplemented(
            f"{self._id} is held by workers, not by this process. Send requests to the server's ports, or serve with"
            " --workers=1."
        )

    def unload(self) -> None:
        """Has all workers unload it."""
        self._group.unload(self._id)


@dataclass(frozen=True, slots=True)
class GroupLoader:
    """Loads one version in all workers.

    Attributes:
        group: The workers.
        id: The version.
        model: The model, as it is configured.
        note: Told what is known of a load that went well: the version, its folder, and the rest.
    """

    group: WorkerGroup
    id: ServableId
    model: ModelConfig
    note: Callable[[ServableId, Path, LoadFacts], None]

    def load(self, path: Path) -> Servable:
        """See `Loader.load`; when it returns, requests to any worker find the version."""
        facts = self.group.load(self.id, path, self.model)
        self.note(self.id, path, facts)
        return GroupServable(self.group, self.id)
