"""What a server would find in a model's base path, for commands that tell it beforehand."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hotserve.config.model_config import ModelConfig
from hotserve.core.source import AspiredVersion
from hotserve.platforms.by_content import preferred_platform
from hotserve.platforms.registry import missing_parts
from hotserve.sources.folder import ModelFolder, WatchedModel
from hotserve.sources.local import LocalStorage


def found_versions(model: ModelConfig, preferred: str = "") -> list[AspiredVersion]:
    """The versions that a server would serve or wait for, ascending; what it would warn of is logged.

    Args:
        model: Where to look.
        preferred: The platform that is looked for first where a folder holds models of two kinds; empty for none.
    """

    def what_is_missing(path: Path, platform: str) -> str | None:
        return missing_parts(path, preferred_platform(platform, preferred))

    watched = WatchedModel(model.name, model.base_path, model.version_policy, model.platform)
    # With a clock at the end of time nothing counts as still being copied.
    folder = ModelFolder(watched, LocalStorage(), what_is_missing, clock=lambda: float("inf"))
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


class CollectedWarnings(logging.Handler):
    """Keeps what is logged meanwhile.

    Attributes:
        texts: The messages, in order.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
