"""A source finds versions and tells a target which of them are aspired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hotserve.core.ids import ServableId


@dataclass(frozen=True, slots=True)
class AspiredVersion:
    """One version that should be served.

    Attributes:
        id: Which version.
        path: The folder that holds it.
        fingerprint: Changes when the folder's content does. A version that failed is tried again when its
            fingerprint changes; one that serves is left alone, as TensorFlow Serving leaves it.
        waiting_for: What the version still lacks, in words for the user; empty once it can be loaded.
    """

    id: ServableId
    path: Path
    fingerprint: str = ""
    waiting_for: str = ""


class AspiredTarget(Protocol):
    """Whoever acts on what a source finds; the manager."""

    def set_aspired(self, name: str, versions: Sequence[AspiredVersion]) -> None:
        """States the whole list of aspired versions of one model.

        A version left out is no longer aspired and will be unloaded. Saying nothing about a model changes
        nothing, so a source that cannot see a model's storage is silent about it. Idempotent; may be called
        from any thread.

        Args:
            name: The model.
            versions: All its aspired versions, in any order; those that cannot be loaded yet say why.
        """
        ...
