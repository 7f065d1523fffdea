"""What a server would find in a model's base path, for commands that tell it beforehand."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from hotserve.config.model_config import ModelConfig
from hotserve.core.source import AspiredVersion
from hotserve.platforms.registry import missing_parts
from hotserve.sources.folder import ModelFolder, WatchedModel
from hotserve.sources.local import LocalStorage


def found_versions(model: ModelConfig) -> list[AspiredVersion]:
    """The versions that a server would serve or wait for, ascending; what it would warn of is logged."""
    watched = WatchedModel(model.name, model.base_path, model.version_policy)
    # With a clock at the end of time nothing counts as still being copied.
    folder = ModelFolder(watched, LocalStorage(), missing_parts, clock=lambda: float("inf"))
    return folder.aspired() if folder.find() else []


@contextmanager
def warnings_handled_by(handler: logging.Handler) -> Iterator[None]:
    """Hands a handler what a server would log meanwhile."""
    logger = logging.getLogger("hotserve")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
