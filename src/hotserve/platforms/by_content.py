"""The loader of a model: picks the platform by what the version folder holds, loads, and warms up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hotserve.background import give_way
from hotserve.core.servable import Servable, settle
from hotserve.errors import ConfigError, InvalidArgument, NotFound
from hotserve.platforms.registry import PLATFORMS, PlatformEntry, loader_for, missing_parts, named, recognise
from hotserve.platforms.warmup import warm_up_with_made_up_inputs

logger = logging.getLogger(__name__)

WarmUp = Callable[[Servable, Path], None]
"""Warms up what was loaded from a version folder."""

LoaderOptions = Callable[[str], Mapping[str, Any]]
"""Platform -> arguments of its loader's constructor, where they are not the usual ones."""

ANY_PLATFORM = ("", "tensorflow")
"""Configured platforms that bind to nothing: TensorFlow Serving knows `tensorflow` only, so that its config files say
so about every model; the folder tells what it really is."""

_RESERVED = "__saved_model_"
"""Begins the names of what stands among the signatures of a SavedModel and is for TensorFlow itself. Source:
tensorflow/cc/saved_model/constants.h."""


def check_platform(model_name: str, platform: str) -> None:
    """Refuses a configured platform that there is not.

    Raises:
        ConfigError: As said.
    """
    if platform and named(platform) is None:
        names = [entry.name for entry in PLATFORMS]
        raise ConfigError(
            f"Model {model_name} requests unsupported platform {platform}. Platforms: {', '.join(names)}. Without"
            " model_platform, the content of the version folder tells."
        )


def binds(platform: str, entry: PlatformEntry) -> bool:
    """Whether a configured platform rules out a folder that is of the platform `entry`."""
    return platform not in ANY_PLATFORM and named(platform) != entry


def preferred_platform(platform: str, in_general: str = "") -> str:
    """The platform that is looked for first in the folders of a model.

    Args:
        platform: The model's configured platform.
        in_general: What is preferred for models whose configuration binds to nothing; empty for nothing.
    """
    return in_general if platform in ANY_PLATFORM else platform


class ByContentLoader:
    """Loads a version of whatever platform it is."""

    def __init__(
        self,
        platform: str = "",
        warm_up: WarmUp = warm_up_with_made_up_inputs,
        loader_options: LoaderOptions = lambda platform: {},
        preferred: str = "",
    ) -> None:
        """Makes a loader.

        Args:
            platform: The configured platform, which the folder's content must be of, unless it is in `ANY_PLATFORM`.
            warm_up: What is done with a version between its load and its first request; if it fails, so does the load.
            loader_options: What the loader of a platform is told; asked when a version loads.
            preferred: The platform that is looked for first where a folder holds models of two kinds and `platform`
                binds to nothing; empty for none.
        """
        self._loader_options = loader_options
        self._platform = platform
        self._warm_up = warm_up
        self._preferred = preferred_platform(platform, preferred)

    def load(self, path: Path) -> Servable:
        """See `Loader.load`; the servable has been warmed up when it is returned."""
        entry = recognise(path, self._preferred)
        if entry is None:
            raise NotFound(missing_parts(path, self._preferred) or f"No model was recognised in {path}.")
        if binds(self._platform, entry):
            raise InvalidArgument(
                f"{path} holds a model of platform {entry.name}, but model_platform says {self._platform}."
                f' Set model_platform: "{entry.name}", or leave it out.'
            )
        servable = loader_for(entry.name, **self._loader_options(entry.name)).load(path)
        give_way()  # Not before: an engine's threads are as urgent as the thread that has it start them.
        try:
            self._warm_up(servable, path)
            settle(servable)
        except BaseException:
            servable.unload()
            raise
        if all(name.startswith(_RESERVED) for name in servable.signatures):
            logger.warning(
                "%s has no signature that a client could call. TensorFlow writes them with"
                " tf.saved_model.save(..., signatures=...), and Keras with model.export.",
                path,
            )
        return servable
