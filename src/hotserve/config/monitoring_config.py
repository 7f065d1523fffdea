"""The monitoring file: where the page with the metrics is, and whether there is one."""

from __future__ import annotations

from pathlib import Path

from hotserve.config.text_proto import read_text_proto
from hotserve.errors import ConfigError
from hotserve.observability import prometheus
from hotserve.protos import messages


def metrics_path(monitoring_config_file: str) -> str:
    """The path of the page with the metrics; empty where there is none.

    Args:
        monitoring_config_file: The path of a text-proto `MonitoringConfig`; empty without one: then the page is at
            its usual path, unlike the original's, which has it only where a file asks for it.

    Raises:
        NotFound: There is no such file.
        ConfigError: It cannot be read or does not parse, or its path is none that a request could have.

    Source: monitoring_config.proto, and http_server.cc in tensorflow_serving/model_servers.
    """
    if not monitoring_config_file:
        return prometheus.DEFAULT_PATH
    config = read_text_proto(Path(monitoring_config_file), messages.MonitoringConfig).prometheus_config
    if not config.enable:
        return ""
    path = config.path or prometheus.DEFAULT_PATH
    if not path.startswith("/") or "?" in path:
        raise ConfigError(
            f"{monitoring_config_file}: prometheus_config has the path {path!r}. Expected one that begins with a slash"
            f" and has no question mark, such as {prometheus.DEFAULT_PATH}."
        )
    return path
