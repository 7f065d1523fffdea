"""How SavedModels are loaded and run: the flags, or the platform config file in their place, as one message.

The message is TensorFlow Serving's own, `SessionBundleConfig`, which both are ways to write.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hotserve.config.options import ServerOptions
from hotserve.config.platform_config import log_without_effect, read_platform_config
from hotserve.config.text_proto import read_text_proto
from hotserve.errors import ConfigError
from hotserve.protos.messages import ConfigProto, RewriterConfig, SessionBundleConfig

logger = logging.getLogger(__name__)

BFLOAT16: Final = "bfloat16"
"""The one kind of mixed precision that there is."""

_REPLACED: Final = (
    "saved_model_tags",
    "tensorflow_session_config_file",
    "tensorflow_session_parallelism",
    "tensorflow_intra_op_parallelism",
    "tensorflow_inter_op_parallelism",
    "per_process_gpu_memory_fraction",
    "mixed_precision",
    "prefer_tflite_model",
    "num_tflite_pools",
    "num_tflite_interpreters_per_pool",
    "enable_model_warmup",
    "num_request_iterations_for_warmup",
)
"""The options that the platform config file takes the place of."""


def session_bundle_config(options: ServerOptions) -> SessionBundleConfig:
    """What the options, or their platform config file, say of SavedModels.

    Of the options, only those in `_REPLACED` are in the message.

    Raises:
        NotFound: A file that they name is not there.
        ConfigError: Such a file is wrong, or the options contradict each other.

    Source: Server::BuildAndStart in tensorflow_serving/model_servers/server.cc. Unlike there, numbers of threads in the
        session config file hold where no flag says otherwise.
    """
    if options.platform_config_file:
        return read_platform_config(Path(options.platform_config_file))
    bundle = SessionBundleConfig(
        session_config=_session_of_flags(options),
        saved_model_tags=[tag.strip() for tag in options.saved_model_tags.split(",") if tag.strip()],
        enable_model_warmup=options.enable_model_warmup,
        mixed_precision=options.mixed_precision,
        prefer_tflite_model=options.prefer_tflite_model,
        num_tflite_pools=options.num_tflite_pools,
        num_tflite_interpreters_per_pool=options.num_tflite_interpreters_per_pool,
    )
    if options.num_request_iterations_for_warmup > 0:
        bundle.model_warmup_options.num_request_iterations.value = options.num_request_iterations_for_warmup
    return bundle


def log_unused_config(options: ServerOptions) -> None:
    """Names in the log what of the platform config file has no effect, and the options that it takes the place of.

    Raises:
        NotFound, ConfigError: As `session_bundle_config`.
    """
    if not options.platform_config_file:
        return
    defaults = ServerOptions()
    unused = [f"--{name}" for name in _REPLACED if getattr(options, name) != getattr(defaults, name)]
    if unused:
        logger.warning("--platform_config_file takes the place of %s", ", ".join(unused))
    log_without_effect(Path(options.platform_config_file))


def _session_of_flags(options: ServerOptions) -> ConfigProto:
    config = ConfigProto()
    if options.tensorflow_session_config_file:
        config = read_text_proto(Path(options.tensorflow_session_config_file), ConfigProto)
    if options.per_process_gpu_memory_fraction > 0:
        config.gpu_options.per_process_gpu_memory_fraction = options.per_process_gpu_memory_fraction
    both = options.tensorflow_session_parallelism
    intra, inter = options.tensorflow_intra_op_parallelism, options.tensorflow_inter_op_parallelism
    if both > 0 and intra > 0 and inter > 0:
        raise ConfigError(
            "Either configure server_options.tensorflow_session_parallelism or"
            " (server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism)"
            f" separately. You cannot configure all. They are {both}, {intra} and {inter}; leave"
            " --tensorflow_session_parallelism out, or the other two."
        )
    if intra <= 0 and inter <= 0:
        intra = inter = both
    if intra > 0:
        config.intra_op_parallelism_threads = intra
    if inter > 0:
        config.inter_op_parallelism_threads = inter
    return config


def loader_options(bundle: SessionBundleConfig) -> Mapping[str, Mapping[str, Any]]:
    """What the loaders are told, as far as they have the same knobs.

    Args:
        bundle: As `session_bundle_config` makes it.

    Returns:
        Platform -> arguments of its loader's constructor.
    """
    config = ConfigProto()
    config.CopyFrom(bundle.session_config)
    if bundle.mixed_precision == BFLOAT16:
        rewrite_options = config.graph_options.rewrite_options
        rewrite_options.auto_mixed_precision_onednn_bfloat16 = RewriterConfig.ON
        logger.info("Running inference with bfloat16 auto mixed precision")
    elif bundle.mixed_precision:
        logger.warning("%s auto mixed precision is not supported. Valid option: %s", bundle.mixed_precision, BFLOAT16)
    # Without tags, as with the flag's default, it is the meta graph for serving.
    tags = {"tags": tuple(bundle.saved_model_tags)} if bundle.saved_model_tags else {}
    return {
        "tensorflow": {"config": config, **tags},
        "onnx": {
            "intra_op_threads": max(0, config.intra_op_parallelism_threads),
            "inter_op_threads": max(0, config.inter_op_parallelism_threads),
        },
        "litert": {"interpreters": bundle.num_tflite_pools, "threads": bundle.num_tflite_interpreters_per_pool},
    }


def warmup_iterations(bundle: SessionBundleConfig) -> int:
    """How often each recorded request of a warm-up file runs, at least 1."""
    return max(1, bundle.model_warmup_options.num_request_iterations.value)
