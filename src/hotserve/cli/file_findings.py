"""What the doctor says of the config files that a TensorFlow Serving command line names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.message import Message

from hotserve.cli.findings import Finding, Grade
from hotserve.cli.flag_findings import with_effect
from hotserve.cli.found_versions import CollectedWarnings, warnings_handled_by
from hotserve.cli.invocation import Invocation
from hotserve.cli.model_findings import not_here
from hotserve.config.batching_config import read_batching_options
from hotserve.config.compatibility import FlagState, flag_compatibility
from hotserve.config.monitoring_config import metrics_path
from hotserve.config.options import ServerOptions
from hotserve.config.original_command_line import OriginalCommandLine
from hotserve.config.session_config import log_unused_config
from hotserve.config.text_proto import read_text_proto
from hotserve.config.tls_config import read_tls_config
from hotserve.errors import ServingError
from hotserve.protos import messages

FILES_SECTION: Final = "Config files"

_FILES: Final[Mapping[str, type[Message]]] = MappingProxyType(
    {
        "monitoring_config_file": messages.MonitoringConfig,
        "ssl_config_file": messages.SSLConfig,
        "batching_parameters_file": messages.BatchingParameters,
        "platform_config_file": messages.PlatformConfigMap,
        "tensorflow_session_config_file": messages.ConfigProto,
        "thread_pool_factory_config_file": messages.ThreadPoolFactoryConfig,
    }
)
"""The flags that name a file beside the model config, and what is in it."""


def file_findings(line: OriginalCommandLine, invocation: Invocation) -> Iterator[Finding]:
    """Whether each config file can be read, and what of it has an effect here; that of the models apart.

    Args:
        line: What TensorFlow Serving would take the words for.
        invocation: Tells where the paths of containers are on this machine.
    """
    for name, message_class in _FILES.items():
        text = str(line.value(name) or "")
        if not text:
            continue
        path = invocation.local(text)
        if path is None:
            yield not_here(FILES_SECTION, text)
            continue
        warnings = CollectedWarnings()
        try:
            with warnings_handled_by(warnings):
                _read_file(name, path, message_class, line)
        except ServingError as error:
            yield Finding(FILES_SECTION, Grade.ATTENTION, text, error.message)
        else:
            known = flag_compatibility(name)
            if known.state is FlagState.WITHOUT_EFFECT:
                yield Finding(FILES_SECTION, Grade.NOTE, text, f"can be read; what it says has no effect: {known.text}")
            else:
                yield Finding(FILES_SECTION, Grade.OK, text)
            for warning in warnings.texts:
                yield Finding(FILES_SECTION, Grade.NOTE, text, warning.removeprefix(f"{path}: "))


def _read_file(name: str, path: Path, message_class: type[Message], line: OriginalCommandLine) -> None:
    """Reads a file as the server would, which logs what has no effect.

    Raises:
        ServingError: What is wrong with it.
    """
    if name == "ssl_config_file":
        read_tls_config(path, name)
    elif name == "monitoring_config_file":
        metrics_path(str(path))
    elif name == "batching_parameters_file":
        read_batching_options(path)
    elif name == "platform_config_file":
        values: dict[str, Any] = {**with_effect(line), name: str(path)}
        log_unused_config(ServerOptions(**values))
    else:
        read_text_proto(path, message_class)
