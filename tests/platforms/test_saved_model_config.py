from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hotserve.platforms.saved_model_config import CONFIG_FILE, apply_saved_model_config
from hotserve.protos.messages import ConfigProto, SavedModelConfig, SessionOverrides


def version(folder: Path, data: bytes) -> Path:
    (folder / CONFIG_FILE).parent.mkdir(parents=True)
    (folder / CONFIG_FILE).write_bytes(data)
    return folder


def applied(path: Path, **rewrite_options: bool) -> ConfigProto:
    config = ConfigProto(intra_op_parallelism_threads=3)
    for name, value in rewrite_options.items():
        setattr(config.graph_options.rewrite_options, name, value)
    apply_saved_model_config(path, config)
    return config


def test_a_version_without_the_file_leaves_the_options_as_they_are(tmp_path: Path) -> None:
    assert applied(tmp_path) == ConfigProto(intra_op_parallelism_threads=3)


@pytest.mark.parametrize("wanted", [True, False])
def test_the_version_decides_on_the_optimizer_of_its_graph(tmp_path: Path, wanted: bool) -> None:
    asked = SavedModelConfig(session_overrides=SessionOverrides(disable_meta_optimizer=wanted))
    config = applied(version(tmp_path, asked.SerializeToString()), disable_meta_optimizer=not wanted)
    assert config.graph_options.rewrite_options.disable_meta_optimizer is wanted
    assert config.intra_op_parallelism_threads == 3


def test_a_file_that_says_nothing_of_the_session_changes_nothing(tmp_path: Path) -> None:
    config = applied(version(tmp_path, b""), disable_meta_optimizer=True)
    assert config.graph_options.rewrite_options.disable_meta_optimizer


def test_a_file_that_cannot_be_read_is_passed_over_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = applied(version(tmp_path, b"\xff\xff"))
    assert config == ConfigProto(intra_op_parallelism_threads=3)
    assert f"Failed to load saved model config: {tmp_path / CONFIG_FILE}" in caplog.text


def test_what_has_no_effect_is_one_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    overrides = SessionOverrides(remote_op_remap_config=b"", batch_op_rewriter_config=b"\n\x01x")
    asked = SavedModelConfig(session_overrides=overrides, tfrt_runtime_config=b"\n\x01x", critical=True)
    with caplog.at_level(logging.WARNING):
        applied(version(tmp_path, asked.SerializeToString()))
    (line,) = caplog.messages
    names = "remote_op_remap_config, batch_op_rewriter_config, tfrt_runtime_config, critical"
    assert f"{names} has no effect here" in line
