"""Every option of the server, in one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hotserve.core.transition_policy import TRANSITION_POLICIES
from hotserve.errors import ConfigError
from hotserve.platforms.engines.engine import AUTO, CHECK_SECONDS, CHOICES, MAX_CACHE_BYTES

_INT32 = 2**31 - 1

AUTO_WORKERS = 0
"""As many workers as processors and models suggest."""

_RANGES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "port": (0, 65535),
        "rest_api_port": (0, 65535),
        # Larger pauses than these 68 years are more than a condition variable takes.
        "file_system_poll_wait_seconds": (-_INT32, _INT32),
        "model_config_file_poll_wait_seconds": (-_INT32, _INT32),
        "rest_api_timeout_in_ms": (-_INT32, _INT32),
        "max_message_bytes": (1, 2**63 - 1),
        "drain_timeout_seconds": (0, _INT32),
        "workers": (0, 1024),
        "worker_timeout_seconds": (0, _INT32),
        "num_load_threads": (0, _INT32),
        "num_unload_threads": (0, _INT32),
        "max_num_load_retries": (-_INT32, _INT32),
        "load_retry_interval_micros": (-(10**6) * _INT32, 10**6 * _INT32),
        "request_log_max_file_bytes": (1, 2**63 - 1),
        "num_request_iterations_for_warmup": (-_INT32, _INT32),
        "tensorflow_session_parallelism": (-_INT32, _INT32),
        "tensorflow_intra_op_parallelism": (-_INT32, _INT32),
        "tensorflow_inter_op_parallelism": (-_INT32, _INT32),
        # Above 1 a process may take more memory than the GPU has, which TensorFlow then keeps in the main memory.
        "per_process_gpu_memory_fraction": (0, 1000),
        "num_tflite_pools": (-_INT32, _INT32),
        "num_tflite_interpreters_per_pool": (-_INT32, 1024),
        "engine_cache_max_bytes": (0, 2**63 - 1),
        "engine_check_timeout": (1, _INT32),
        "max_queued_requests": (1, _INT32),
        "max_queued_bytes": (1, 2**63 - 1),
    }
)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What a server is told; one field per flag, under TensorFlow Serving's name where it has one.

    Attributes:
        port: The TCP port for gRPC; 0 for none.
        rest_api_port: The TCP port for REST; 0 for none.
        host: The address to listen on; empty for all, IPv4 and IPv6.
        grpc_socket_path: A path for a Unix socket that answers gRPC, beside `port` or without one; empty for none.
        ssl_config_file: A text-proto `SSLConfig`; gRPC is then served over TLS alone.
        rest_ssl_config_file: The same for REST.
        model_name: The name of the one model, without a config file.
        model_base_path: Its folder of version folders.
        model_config_file: A text-proto `ModelServerConfig`; then name and base path above are not looked at.
        model_config_file_poll_wait_seconds: The pause between two looks at that file, in seconds; 0 or less: it is read
            once.
        file_system_poll_wait_seconds: The pause between two looks at the base paths; 0 for one look only, negative
            for none.
        allow_version_labels_for_unavailable_models: Version labels take effect before their version is AVAILABLE.
        rest_api_timeout_in_ms: How long an inference over REST may take, in milliseconds; 0 for as long as it takes.
        rest_api_enable_cors_support: Pages of every origin may call the REST API and read its answers.
        rest_api_cors_origins: Origins with commas between them; pages of these alone may, whatever the field above
            says. Empty for no such list.
        monitoring_config_file: A text-proto `MonitoringConfig`, which says where the page with the metrics is, or that
            there is none.
        grpc_channel_arguments: `name=value` items with commas between them: arguments of gRPC's C++ core, of which the
            common ones have an effect.
        enable_serialization_as_tensor_content: The tensors that answer Predict over gRPC are sent as raw bytes.
        max_message_bytes: The largest request, in bytes, over either API, also after decompression.
        drain_timeout_seconds: How long requests in flight may take to finish when the server stops, in seconds.
        workers: How many processes answer requests, together as one server; `AUTO_WORKERS` chooses.
        worker_timeout_seconds: How long a worker may leave the supervisor without an answer until it is killed and
            started again; 0 for ever.
        num_load_threads: How many models load at the same time; 0 chooses.
        num_unload_threads: How many versions unload at the same time; 0 for one.
        max_num_load_retries: How often a load that has failed is tried again with the same files; never if it is not
            above 0, which differs from the original.
        load_retry_interval_micros: The pause before each of these, in microseconds; none if it is not above 0.
        aspired_version_policy: When the versions of a model change over: a key of `TRANSITION_POLICIES`.
        request_log_max_file_bytes: The size, in bytes, from which on logged requests go into a new file.
        enable_model_warmup: A version runs the requests of its warm-up file before it serves, or made-up ones where it
            has no such file; a version that fails at these fails to load. Without it nothing runs before the first
            request.
        num_request_iterations_for_warmup: How often each request of a warm-up file runs; once where it is less than 1.
        saved_model_tags: The tags, with commas between them, of the meta graph that is loaded of a SavedModel: the one
            that has these and no other.
        enable_signature_method_name_check: A signature answers only the method that it was exported for; TensorFlow 2
            exports every signature for Predict.
        tensorflow_session_parallelism: How many threads one run may use within an operation, and how many operations
            it may run at the same time; less than 1 leaves both to the platform.
        tensorflow_intra_op_parallelism: The former alone.
        tensorflow_inter_op_parallelism: The latter alone.
        tensorflow_session_config_file: A text-proto `ConfigProto` for the sessions of SavedModels.
        per_process_gpu_memory_fraction: The share of a GPU's memory that TensorFlow may take; 0 for all of it.
        mixed_precision: `bfloat16`, for sessions that compute in it where that is safe; empty for none.
        platform_config_file: A text-proto `PlatformConfigMap`, which takes the place of all that concerns SavedModels
            among the fields above.
        engine: What runs SavedModels: `auto` for the fastest engine that gives TensorFlow's answers, or the name of
            one.
        engine_cache_dir: The folder that keeps what has been found out about engines; empty for one of the user's.
        engine_cache_max_bytes: How many bytes it may hold; beyond that, what has not been used for longest is removed.
        engine_check_timeout: How long the examination of a version's engines may take, in seconds.
        custom_op_libraries: Paths, with commas between them, of libraries with operations that TensorFlow lacks.
        import_modules: Names, with commas between them, of Python packages with such operations.
        prefer_tflite_model: Where a version folder holds `model.tflite` beside another model, it is the one served.
        num_tflite_pools: How many runs of a LiteRT model may go on at the same time, each in an interpreter of its own;
            one a processor where it is less than 1.
        num_tflite_interpreters_per_pool: How many threads one run of a LiteRT model may use; one where it is less than
            1.
        enable_batching: Requests are batched exactly as TensorFlow Serving does it, whatever the signature.
        batching_parameters_file: A text-proto `BatchingParameters`, for that.
        enable_per_model_batching_parameters: The parameters of a version are in its own folder; without, its requests
            are not batched.
        natural_batching: Where batching is not enabled, requests that have come while the engine was busy go in one
            run, for signatures that are found to treat rows independently.
        max_queued_requests: How many requests may wait for the engine, all models together.
        max_queued_bytes: How many bytes their inputs may have.
    """

    port: int = 8500
    rest_api_port: int = 8501
    host: str = ""
    grpc_socket_path: str = ""
    ssl_config_file: str = ""
    rest_ssl_config_file: str = ""
    model_name: str = "default"
    model_base_path: str = ""
    model_config_file: str = ""
    model_config_file_poll_wait_seconds: float = 0.0
    file_system_poll_wait_seconds: float = 1.0
    allow_version_labels_for_unavailable_models: bool = False
    rest_api_timeout_in_ms: int = 30_000
    rest_api_enable_cors_support: bool = False
    rest_api_cors_origins: str = ""
    monitoring_config_file: str = ""
    grpc_channel_arguments: str = ""
    enable_serialization_as_tensor_content: bool = False
    max_message_bytes: int = 2**31 - 1
    drain_timeout_seconds: float = 30.0
    workers: int = 1
    worker_timeout_seconds: float = 60.0
    num_load_threads: int = 0
    num_unload_threads: int = 0
    max_num_load_retries: int = 0
    load_retry_interval_micros: int = 60_000_000
    aspired_version_policy: str = "availability_preserving"
    request_log_max_file_bytes: int = 1 << 28
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 0
    saved_model_tags: str = "serve"
    enable_signature_method_name_check: bool = False
    tensorflow_session_parallelism: int = 0
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0
    tensorflow_session_config_file: str = ""
    per_process_gpu_memory_fraction: float = 0.0
    mixed_precision: str = ""
    platform_config_file: str = ""
    engine: str = AUTO
    engine_cache_dir: str = ""
    engine_cache_max_bytes: int = MAX_CACHE_BYTES
    engine_check_timeout: float = CHECK_SECONDS
    custom_op_libraries: str = ""
    import_modules: str = ""
    prefer_tflite_model: bool = False
    num_tflite_pools: int = 0
    num_tflite_interpreters_per_pool: int = 1
    enable_batching: bool = False
    batching_parameters_file: str = ""
    enable_per_model_batching_parameters: bool = False
    natural_batching: bool = True
    max_queued_requests: int = 10_000
    max_queued_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        """Refuses numbers that nothing could be done with, and the name of a policy that there is not.

        Raises:
            ConfigError: As said.
        """
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(f"--{name}={value}: expected a number from {least} to {most}.")
        if self.engine not in CHOICES:
            raise ConfigError(f"--engine={self.engine}: expected {', '.join(CHOICES[:-1])} or {CHOICES[-1]}.")
        if self.aspired_version_policy not in TRANSITION_POLICIES:
            raise ConfigError(
                f"--aspired_version_policy={self.aspired_version_policy}: expected {' or '.join(TRANSITION_POLICIES)}."
            )
