from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from hotserve.config.options import ServerOptions
from hotserve.config.session_config import loader_options, log_unused_config, session_bundle_config, warmup_iterations
from hotserve.errors import ConfigError
from hotserve.protos.messages import ConfigProto, ModelWarmupOptions, RewriterConfig, SessionBundleConfig


def session(**options: Any) -> ConfigProto:
    """The options of TensorFlow's sessions that the server's options ask for."""
    bundle = session_bundle_config(ServerOptions(**options))
    config = loader_options(bundle)["tensorflow"]["config"]
    assert isinstance(config, ConfigProto)
    return config


def threads(**options: Any) -> tuple[int, int]:
    config = session(**options)
    return config.intra_op_parallelism_threads, config.inter_op_parallelism_threads


def test_without_flags_nothing_is_asked_for() -> None:
    assert session() == ConfigProto()
    assert loader_options(session_bundle_config(ServerOptions()))["onnx"] == {
        "intra_op_threads": 0,
        "inter_op_threads": 0,
    }


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"session": 4}, (4, 4)),
        ({"intra_op": 2}, (2, 0)),
        ({"inter_op": 3}, (0, 3)),
        ({"intra_op": 2, "inter_op": 3}, (2, 3)),
        ({"session": 4, "intra_op": 2}, (2, 0)),
        ({"session": -1, "inter_op": -1}, (0, 0)),
    ],
)
def test_flags_say_how_many_threads(flags: dict[str, int], expected: tuple[int, int]) -> None:
    assert threads(**{f"tensorflow_{name}_parallelism": value for name, value in flags.items()}) == expected


def test_all_three_numbers_of_threads_contradict_each_other() -> None:
    with pytest.raises(ConfigError) as raised:
        threads(tensorflow_session_parallelism=1, tensorflow_intra_op_parallelism=2, tensorflow_inter_op_parallelism=3)
    assert raised.value.message.startswith(
        "Either configure server_options.tensorflow_session_parallelism or"
        " (server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) separately."
        " You cannot configure all."
    )


def test_the_threads_hold_for_onnx_too() -> None:
    bundle = session_bundle_config(ServerOptions(tensorflow_intra_op_parallelism=2, tensorflow_inter_op_parallelism=3))
    assert loader_options(bundle)["onnx"] == {"intra_op_threads": 2, "inter_op_threads": 3}


def test_the_session_config_file_is_handed_on_whole(tmp_path: Path) -> None:
    file = tmp_path / "session.config"
    file.write_text(
        """
        intra_op_parallelism_threads: 5
        device_count { key: "GPU" value: 0 }
        graph_options { rewrite_options { remapping: OFF custom_optimizers { name: "mine"
          parameter_map { key: "k" value { s: "v" } } } } optimizer_options { global_jit_level: ON_1 } }
        gpu_options { experimental { virtual_devices { memory_limit_mb: 1 } } visible_device_list: "0" }
        session_inter_op_thread_pool { num_threads: 2 global_name: "pool" }
        experimental { optimize_for_static_graph: true executor_type: "SINGLE_THREADED_EXECUTOR" }
        """
    )
    theirs = importlib.import_module("tensorflow.core.protobuf.config_pb2").ConfigProto()
    text_format.Parse(file.read_text(), theirs)
    ours = session(tensorflow_session_config_file=str(file), tensorflow_inter_op_parallelism=2)
    theirs.inter_op_parallelism_threads = 2
    assert type(theirs).FromString(ours.SerializeToString()) == theirs


def test_threads_of_the_file_hold_where_no_flag_says_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "session.config"
    file.write_text("intra_op_parallelism_threads: 5 inter_op_parallelism_threads: 6")
    assert threads(tensorflow_session_config_file=str(file)) == (5, 6)
    assert threads(tensorflow_session_config_file=str(file), tensorflow_intra_op_parallelism=1) == (1, 6)
    assert threads(tensorflow_session_config_file=str(file), tensorflow_session_parallelism=2) == (2, 2)


def test_a_field_that_there_is_not_is_told_with_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "session.config"
    file.write_text("intra_op_parallelism_threads: 5\n  grap_options { }")
    with pytest.raises(ConfigError) as raised:
        session(tensorflow_session_config_file=str(file))
    assert raised.value.message == (
        f"Invalid protobuf file: '{file}'. Error parsing text-format tensorflow.ConfigProto: 2:3: Message type"
        ' "tensorflow.ConfigProto" has no field named "grap_options". Did you mean "graph_options"?'
    )


def test_the_share_of_the_gpu_s_memory_is_an_option_of_the_session() -> None:
    assert session(per_process_gpu_memory_fraction=0.25).gpu_options.per_process_gpu_memory_fraction == 0.25
    assert not session().HasField("gpu_options")


def test_mixed_precision_is_an_option_of_the_session(caplog: pytest.LogCaptureFixture) -> None:
    rewrite_options = session(mixed_precision="bfloat16").graph_options.rewrite_options
    assert rewrite_options.auto_mixed_precision_onednn_bfloat16 == RewriterConfig.ON
    with caplog.at_level(logging.WARNING):
        assert session(mixed_precision="float16") == ConfigProto()
    assert caplog.messages == ["float16 auto mixed precision is not supported. Valid option: bfloat16"]


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("serve", ("serve",)),
        ("serve,gpu", ("serve", "gpu")),
        (" serve , gpu,", ("serve", "gpu")),
        ("train", ("train",)),
    ],
)
def test_tags_stand_between_commas(text: str, tags: tuple[str, ...]) -> None:
    bundle = session_bundle_config(ServerOptions(saved_model_tags=text))
    assert loader_options(bundle)["tensorflow"]["tags"] == tags


def test_no_tags_are_the_usual_ones() -> None:
    assert "tags" not in loader_options(session_bundle_config(ServerOptions(saved_model_tags="")))["tensorflow"]


@pytest.mark.parametrize(("flag", "times"), [(0, 1), (-3, 1), (1, 1), (7, 7)])
def test_recorded_requests_run_at_least_once(flag: int, times: int) -> None:
    assert warmup_iterations(session_bundle_config(ServerOptions(num_request_iterations_for_warmup=flag))) == times


def test_warm_up_can_be_off() -> None:
    assert session_bundle_config(ServerOptions()).enable_model_warmup
    assert not session_bundle_config(ServerOptions(enable_model_warmup=False)).enable_model_warmup


def test_a_platform_config_file_takes_the_place_of_the_flags(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "platforms.config"
    file.write_text(
        "platform_configs { key: 'tensorflow' value { source_adapter_config {"
        " [type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] { legacy_config {"
        " saved_model_tags: 'gpu' model_warmup_options { num_request_iterations { value: 3 } } } } } } }"
    )
    options = ServerOptions(
        platform_config_file=str(file),
        saved_model_tags="tpu",
        tensorflow_session_parallelism=4,
        tensorflow_intra_op_parallelism=4,
        tensorflow_inter_op_parallelism=4,
    )
    bundle = session_bundle_config(options)
    with caplog.at_level(logging.WARNING):
        log_unused_config(options)
    assert bundle == SessionBundleConfig(
        saved_model_tags=["gpu"], model_warmup_options=ModelWarmupOptions(num_request_iterations={"value": 3})
    )
    assert warmup_iterations(bundle) == 3
    assert caplog.messages == [
        "--platform_config_file takes the place of --saved_model_tags, --tensorflow_session_parallelism,"
        " --tensorflow_intra_op_parallelism, --tensorflow_inter_op_parallelism"
    ]
