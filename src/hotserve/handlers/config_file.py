"""The model config file, read again and again: what it says is served once it says something new."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hotserve.config.model_config import ModelConfig
from hotserve.errors import ServingError
from hotserve.handlers.reload_config import ConfigReloader

logger = logging.getLogger(__name__)


class ConfigFile:
    """Applies a file when its meaning changes. Used from one thread.

    TensorFlow Serving applies the file at every look, so that the list of a HandleReloadConfigRequest lives until the
    next one; here it lives until somebody edits the file.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[Path], Sequence[ModelConfig]],
        applied: Sequence[ModelConfig],
        reloader: ConfigReloader[Any],
    ) -> None:
        """Makes a reader.

        Args:
            path: The file.
            read: Reads it; raises a `ServingError` if it is wrong.
            applied: What it said at the start.
            reloader: Applies what it says.
        """
        self._path = path
        self._read = read
        self._applied = tuple(applied)
        self._reloader = reloader
        self._problem = ""

    def look(self) -> None:
        """Reads the file once; what is wrong with it is logged when it is new, and the old list stays."""
        try:
            models = tuple(self._read(self._path))
        except ServingError as error:
            self._report(f"Failed to read ModelServerConfig file: {error}")
            return
        if models == self._applied:
            self._problem = ""
            return
        try:
            self._reloader.apply(models)
        except ServingError as error:
            # Tried again at the next look: a label may wait for its version.
            self._report(f"PollFilesystemAndReloadConfig failed to ReloadConfig: {error}")
            return
        self._applied = models
        self._problem = ""

    def _report(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            logger.error("%s. The models go on as they are.", problem.rstrip("."))
