"""The batching files: how the requests of all models, or of one version, share runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hotserve.batching.options import DEFAULT_MAX_ENQUEUED_BATCHES, DEFAULT_POOL_NAME, BatchingOptions
from hotserve.config.options import ServerOptions
from hotserve.config.text_proto import read_text_proto
from hotserve.errors import ConfigError
from hotserve.protos import messages

VERSION_FILE = "batching_params.pbtxt"
"""The batching parameters of one version, in its folder."""

_POOL_NAME = "model_server_batch_threads"


@dataclass(frozen=True, slots=True)
class BatchingSetup:
    """What is said about batching for the server as a whole.

    Attributes:
        options: How requests are batched; None if `--enable_batching` was not given.
        per_version: Whether each version says itself how its requests are batched; one that does not is not batched.
    """

    options: BatchingOptions | None = None
    per_version: bool = False


def batching_setup(options: ServerOptions, bundle: messages.SessionBundleConfig | None = None) -> BatchingSetup:
    """Reads what the flags and the file that they name say.

    Args:
        options: The flags.
        bundle: What `--platform_config_file` says, which takes the place of the flags here.

    Raises:
        NotFound: There is no such file.
        ConfigError: It is wrong, or was given without `--enable_batching`.
    """
    if options.platform_config_file and bundle is not None:
        if not bundle.HasField("batching_parameters"):
            return BatchingSetup()
        return BatchingSetup(batching_options_of(bundle.batching_parameters), bundle.enable_per_model_batching_params)
    if not options.enable_batching:
        if options.batching_parameters_file:
            raise ConfigError(
                "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
                " Set --enable_batching as well, or leave --batching_parameters_file out."
            )
        return BatchingSetup()
    per_version = options.enable_per_model_batching_parameters
    if not options.batching_parameters_file:
        return BatchingSetup(BatchingOptions(thread_pool_name=_POOL_NAME), per_version)
    return BatchingSetup(read_batching_options(Path(options.batching_parameters_file)), per_version)


def read_version_options(version_folder: Path) -> BatchingOptions | None:
    """How the requests of one version are batched; None if its folder has no file that says so.

    Raises:
        ConfigError: The file is wrong.
    """
    file = version_folder / VERSION_FILE
    return read_batching_options(file) if file.exists() else None


def read_batching_options(file: Path) -> BatchingOptions:
    """Reads a text-proto `BatchingParameters`.

    Raises:
        NotFound: There is no such file.
        ConfigError: It cannot be read, does not parse, or its values do not fit; the message names the file, and where
            it does not parse the line and column.
    """
    message = read_text_proto(file, messages.BatchingParameters)
    try:
        return batching_options_of(message)
    except ConfigError as error:
        raise ConfigError(f"{error.message} (in {file})") from error


def batching_options_of(message: messages.BatchingParameters) -> BatchingOptions:
    """Checks parameters and reads them into a value.

    Raises:
        ConfigError: The values do not fit.
    """

    def given(field: str, default: int | None) -> int | None:
        return int(getattr(message, field).value) if message.HasField(field) else default

    pool_name = message.thread_pool_name.value if message.HasField("thread_pool_name") else DEFAULT_POOL_NAME
    return BatchingOptions(
        max_batch_size=given("max_batch_size", None),
        batch_timeout_micros=given("batch_timeout_micros", 0) or 0,
        max_enqueued_batches=_number(given("max_enqueued_batches", None), DEFAULT_MAX_ENQUEUED_BATCHES),
        num_batch_threads=given("num_batch_threads", None),
        thread_pool_name=pool_name,
        allowed_batch_sizes=tuple(message.allowed_batch_sizes),
        pad_variable_length_inputs=message.pad_variable_length_inputs,
        enable_large_batch_splitting=message.enable_large_batch_splitting.value,
        max_execution_batch_size=given("max_execution_batch_size", None),
        pad_value=message.pad_value if message.HasField("pad_value") else None,
    )


def describe(options: BatchingOptions) -> str:
    """The parameters in a line, for the log and for `hotserve config check`."""
    words = [f"max_batch_size {options.request_limit}", f"batch_timeout_micros {options.batch_timeout_micros}"]
    words.append(f"max_enqueued_batches {max(1, options.max_enqueued_batches)}")
    if options.allowed_batch_sizes:
        words.append(f"allowed_batch_sizes {' '.join(map(str, options.allowed_batch_sizes))}")
    if options.enable_large_batch_splitting:
        words.append(f"requests are split over batches of {options.execution_limit}")
    if options.pad_variable_length_inputs:
        with_what = "its first element" if options.pad_value is None else f"{options.pad_value:g}"
        words.append(f"each input is padded with {with_what}")
    return ", ".join(words)


def _number(value: int | None, default: int) -> int:
    return default if value is None else value
