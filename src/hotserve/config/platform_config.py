"""The platform config file: a `PlatformConfigMap`, which says how SavedModels are loaded in place of the flags."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from google.protobuf.message import DecodeError

from hotserve.config.text_proto import read_text_proto
from hotserve.errors import ConfigError
from hotserve.protos.messages import (
    ModelWarmupOptions,
    PlatformConfigMap,
    SavedModelBundleSourceAdapterConfig,
    SessionBundleConfig,
)

logger = logging.getLogger(__name__)

_PLATFORM = "tensorflow"

_EXPECTED = (
    'Expected platform_configs { key: "tensorflow" value { source_adapter_config {'
    f" [type.googleapis.com/{SavedModelBundleSourceAdapterConfig.DESCRIPTOR.full_name}] {{ legacy_config {{ ... }} }}"
    " } } }."
)

BUNDLE_FIELDS_WITHOUT_EFFECT: Mapping[str, str] = MappingProxyType(
    {
        "session_target": "sessions run in this process",
        "num_tflite_interpreters": "num_tflite_pools has taken its place",
        "session_run_load_threadpool_index": "loads have threads of their own",
        "experimental_transient_ram_bytes_during_load": "no memory is reserved before a load",
        "in_graph_batching_parameters": "batch operations keep the parameters that are in their graph",
        "experimental_fixed_input_tensors": "every input comes from the request",
        "enable_session_metadata": "mlmd_map tells of every version that names its entry",
        "remove_unused_fields_from_bundle_metagraph": "of the meta graph, only the signatures are kept",
        "resource_estimation_uses_validation_result": "no memory is reserved before a load",
        "wrap_session_with_no_threading_params": "no run brings threads of its own",
        "enable_saved_model_config": "assets.extra/saved_model_config.pb of a version always counts",
    }
)
"""Field of `SessionBundleConfig` -> why it has no effect."""

WARMUP_FIELDS_WITHOUT_EFFECT: Mapping[str, str] = MappingProxyType(
    {
        "num_model_warmup_threads": "the recorded requests of a version run one after the other",
        "model_name": "each version warms up with its own file",
        "model_version": "each version warms up with its own file",
        "enable_all_batch_sizes_warmup": "recorded requests run as they were recorded",
    }
)
"""Field of `ModelWarmupOptions` -> why it has no effect."""


def read_platform_config(file: Path) -> SessionBundleConfig:
    """Reads what the file says of the platform tensorflow.

    Args:
        file: A text-proto `PlatformConfigMap`.

    Raises:
        NotFound: There is no such file.
        ConfigError: It cannot be read, does not parse, or says nothing of the platform.

    Source: platform_config.proto in tensorflow_serving/config, saved_model_bundle_source_adapter.proto and
        session_bundle_config.proto in tensorflow_serving/servables/tensorflow.
    """
    platforms = read_text_proto(file, PlatformConfigMap).platform_configs
    if _PLATFORM not in platforms:
        raise ConfigError(f"{file}: there is nothing about the platform {_PLATFORM}. {_EXPECTED}")
    packed = platforms[_PLATFORM].source_adapter_config
    adapter = SavedModelBundleSourceAdapterConfig()
    try:
        fits = packed.Unpack(adapter)
    except DecodeError as error:
        raise ConfigError(f"{file}: the source_adapter_config of {_PLATFORM} is damaged: {error}.") from error
    if not fits:
        came = packed.type_url or "nothing"
        raise ConfigError(f"{file}: the source_adapter_config of {_PLATFORM} is of the type {came}. {_EXPECTED}")
    return adapter.legacy_config


def log_without_effect(file: Path) -> None:
    """Names in the log what of a file has no effect.

    Args:
        file: As for `read_platform_config`.

    Raises:
        NotFound, ConfigError: As `read_platform_config`.
    """
    for name in sorted(read_text_proto(file, PlatformConfigMap).platform_configs):
        if name != _PLATFORM:
            logger.warning("%s: platform_configs of %s have no effect here; those of %s do", file, name, _PLATFORM)
    bundle = read_platform_config(file)
    _log_fields(file, bundle, BUNDLE_FIELDS_WITHOUT_EFFECT)
    _log_fields(file, bundle.model_warmup_options, WARMUP_FIELDS_WITHOUT_EFFECT)


def _log_fields(file: Path, message: SessionBundleConfig | ModelWarmupOptions, reasons: Mapping[str, str]) -> None:
    for field, _ in message.ListFields():
        if field.name in reasons:
            logger.warning("%s: %s has no effect here: %s", file, field.name, reasons[field.name])
