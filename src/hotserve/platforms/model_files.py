"""What a platform knows of its files before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class ModelFiles(Protocol):
    """Tells one platform's version folders, and whole ones from those still being copied. Imports no framework."""

    @property
    def description(self) -> str:
        """What such a folder holds, for users, e.g. ``a SavedModel (`saved_model.pb`)``."""
        ...

    def recognise(self, path: Path) -> bool:
        """Whether the folder holds, or begins to hold, a model of this platform.

        Raises:
            OSError: The folder cannot be read.
        """
        ...

    def missing_parts(self, path: Path) -> str | None:
        """What a folder of this platform lacks, in words for the user; None when it is complete.

        Only what may still arrive counts as missing. What is there and wrong is for the loader to refuse.
        """
        ...
