"""What a new list of models changes: a pure comparison of two of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hotserve.config.model_config import ModelConfig, check_model_names, model_configs_from_proto
from hotserve.config.text_proto import read_text_proto
from hotserve.core.version_policy import policy_text
from hotserve.errors import ConfigError, FailedPrecondition
from hotserve.observability.request_log import RequestLogConfig
from hotserve.platforms.by_content import ANY_PLATFORM
from hotserve.protos import messages


@dataclass(frozen=True, slots=True)
class ModelChange:
    """A model that is in both lists, and not the same in both.

    Attributes:
        old: As it is.
        new: As it shall be.
    """

    old: ModelConfig
    new: ModelConfig

    def describe(self) -> tuple[str, ...]:
        """What is different, one text each, in words for the user."""
        old, new = self.old, self.new
        pairs = (
            ("base_path", old.base_path, new.base_path),
            ("model_platform", old.platform or "any", new.platform or "any"),
            ("model_version_policy", policy_text(old.version_policy), policy_text(new.version_policy)),
            ("logging_config", _log_text(old.request_log), _log_text(new.request_log)),
            ("engine", old.engine or "of --engine", new.engine or "of --engine"),
        )
        texts = [f"{field}: {before} -> {after}" for field, before, after in pairs if before != after]
        for label in sorted(old.version_labels.keys() | new.version_labels.keys()):
            before, after = old.version_labels.get(label, "none"), new.version_labels.get(label, "none")
            if before != after:
                texts.append(f"version_labels {label}: {before} -> {after}")
        return tuple(texts)


def _log_text(log: RequestLogConfig | None) -> str:
    return "none" if log is None else f"{log.sampling_rate:g} of the requests to {log.prefix} ({log.type})"


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """What it takes to come from one list of models to another.

    Attributes:
        added: Models of the new list only.
        removed: Names of models of the old list only.
        changed: Models of both lists that are not the same in both.
        unchanged: Names of models that are the same in both.
    """

    added: tuple[ModelConfig, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[ModelChange, ...] = ()
    unchanged: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the two lists say the same."""
        return not (self.added or self.removed or self.changed)

    def __str__(self) -> str:
        """One line for the log."""
        parts = (
            ("added", [model.name for model in self.added]),
            ("removed", list(self.removed)),
            ("changed", [f"{change.new.name} ({'; '.join(change.describe())})" for change in self.changed]),
        )
        texts = [f"{what} {', '.join(names)}" for what, names in parts if names]
        return "; ".join([*texts, f"{len(self.unchanged)} unchanged"])


def plan_reload(old: Sequence[ModelConfig], new: Sequence[ModelConfig]) -> ConfigChange:
    """Compares two lists of models.

    Args:
        old: What is served.
        new: What shall be served; it replaces the old list as a whole.

    Raises:
        ConfigError: A name is empty or listed twice, or the platform of a model that is kept would change.

    Source: ServerCore::ValidateModelConfigList and ValidateNoModelsChangePlatforms in
        tensorflow_serving/model_servers/server_core.cc.
    """
    check_model_names(model.name for model in new)
    before = {model.name: model for model in old}
    after = {model.name for model in new}
    kept = [ModelChange(before[model.name], model) for model in new if model.name in before]
    for change in kept:
        _check_platform_is_kept(change)
    return ConfigChange(
        added=tuple(model for model in new if model.name not in before),
        removed=tuple(model.name for model in old if model.name not in after),
        changed=tuple(change for change in kept if change.old != change.new),
        unchanged=tuple(change.new.name for change in kept if change.old == change.new),
    )


def read_reloaded_config(path: Path) -> tuple[ModelConfig, ...]:
    """Reads a model config file that replaces a list of models.

    Args:
        path: The file. Relative base paths are meant from its folder.

    Raises:
        NotFound: There is no such file.
        ConfigError: The file is wrong.
        FailedPrecondition: It has no `model_config_list`: to unload all models, an empty one has to be written down.

    Source: ServerCore::ReloadConfig in tensorflow_serving/model_servers/server_core.cc.
    """
    config = read_text_proto(path, messages.ModelServerConfig)
    if config.WhichOneof("config") != "model_config_list":
        raise FailedPrecondition(
            "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to"
            f" another. {path} has no model_config_list; to serve no model, write: model_config_list {{}}"
        )
    try:
        return model_configs_from_proto(config, path.absolute().parent)
    except ConfigError as error:
        raise ConfigError(f"{error.message} (in {path})") from error


def _check_platform_is_kept(change: ModelChange) -> None:
    old, new = change.old.platform, change.new.platform
    if old == new or (old in ANY_PLATFORM and new in ANY_PLATFORM):
        return
    raise ConfigError(
        f"Illegal to change a model's platform. For model {change.new.name} platform was {old or 'any'} and new"
        f" platform requested is {new or 'any'}. List it under another name, or leave it out of one reload and list it"
        " again in the next."
    )
