from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hotserve.config.platform_config import (
    BUNDLE_FIELDS_WITHOUT_EFFECT,
    WARMUP_FIELDS_WITHOUT_EFFECT,
    log_without_effect,
    read_platform_config,
)
from hotserve.errors import ConfigError, NotFound
from hotserve.protos.messages import ModelWarmupOptions, SessionBundleConfig

ADAPTER = "type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig"


def write(folder: Path, legacy_config: str, type_url: str = ADAPTER, key: str = "tensorflow") -> Path:
    file = folder / "platforms.config"
    file.write_text(
        f'platform_configs {{\n  key: "{key}"\n  value {{ source_adapter_config {{\n'
        f"    [{type_url}] {{ legacy_config {{\n{legacy_config}\n}} }}\n  }} }}\n}}\n"
    )
    return file


def refusal(file: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        read_platform_config(file)
    return raised.value.message


def test_the_file_says_what_the_flags_would(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        session_config { intra_op_parallelism_threads: 3 gpu_options { per_process_gpu_memory_fraction: 0.5 } }
        batching_parameters { max_batch_size { value: 128 } allowed_batch_sizes: 64 allowed_batch_sizes: 128 }
        saved_model_tags: "serve" saved_model_tags: "gpu"
        enable_model_warmup: true
        model_warmup_options { num_request_iterations { value: 4 } }
        prefer_tflite_model: true
        mixed_precision: "bfloat16"
        """,
    )
    bundle = read_platform_config(file)
    assert bundle.session_config.intra_op_parallelism_threads == 3
    assert bundle.session_config.gpu_options.per_process_gpu_memory_fraction == 0.5
    assert list(bundle.batching_parameters.allowed_batch_sizes) == [64, 128]
    assert list(bundle.saved_model_tags) == ["serve", "gpu"]
    assert bundle.enable_model_warmup
    assert bundle.model_warmup_options.num_request_iterations.value == 4
    assert bundle.prefer_tflite_model
    assert bundle.mixed_precision == "bfloat16"


def test_every_field_without_effect_is_a_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write(
        tmp_path,
        """
        session_target: "local" enable_session_metadata: true saved_model_tags: "serve"
        model_warmup_options { num_model_warmup_threads { value: 2 } num_request_iterations { value: 2 } }
        """,
    )
    with caplog.at_level(logging.WARNING):
        log_without_effect(file)
    assert caplog.messages == [
        f"{file}: session_target has no effect here: sessions run in this process",
        f"{file}: enable_session_metadata has no effect here: mlmd_map tells of every version that names its entry",
        f"{file}: num_model_warmup_threads has no effect here: the recorded requests of a version run one after the"
        " other",
    ]


def test_what_is_said_to_have_no_effect_is_a_field() -> None:
    assert set(BUNDLE_FIELDS_WITHOUT_EFFECT) <= set(SessionBundleConfig.DESCRIPTOR.fields_by_name)
    assert set(WARMUP_FIELDS_WITHOUT_EFFECT) <= set(ModelWarmupOptions.DESCRIPTOR.fields_by_name)


def test_other_platforms_are_named_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write(tmp_path, "")
    file.write_text(file.read_text() + "platform_configs { key: 'mine' value { } }")
    assert read_platform_config(file) == SessionBundleConfig()
    log_without_effect(file)
    assert f"{file}: platform_configs of mine have no effect here" in caplog.text


def test_a_file_that_says_nothing_of_tensorflow_is_refused(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "", key="Tensorflow"))
    assert message.startswith(f"{tmp_path}/platforms.config: there is nothing about the platform tensorflow. Expected")
    assert "[type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig]" in message


def test_a_config_of_another_type_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "platforms.config"
    file.write_text(
        "platform_configs { key: 'tensorflow' value { source_adapter_config {"
        " [type.googleapis.com/tensorflow.serving.SSLConfig] { } } } }"
    )
    assert "is of the type type.googleapis.com/tensorflow.serving.SSLConfig. Expected" in refusal(file)
    file.write_text("platform_configs { key: 'tensorflow' value { } }")
    assert "is of the type nothing. Expected" in refusal(file)


def test_a_mistake_deep_inside_is_told_with_line_and_column(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "session_config {\n  intra_op_paralelism_threads: 3\n}"))
    assert message.startswith(f"Invalid protobuf file: '{tmp_path}/platforms.config'. Error parsing text-format")
    assert '6:3: Message type "tensorflow.ConfigProto" has no field named "intra_op_paralelism_threads"' in message
    assert message.endswith('Did you mean "intra_op_parallelism_threads"?')


def test_a_type_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    assert "tensorflow.serving.SessionBundleSourceAdapterConfig" in refusal(
        write(tmp_path, "", "type.googleapis.com/tensorflow.serving.SessionBundleSourceAdapterConfig")
    )


def test_bytes_that_are_no_such_config_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "platforms.config"
    file.write_text(
        f"platform_configs {{ key: 'tensorflow' value {{ source_adapter_config {{ type_url: '{ADAPTER}'"
        " value: '\\xff\\xff' } } }"
    )
    assert "the source_adapter_config of tensorflow is damaged" in refusal(file)


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"Expected a file with a tensorflow\.serving\.PlatformConfigMap"):
        read_platform_config(tmp_path / "gone")
