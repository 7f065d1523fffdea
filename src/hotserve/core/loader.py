"""A loader: turns one version folder into a servable."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from hotserve.core.servable import Servable


class Loader(Protocol):
    """Knows one platform's format. Knows nothing of versions, requests or HTTP."""

    def load(self, path: Path) -> Servable:
        """Loads the version in `path`; blocks, on a load thread.

        Called from several threads at once, for different folders.

        Args:
            path: The version folder, complete.

        Raises:
            ServingError: The folder cannot be loaded; the message says why and what to do.
        """
        ...
