"""What becomes here of each flag of TensorFlow Serving's `tensorflow_model_server`: one table, for everyone who asks.

Whether a flag has an effect is not said here: `hotserve.config.flags` knows, and is asked. What is said here is what
the original's flags are, and in what they differ where they work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from hotserve.config.flags import FLAGS, REFUSED, WITHOUT_EFFECT, FlagValue
from hotserve.config.options import ServerOptions


class FlagState(Enum):
    """What a flag of the original's comes to."""

    WORKS = "works"
    BETTER = "works better"
    WITHOUT_EFFECT = "no effect"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class OriginalFlag:
    """A flag of the original's.

    Attributes:
        name: Its name, without the dashes.
        kind: What its value is there.
        default: Its default there; None where it depends on the machine.
        note: In what it differs here where it works, in words for the user, without the last full stop.
        better: Whether what `note` says is more than the original does.
        always: Whether what it asks for is always so here, although the flag itself changes nothing.
        tuning: Whether it is about speed and memory only: a client would not see that it is without effect.
    """

    name: str
    kind: type[bool] | type[int] | type[float] | type[str]
    default: FlagValue | None
    note: str = ""
    better: bool = False
    always: bool = False
    tuning: bool = False


# Source: main.cc of tensorflow_serving/model_servers, in the order of its usage.
_FLAGS = (
    OriginalFlag("port", int, 8500, "IPv6 as well as IPv4; `--host` chooses the address", better=True),
    OriginalFlag("grpc_socket_path", str, ""),
    OriginalFlag(
        "rest_api_port",
        int,
        0,
        "`hotserve serve` opens 8501 without the flag, `tensorflow_model_server` none, as there. A port that is in use,"
        " or the same as `--port`, ends the start; there the server goes on without REST",
        better=True,
    ),
    OriginalFlag("rest_api_num_threads", int, None, tuning=True),
    OriginalFlag("rest_api_timeout_in_ms", int, 30_000),
    OriginalFlag("rest_api_enable_cors_support", bool, False, "`--rest_api_cors_origins` lets listed origins alone in"),
    OriginalFlag(
        "enable_batching",
        bool,
        False,
        "a request that makes its batch fail fails alone; without the flag, requests share runs where rows are"
        " independent (`--natural_batching`)",
        better=True,
    ),
    OriginalFlag(
        "allow_version_labels_for_unavailable_models",
        bool,
        False,
        "seldom needed: without it a label waits until its version is AVAILABLE; there the start or the reload fails",
        better=True,
    ),
    OriginalFlag(
        "batching_parameters_file", str, "", "mistakes are told with line and column; `pad_value` is new", better=True
    ),
    OriginalFlag("enable_per_model_batching_parameters", bool, False),
    OriginalFlag(
        "model_config_file",
        str,
        "",
        "mistakes are told with line and column; relative base paths are meant from the file's folder; a model that is"
        " missing or fails holds back no other",
        better=True,
    ),
    OriginalFlag(
        "model_config_file_poll_wait_seconds",
        int,
        0,
        "may have a fraction; the file is applied when it says something new, so that it does not undo reloads over"
        " gRPC; one that is wrong changes nothing",
        better=True,
    ),
    OriginalFlag("model_name", str, "default"),
    OriginalFlag(
        "model_base_path", str, "", "may be relative, and need not exist yet: the ports open all the same", better=True
    ),
    OriginalFlag(
        "num_load_threads",
        int,
        0,
        "0 is one thread per processor, at least 2; there it is none, and a load holds up all others",
        better=True,
    ),
    OriginalFlag("num_unload_threads", int, 0, "0 is one thread; no load waits for an unload", better=True),
    OriginalFlag(
        "max_num_load_retries",
        int,
        5,
        "a version that fails says so at once, and is tried again when its files change; the flag is for failures that"
        " pass by themselves",
        better=True,
    ),
    OriginalFlag(
        "load_retry_interval_micros", int, 60_000_000, "neither the start nor another version waits meanwhile", True
    ),
    OriginalFlag(
        "file_system_poll_wait_seconds",
        int,
        1,
        "may have a fraction; a base path that is missing stops no other from being looked at",
        better=True,
    ),
    OriginalFlag("flush_filesystem_caches", bool, True, tuning=True),
    OriginalFlag("tensorflow_session_parallelism", int, 0, "holds for ONNX models, too", better=True),
    OriginalFlag(
        "tensorflow_session_config_file",
        str,
        "",
        "its numbers of threads hold where no flag says otherwise; there they are replaced by the flags' zeros",
        better=True,
    ),
    OriginalFlag("tensorflow_intra_op_parallelism", int, 0, "holds for ONNX models, too", better=True),
    OriginalFlag(
        "tensorflow_inter_op_parallelism",
        int,
        0,
        "holds for ONNX models, too; 0 is one operation at a time, in the thread of the run",
        better=True,
    ),
    OriginalFlag("use_alts_credentials", bool, False),
    OriginalFlag(
        "ssl_config_file",
        str,
        "",
        "a file that is wrong is an error that says why; `--rest_ssl_config_file` does the same for REST",
        better=True,
    ),
    OriginalFlag(
        "platform_config_file", str, "", "a line in the log names each field of it that has no effect", better=True
    ),
    OriginalFlag("per_process_gpu_memory_fraction", float, 0.0),
    OriginalFlag(
        "saved_model_tags", str, "serve", "where none fits, the error lists the tag sets that there are", better=True
    ),
    OriginalFlag(
        "grpc_channel_arguments",
        str,
        "",
        "the arguments for streams, idle connections, pings, handshakes, metadata and frames; a log line names each"
        " other. An item without a value is an error",
    ),
    OriginalFlag("grpc_max_threads", int, None, tuning=True),
    OriginalFlag(
        "enable_model_warmup",
        bool,
        True,
        "a version without a warm-up file runs every signature once on made-up inputs",
        better=True,
    ),
    OriginalFlag("num_request_iterations_for_warmup", int, 0),
    OriginalFlag("version", bool, False, "`tensorflow_model_server --version` prints the two lines", always=True),
    OriginalFlag(
        "monitoring_config_file", str, "", "without it the metrics are at the path that is the default there", True
    ),
    OriginalFlag("remove_unused_fields_from_bundle_metagraph", bool, True, tuning=True),
    OriginalFlag(
        "prefer_tflite_model",
        bool,
        False,
        "a folder that holds `model.tflite` alone is served without it, too",
        better=True,
    ),
    OriginalFlag("num_tflite_pools", int, None, "interpreters beyond the first are made when needed", tuning=True),
    OriginalFlag(
        "num_tflite_interpreters_per_pool",
        int,
        1,
        "the number of threads of one run; requests are not put together",
        tuning=True,
    ),
    OriginalFlag("enable_signature_method_name_check", bool, False),
    OriginalFlag(
        "xla_cpu_compilation_enabled",
        bool,
        False,
        "functions that were exported to be compiled by XLA always are; there, without one of the two flags, they fail",
        better=True,
        always=True,
    ),
    OriginalFlag(
        "xla_gpu_compilation_enabled",
        bool,
        False,
        "functions that were exported to be compiled by XLA always are; there, without one of the two flags, they fail",
        better=True,
        always=True,
    ),
    OriginalFlag("enable_profiler", bool, True, tuning=True),
    OriginalFlag("thread_pool_factory_config_file", str, ""),
    OriginalFlag("mixed_precision", str, "", tuning=True),
    OriginalFlag("skip_initialize_tpu", bool, False, tuning=True),
    OriginalFlag(
        "enable_grpc_healthcheck_service",
        bool,
        False,
        "the health service always answers, and says how the server and each model stand; there it always says SERVING",
        better=True,
        always=True,
    ),
    OriginalFlag(
        "enable_serialization_as_tensor_content",
        bool,
        False,
        "REST answers are right with it, too; there they are undefined",
        better=True,
    ),
)

ORIGINAL_FLAGS: Mapping[str, OriginalFlag] = MappingProxyType({flag.name: flag for flag in _FLAGS})
"""The original's flags by name, as of version 2.21."""

FORMER_FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "model_version_policy": "set model_version_policy in a --model_config_file",
        "use_saved_model": "SavedModels are all that it has served since",
        "remote_predict_op_use_tensor_content": "see --enable_serialization_as_tensor_content",
    }
)
"""Flags of old guides that the original does not have, and takes for unknown -> what to do."""


@dataclass(frozen=True, slots=True)
class FlagCompatibility:
    """What becomes here of a flag of the original's.

    Attributes:
        flag: The flag.
        state: In a word.
        text: How it is better, or why it has no effect or is refused; empty where there is nothing to say.
    """

    flag: OriginalFlag
    state: FlagState
    text: str


def flag_compatibility(name: str) -> FlagCompatibility:
    """What becomes of a flag here.

    Args:
        name: A key of `ORIGINAL_FLAGS`.
    """
    flag = ORIGINAL_FLAGS[name]
    if name in REFUSED:
        return FlagCompatibility(flag, FlagState.REFUSED, REFUSED[name])
    if name in WITHOUT_EFFECT and not flag.always:
        return FlagCompatibility(flag, FlagState.WITHOUT_EFFECT, WITHOUT_EFFECT[name].why)
    return FlagCompatibility(flag, FlagState.BETTER if flag.better else FlagState.WORKS, flag.note)


def default_text(value: FlagValue | None) -> str:
    """A default as it is written on a command line; of texts the empty one is shown as nothing."""
    if value is None:
        return "by processors"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def own_default(name: str) -> str:
    """The default that a flag of the original's has in `hotserve serve`; empty where it has no effect."""
    if name not in {flag.name for flag in FLAGS}:
        return ""
    return default_text(getattr(ServerOptions(), name))
