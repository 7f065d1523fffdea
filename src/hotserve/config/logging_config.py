"""The `logging_config` of a model: whether and how its requests are logged.

TensorFlow Serving's own binary refuses it, for want of a log collector; the messages and their meaning are its own.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from hotserve.errors import ConfigError, NotFound
from hotserve.observability.log_collector import COLLECTOR_TYPES
from hotserve.observability.request_log import RequestLogConfig
from hotserve.protos.messages import LoggingConfig, SamplingConfig

logger = logging.getLogger(__name__)


def request_log_config(model: str, config: LoggingConfig, relative_to: Path) -> RequestLogConfig:
    """Checks a model's logging config and reads it into a value.

    Args:
        model: The model, for errors.
        config: Its `logging_config`.
        relative_to: The folder that a relative `filename_prefix` is meant from.

    Raises:
        NotFound: There is no log collector of that type.
        ConfigError: A field is missing or out of range, or files of that prefix cannot be made.

    Source: tensorflow_serving/config/logging_config.proto, log_collector_config.proto and
        tensorflow_serving/core/server_request_logger.cc; the words for an unknown type are those of
        tensorflow_serving/core/log_collector.cc.
    """
    collector = config.log_collector_config
    types = " or ".join(f'"{name}"' for name in COLLECTOR_TYPES)
    if config.HasField("custom_logging_config"):
        raise ConfigError(
            f"Model {model}: custom_logging_config is not supported. Expected log_collector_config with type {types}."
        )
    if collector.type not in COLLECTOR_TYPES:
        raise NotFound(
            f"Cannot find LogCollector::Factory for type: {collector.type}. Expected {types} in the"
            f" log_collector_config of model {model}."
        )
    rate = _sampling_rate(config.sampling_config)
    if not 0 <= rate <= 1:
        raise ConfigError(f"Model {model}: sampling_rate is {rate:g}. Expected a share of requests, from 0 to 1.")
    if rate == 0:
        logger.warning(
            "Model %s: logging_config has no sampling_rate above 0, so that no request is logged; for all of them, set"
            " sampling_config { sampling_rate: 1 }",
            model,
        )
    return RequestLogConfig(collector.type, _prefix(model, collector.filename_prefix, relative_to), rate)


def _sampling_rate(config: SamplingConfig) -> float:
    # This server is of no data center and has no task number: an entry that asks for either is for others. Of the rest
    # the first counts.
    for entry in config.per_task_sampling_configs:
        if not entry.dc and not entry.HasField("task_index"):
            return entry.sampling_rate
    return config.sampling_rate


def _prefix(model: str, text: str, relative_to: Path) -> Path:
    prefix = relative_to / text
    if not text or text.endswith("/"):
        raise ConfigError(
            f'Model {model}: filename_prefix is "{text}". Expected a folder and how the names of the files begin, such'
            " as /var/log/hotserve/requests."
        )
    folder = prefix.parent
    if not folder.is_dir():
        raise ConfigError(f"Model {model}: requests cannot be logged at {prefix}*: there is no folder {folder}.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(
            f"Model {model}: requests cannot be logged at {prefix}*: this process may not write to {folder}."
        )
    return prefix
