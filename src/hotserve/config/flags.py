"""The flags of the command line: TensorFlow Serving's spelling, read into `ServerOptions`.

`--name=value` and `--name value` both work, and a boolean flag may stand alone. The last one of a name wins: Docker
users append flags after those of the entry point. Of flags that hold a list, all of a name count.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from hotserve.config.options import AUTO_WORKERS, ServerOptions
from hotserve.errors import ConfigError

FlagValue = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Attributes:
        name: Its name, without the dashes.
        kind: What its value is.
        help: One line for `--help`.
        option: The field of `ServerOptions` where that is not the flag's name.
        adds_up: Whether several of its name are one list; otherwise the last one wins.
        words: Words that stand for values.
    """

    name: str
    kind: type[bool] | type[int] | type[float] | type[str]
    help: str
    option: str = ""
    adds_up: bool = False
    words: Mapping[str, FlagValue] = field(default_factory=dict)

    @property
    def field(self) -> str:
        """The field of `ServerOptions`."""
        return self.option or self.name


FLAGS: tuple[Flag, ...] = (
    Flag("port", int, "TCP port for gRPC; 0 turns it off"),
    Flag("rest_api_port", int, "TCP port for REST; 0 turns it off"),
    Flag("host", str, "address to listen on; all of them by default"),
    Flag("grpc_socket_path", str, "path of a Unix socket for gRPC, beside the port or without one"),
    Flag("ssl_config_file", str, "text file with certificate and key (SSLConfig): TLS for gRPC"),
    Flag("rest_ssl_config_file", str, "the same for REST"),
    Flag("model_name", str, "name of the model"),
    Flag("model_base_path", str, "folder that holds the model's version folders (1/, 2/, ...)"),
    Flag("model_config_file", str, "text file that lists several models (ModelServerConfig)"),
    Flag("model_config_file_poll_wait_seconds", float, "pause between two looks at that file; 0 reads it once"),
    Flag("file_system_poll_wait_seconds", float, "pause between two looks for new versions; 0 looks once"),
    Flag("allow_version_labels_for_unavailable_models", bool, "labels take effect before their version is loaded"),
    Flag("rest_api_timeout_in_ms", int, "longest time for an inference over REST; 0 for none"),
    Flag("rest_api_enable_cors_support", bool, "pages of every origin may call the REST API"),
    Flag("rest_api_cors_origins", str, "pages of these origins alone may: https://a.example,https://b.example"),
    Flag("monitoring_config_file", str, "text file that says where the metrics are, if anywhere (MonitoringConfig)"),
    Flag("grpc_channel_arguments", str, "settings of gRPC's core: grpc.max_concurrent_streams=100,..."),
    Flag("enable_serialization_as_tensor_content", bool, "tensors that answer Predict over gRPC are raw bytes"),
    Flag("max_message_bytes", int, "largest request over either API"),
    Flag("drain_timeout_seconds", float, "how long requests in flight may take to finish at the stop"),
    Flag("workers", int, "processes that answer requests, as one server; auto chooses", words={"auto": AUTO_WORKERS}),
    Flag("worker_timeout_seconds", float, "how long a worker may hang until it is started again; 0 for ever"),
    Flag("num_load_threads", int, "models that load at the same time; 0 chooses"),
    Flag("num_unload_threads", int, "versions that unload at the same time; 0 for one"),
    Flag("max_num_load_retries", int, "how often a load that failed is tried again with the same files"),
    Flag("load_retry_interval_micros", int, "pause before each of these, in microseconds"),
    Flag("aspired_version_policy", str, "availability_preserving, or resource_preserving: the old version goes first"),
    Flag("request_log_max_file_bytes", int, "size from which on logged requests go into a new file"),
    Flag("enable_model_warmup", bool, "versions run recorded or made-up requests before they serve"),
    Flag("num_request_iterations_for_warmup", int, "how often each recorded warm-up request runs; 0 for once"),
    Flag("saved_model_tags", str, "tags of the meta graph that is loaded of a SavedModel, with commas between them"),
    Flag("enable_signature_method_name_check", bool, "signatures answer only the method that they were exported for"),
    Flag("tensorflow_session_parallelism", int, "threads of a run, within operations and between them; 0 chooses"),
    Flag("tensorflow_intra_op_parallelism", int, "threads within one operation; 0 chooses"),
    Flag("tensorflow_inter_op_parallelism", int, "operations of a run at the same time; 0 for one"),
    Flag("tensorflow_session_config_file", str, "text file with the options of TensorFlow's sessions (ConfigProto)"),
    Flag("per_process_gpu_memory_fraction", float, "share of a GPU's memory that TensorFlow may take; 0 for all"),
    Flag("mixed_precision", str, "bfloat16: TensorFlow computes in it where that is safe"),
    Flag("platform_config_file", str, "text file that takes the place of flags for SavedModels (PlatformConfigMap)"),
    Flag("engine", str, "what runs SavedModels: auto, tensorflow, openvino or onnxruntime"),
    Flag(
        "engine_cache_dir", str, "folder that keeps what was found out about engines; by default in the user's caches"
    ),
    Flag("engine_cache_max_bytes", int, "size from which on what was unused for longest is removed from that folder"),
    Flag("engine_check_timeout", float, "longest time, in seconds, to compare other engines with TensorFlow"),
    Flag("custom_op_libraries", str, "libraries with operations that TensorFlow lacks: a.so,b.so", adds_up=True),
    Flag("import", str, "Python packages with such operations: tensorflow_text,...", "import_modules", adds_up=True),
    Flag("prefer_tflite_model", bool, "model.tflite is served where a version folder holds a SavedModel as well"),
    Flag("num_tflite_pools", int, "interpreters of a LiteRT model, one a run; 0 for one a processor"),
    Flag("num_tflite_interpreters_per_pool", int, "threads that one run of a LiteRT model may use"),
    Flag("enable_batching", bool, "requests are batched as in TensorFlow Serving"),
    Flag("batching_parameters_file", str, "text file that says how (BatchingParameters)"),
    Flag("enable_per_model_batching_parameters", bool, "each version folder says how, in batching_params.pbtxt"),
    Flag("natural_batching", bool, "without --enable_batching: requests that wait share a run where rows allow it"),
    Flag("max_queued_requests", int, "requests that may wait for a run; more are refused"),
    Flag("max_queued_bytes", int, "size of the inputs of these"),
)


@dataclass(frozen=True, slots=True)
class WithoutEffect:
    """One of TensorFlow Serving's flags that changes nothing here.

    Attributes:
        kind: What its value is.
        why: Why it has no effect, in words for the user, after "has no effect here: ".
    """

    kind: type[bool] | type[int] | type[float] | type[str]
    why: str


WITHOUT_EFFECT: Mapping[str, WithoutEffect] = MappingProxyType(
    {
        "rest_api_num_threads": WithoutEffect(int, "one event loop answers every REST connection"),
        "flush_filesystem_caches": WithoutEffect(
            bool, "there is no cache but the system's, which gives the pages of files up when memory is wanted"
        ),
        "use_alts_credentials": WithoutEffect(bool, "ALTS is not available"),
        "grpc_max_threads": WithoutEffect(int, "one event loop answers every gRPC connection"),
        "version": WithoutEffect(bool, "the version is printed only where it is true"),
        "remove_unused_fields_from_bundle_metagraph": WithoutEffect(
            bool, "of the meta graph, only the signatures are kept"
        ),
        "xla_cpu_compilation_enabled": WithoutEffect(
            bool, "functions that were exported to be compiled by XLA always are, and no others"
        ),
        "xla_gpu_compilation_enabled": WithoutEffect(
            bool, "functions that were exported to be compiled by XLA always are, and no others"
        ),
        "enable_profiler": WithoutEffect(bool, "there is no profiler service"),
        "thread_pool_factory_config_file": WithoutEffect(
            str, "there are no thread pool factories, as there are none in TensorFlow Serving's own binary"
        ),
        "skip_initialize_tpu": WithoutEffect(bool, "TPUs are not used"),
        "enable_grpc_healthcheck_service": WithoutEffect(bool, "the health service always answers"),
    }
)
"""TensorFlow Serving's other flags: read, so that its command lines work, and named in the log with the reason."""

REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "use_alts_credentials": "ALTS is not available, and serving without it where it was asked for would be unsafe",
    }
)
"""Flags that must not be passed over: what they ask for cannot be done."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What a command line says.

    Attributes:
        options: The options.
        without_effect: Flags that were given and have no effect here, in order.
        passed_over: What is wrong with each word that was passed over, in order.
    """

    options: ServerOptions
    without_effect: tuple[str, ...]
    passed_over: tuple[str, ...] = ()


def parse_flags(
    arguments: Sequence[str], defaults: ServerOptions | None = None, *, pass_over_unknown: bool = False
) -> CommandLine:
    """Reads a command line.

    Args:
        arguments: The words after the command.
        defaults: The options where no flag says otherwise.
        pass_over_unknown: What is no flag is passed over, as TensorFlow Serving does, and not refused.

    Raises:
        ConfigError: A flag that there is not, one that is refused, a value that does not fit, or a word that is no
            flag.

    Source: Flags::Parse in tensorflow/core/util/command_line_flags.cc, and main.cc of tensorflow_serving/model_servers,
        which starts in spite of what the former did not know.
    """
    known = {flag.name: flag.kind for flag in FLAGS}
    adding_up = {flag.name for flag in FLAGS if flag.adds_up}
    words_of = {flag.name: flag.words for flag in FLAGS}
    values: dict[str, FlagValue] = {}
    ignored: dict[str, FlagValue] = {}
    passed_over: list[str] = []

    def refuse(reason: str) -> None:
        if not pass_over_unknown:
            raise ConfigError(reason)
        passed_over.append(reason)

    words = list(arguments)
    while words:
        word = words.pop(0)
        name, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name:
            refuse(f"unknown argument: {word}. Expected flags such as --model_base_path=PATH.")
            continue
        kind = known.get(name) or _kind_without_effect(name)
        if kind is None:
            refuse(f"unknown argument: {word}. There is no flag --{name}.{_similar(name)}")
            continue
        if not equals:
            if kind is bool and not (words and words[0].lower() in _BOOLEANS):
                text = "true"
            elif words and not words[0].startswith("--"):
                text = words.pop(0)
            else:
                refuse(f"Flag --{name} needs a value: --{name}={kind.__name__.upper()}")
                continue
        target = values if name in known else ignored
        value = words_of.get(name, {}).get(text)
        if value is None:
            value = flag_value(name, kind, text, tuple(words_of.get(name, ())))
        target[name] = f"{target[name]},{value}" if name in target and name in adding_up else value
    for name, reason in REFUSED.items():
        if ignored.get(name):
            raise ConfigError(f"--{name}: {reason}.")
    fields = {flag.field: values[flag.name] for flag in FLAGS if flag.name in values}
    options = replace(defaults or ServerOptions(), **fields)  # type: ignore[arg-type]  # kinds are those of the fields
    return CommandLine(options, tuple(ignored), tuple(passed_over))


def help_text(defaults: ServerOptions | None = None) -> str:
    """One line per flag, with its default."""
    options = defaults or ServerOptions()
    width = max(len(flag.name) + len(flag.kind.__name__) for flag in FLAGS) + 4
    lines = []
    for flag in FLAGS:
        default = getattr(options, flag.field)
        shown = f"{flag.help} (default: {_shown(default)})" if default != "" else flag.help
        lines.append(f"  {f'--{flag.name}={flag.kind.__name__}':{width}} {shown}")
    return "\n".join(lines)


# Python would also read spaces, underscores, other alphabets' digits, and words such as "nan".
_NUMBERS = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?")
_BOOLEANS = MappingProxyType({"true": True, "1": True, "false": False, "0": False})


def flag_value(
    name: str, kind: type[bool] | type[int] | type[float] | type[str], text: str, words: Sequence[str] = ()
) -> FlagValue:
    """What stands after the equals sign of a flag.

    Args:
        name: The flag, for the error.
        kind: What its value is.
        text: The value as it is written.
        words: What else the flag takes, for the error.

    Raises:
        ConfigError: The text is no value of that kind.
    """
    if kind is str:
        return text
    if kind is bool:
        value = _BOOLEANS.get(text.lower())
        if value is None:
            raise ConfigError(f"Couldn't interpret value {text} for flag {name}. Expected true or false.")
        return value
    try:
        if _NUMBERS.fullmatch(text):
            return kind(text)
    except ValueError:  # a fraction for a whole number, or thousands of digits
        pass
    expected = " or ".join(("a whole number" if kind is int else "a number", *words))
    raise ConfigError(f"Couldn't interpret value {text} for flag {name}. Expected {expected}.")


def _kind_without_effect(name: str) -> type[bool] | type[int] | type[float] | type[str] | None:
    entry = WITHOUT_EFFECT.get(name)
    return entry.kind if entry else None


def _similar(name: str) -> str:
    names = [flag.name for flag in FLAGS] + list(WITHOUT_EFFECT)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f" Did you mean --{close[0]}?" if close else " See --help for all flags."


def _shown(value: FlagValue) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
