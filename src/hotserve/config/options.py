"""Every option of the server, in one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

from hotserve.errors import ConfigError

_MAX_INT32 = 2**31 - 1
_MAX_SECONDS = _MAX_INT32  # 68 years: below what timers and condition variables take


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What a server is told; one field per flag, under TensorFlow Serving's name where it has one.

    Attributes:
        port: The TCP port for gRPC; 0 for none.
        rest_api_port: The TCP port for REST; 0 for none.
        host: The address to listen on; empty for all, IPv4 and IPv6.
        model_name: The name of the one model, without a config file.
        model_base_path: Its folder of version folders.
        model_config_file: A text-proto `ModelServerConfig`; then name and base path above are not looked at.
        file_system_poll_wait_seconds: The pause between two looks at the base paths; 0 for one look only, negative
            for none.
        allow_version_labels_for_unavailable_models: Version labels take effect before their version is AVAILABLE.
        rest_api_timeout_in_ms: How long an inference over REST may take, in milliseconds; 0 for as long as it takes.
        max_message_bytes: The largest request, in bytes, over either API, also after decompression.
        drain_timeout_seconds: How long requests in flight may take to finish when the server stops, in seconds.
        num_load_threads: How many models load at the same time; 0 chooses.
    """

    port: int = 8500
    rest_api_port: int = 8501
    host: str = ""
    model_name: str = "default"
    model_base_path: str = ""
    model_config_file: str = ""
    file_system_poll_wait_seconds: float = 1.0
    allow_version_labels_for_unavailable_models: bool = False
    rest_api_timeout_in_ms: int = 30_000
    max_message_bytes: int = 2**31 - 1
    drain_timeout_seconds: float = 30.0
    num_load_threads: int = 0

    def __post_init__(self) -> None:
        """Refuses values that nothing could be done with.

        Raises:
            ConfigError: As said.
        """
        if self.max_message_bytes < 1:
            raise ConfigError(f"--max_message_bytes={self.max_message_bytes}: expected a number of bytes from 1 on.")
        if not 0 <= self.drain_timeout_seconds <= _MAX_SECONDS:
            raise ConfigError(
                f"--drain_timeout_seconds={self.drain_timeout_seconds:g}: expected seconds from 0 to {_MAX_SECONDS}."
            )
        if not -_MAX_SECONDS <= self.file_system_poll_wait_seconds <= _MAX_SECONDS:
            raise ConfigError(
                f"--file_system_poll_wait_seconds={self.file_system_poll_wait_seconds:g}: expected seconds up to"
                f" {_MAX_SECONDS}."
            )
        if not -_MAX_INT32 <= self.rest_api_timeout_in_ms <= _MAX_INT32:
            raise ConfigError(
                f"--rest_api_timeout_in_ms={self.rest_api_timeout_in_ms}: expected milliseconds up to {_MAX_INT32}."
            )
