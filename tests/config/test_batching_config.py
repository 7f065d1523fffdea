from __future__ import annotations

from pathlib import Path

import pytest

from hotserve.batching.options import BatchingOptions
from hotserve.config.batching_config import (
    VERSION_FILE,
    batching_setup,
    describe,
    read_batching_options,
    read_version_options,
)
from hotserve.config.options import ServerOptions
from hotserve.errors import ConfigError, NotFound
from hotserve.protos.messages import SessionBundleConfig


def read(folder: Path, text: str) -> BatchingOptions:
    (folder / "batching.pbtxt").write_text(text)
    return read_batching_options(folder / "batching.pbtxt")


def test_a_file_of_tensorflow_serving_is_read_field_by_field(tmp_path: Path) -> None:
    options = read(
        tmp_path,
        """
        max_batch_size { value: 128 }
        batch_timeout_micros { value: 5000 }
        max_enqueued_batches { value: 100 }
        num_batch_threads { value: 8 }
        thread_pool_name { value: "pool" }
        allowed_batch_sizes: 64
        allowed_batch_sizes: 128
        pad_variable_length_inputs: true
        enable_large_batch_splitting { value: true }
        max_execution_batch_size { value: 64 }
        """,
    )
    assert options == BatchingOptions(128, 5000, 100, 8, "pool", (64, 128), True, True, 64)


def test_a_field_that_is_left_out_has_its_default(tmp_path: Path) -> None:
    assert read(tmp_path, "# nothing") == BatchingOptions()


def test_padding_may_have_a_value_which_may_be_zero(tmp_path: Path) -> None:
    assert read(tmp_path, "pad_variable_length_inputs: true pad_value: 0").pad_value == 0.0


def test_what_does_not_parse_is_told_with_line_and_column(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"batching\.pbtxt'.*2:1: .*max_batch_siz"):
        read(tmp_path, "\nmax_batch_siz { value: 1 }")


def test_what_cannot_be_is_told_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "max_batch_size { value: 8 } allowed_batch_sizes: 4")
    assert caught.value.message == (
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8"
        f" (in {tmp_path / 'batching.pbtxt'})"
    )


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.pbtxt"):
        read_batching_options(tmp_path / "none.pbtxt")


def test_a_version_that_says_nothing_is_not_batched(tmp_path: Path) -> None:
    assert read_version_options(tmp_path) is None
    (tmp_path / VERSION_FILE).write_text("max_batch_size { value: 3 }")
    assert read_version_options(tmp_path) == BatchingOptions(max_batch_size=3)


def test_nothing_is_configured_without_the_flag() -> None:
    assert batching_setup(ServerOptions()).options is None


def test_the_flag_alone_means_the_defaults() -> None:
    setup = batching_setup(ServerOptions(enable_batching=True))
    assert setup.options == BatchingOptions(thread_pool_name="model_server_batch_threads")
    assert not setup.per_version


def test_the_file_and_the_versions_own_files_are_asked_for_by_flags(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("num_batch_threads { value: 3 }")
    setup = batching_setup(
        ServerOptions(
            enable_batching=True,
            batching_parameters_file=str(tmp_path / "b"),
            enable_per_model_batching_parameters=True,
        )
    )
    assert setup.options == BatchingOptions(num_batch_threads=3)
    assert setup.per_version


def test_a_file_without_the_flag_is_a_mistake_and_said_in_the_words_of_the_original() -> None:
    with pytest.raises(ConfigError) as caught:
        batching_setup(ServerOptions(batching_parameters_file="f"))
    assert caught.value.message.startswith(
        "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
    )


def test_parameters_are_described_in_a_line() -> None:
    assert describe(BatchingOptions()) == "max_batch_size 1000, batch_timeout_micros 0, max_enqueued_batches 10"
    assert describe(BatchingOptions(8, 5, 2, None, "", (4, 8), True, True, 4, 0.0)) == (
        "max_batch_size 8, batch_timeout_micros 5, max_enqueued_batches 2, allowed_batch_sizes 4 8, requests are split"
        " over batches of 4, each input is padded with 0"
    )


def test_a_platform_config_file_takes_the_place_of_the_flags() -> None:
    flags = ServerOptions(platform_config_file="f", enable_batching=True)
    bundle = SessionBundleConfig()
    assert batching_setup(flags, bundle).options is None
    bundle.batching_parameters.max_batch_size.value = 9
    bundle.enable_per_model_batching_params = True
    setup = batching_setup(flags, bundle)
    assert setup.options == BatchingOptions(max_batch_size=9)
    assert setup.per_version
