"""The model config file: which models are served, from where, and which of their versions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hotserve.config.logging_config import request_log_config
from hotserve.config.text_proto import read_text_proto
from hotserve.core.version_policy import All, Latest, Specific, VersionPolicy
from hotserve.errors import ConfigError
from hotserve.observability.request_log import RequestLogConfig
from hotserve.platforms.engines.engine import CHOICES
from hotserve.protos import messages

_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<path>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model to serve.

    Attributes:
        name: What clients call it.
        base_path: The folder with a folder for each version, absolute.
        platform: The platform to load it with; empty where the content of a version folder tells.
        version_policy: Which of the versions found are served.
        version_labels: Label -> version number, for requests that name a label.
        request_log: How its requests are logged; None if they are not.
        engine: What runs its versions, where they are SavedModels; empty for what the server's options say.
    """

    name: str
    base_path: Path
    platform: str = ""
    version_policy: VersionPolicy = field(default_factory=Latest)
    version_labels: Mapping[str, int] = field(default_factory=dict)
    request_log: RequestLogConfig | None = None
    engine: str = ""


def read_model_config(path: Path) -> tuple[ModelConfig, ...]:
    """Reads a model config file, a `ModelServerConfig` in protobuf's text format.

    Args:
        path: The file. Relative base paths are meant from its folder.

    Returns:
        The models in the order of the file; none for a file without a `model_config_list`.

    Raises:
        NotFound: There is no such file, or no log collector of a type that it names.
        ConfigError: The file is wrong; the message names it, and the line and column or the model.
    """
    config = read_text_proto(path, messages.ModelServerConfig)
    try:
        return model_configs_from_proto(config, path.absolute().parent)
    except ConfigError as error:
        raise ConfigError(f"{error.message} (in {path})") from error


def model_configs_from_proto(config: messages.ModelServerConfig, relative_to: Path) -> tuple[ModelConfig, ...]:
    """Checks a config and reads it into values.

    The original demands absolute base paths and a platform; here a base path may be relative, and a model without a
    platform is recognized by its content.

    Args:
        config: From a file, or from a HandleReloadConfigRequest.
        relative_to: The folder that relative base paths are meant from.

    Returns:
        The models, in order; none where the config is unset.

    Raises:
        ConfigError: A name is missing or listed twice, a base path is missing or no local one, `model_type` is set
            beside `model_platform` or is not TENSORFLOW, there is no such engine, the config is a custom one, or
            requests cannot be logged as a `logging_config` says.
        NotFound: There is no log collector of the type that a `logging_config` names.

    Source: ServerCore::ValidateModelConfigList and related functions in
        tensorflow_serving/model_servers/server_core.cc.
    """
    if config.WhichOneof("config") == "custom_model_config":
        raise ConfigError("ModelServer does not yet support custom model config. Expected a model_config_list.")
    models = config.model_config_list.config
    check_model_names(model.name for model in models)
    return tuple(_model_config(model, relative_to) for model in models)


def check_model_names(names: Iterable[str]) -> None:
    """Refuses a list of models with an empty name, or with one name twice.

    Raises:
        ConfigError: As said.
    """
    seen: set[str] = set()
    for position, name in enumerate(names, 1):
        if not name:
            raise ConfigError(
                f"Illegal to list a model without a name in config list: entry {position}. Set its name, which is what "
                "clients call it."
            )
        if name in seen:
            raise ConfigError(
                f"Illegal to list model {name} multiple times in config list. Expected each name once; for several "
                "versions of a model, set its model_version_policy."
            )
        seen.add(name)


def _model_config(model: messages.ModelConfig, relative_to: Path) -> ModelConfig:
    base_path = relative_to / local_path(model.name, model.base_path)
    return ModelConfig(
        name=model.name,
        base_path=base_path,
        platform=_platform(model),
        version_policy=_version_policy(model.model_version_policy),
        version_labels=dict(model.version_labels),
        request_log=_request_log(model, relative_to),
        engine=_engine(model),
    )


def _engine(model: messages.ModelConfig) -> str:
    if model.engine and model.engine not in CHOICES:
        raise ConfigError(
            f"Model {model.name} requests the engine {model.engine}. Expected {', '.join(CHOICES[:-1])} or"
            f" {CHOICES[-1]}."
        )
    return model.engine


def _request_log(model: messages.ModelConfig, relative_to: Path) -> RequestLogConfig | None:
    if not model.HasField("logging_config"):
        return None
    return request_log_config(model.name, model.logging_config, relative_to)


def local_path(name: str, base_path: str) -> Path:
    """Where a base path is on this machine.

    Args:
        name: The model, for the errors.
        base_path: A path, relative or absolute, or a URI.

    Raises:
        ConfigError: It is empty, or a URI of another kind than `file://`.
    """
    if not base_path:
        raise ConfigError(
            f"Expected model {name} to have an absolute path or URI; got base_path()=. Set base_path to the folder "
            "that holds the version folders; a relative one is meant from the folder of the config file."
        )
    uri = _URI.fullmatch(base_path)
    if uri is None:
        return Path(base_path)
    if uri["scheme"].lower() != "file":
        raise ConfigError(
            f"Expected model {name} to have a local base_path; got base_path()={base_path}. Storage of the kind "
            f"{uri['scheme']}:// cannot be read yet: copy or mount the model to a folder of this machine."
        )
    return Path(uri["path"])


def _platform(model: messages.ModelConfig) -> str:
    if model.model_type == messages.ModelType.Value("MODEL_TYPE_UNSPECIFIED"):
        return model.model_platform
    if model.model_platform:
        raise ConfigError(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform, "
            f"model name is {model.name}. Remove model_type."
        )
    if model.model_type != messages.ModelType.Value("TENSORFLOW"):
        raise ConfigError(
            f"ModelServerConfig::model_type choice {model.model_type} not supported. Expected TENSORFLOW, or better "
            f"model_platform in its place, for model {model.name}."
        )
    return "tensorflow"


def _version_policy(
    policy: messages.FileSystemStoragePathSourceConfig.ServableVersionPolicy,
) -> VersionPolicy:
    match policy.WhichOneof("policy_choice"):
        case "all":
            return All()
        case "specific":
            return Specific(tuple(policy.specific.versions))
        case _:
            return Latest(max(1, policy.latest.num_versions))
