from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.config.model_config import ModelConfig
from hotserve.config.reload import ConfigChange, ModelChange, plan_reload, read_reloaded_config
from hotserve.core.version_policy import All, Latest, Specific
from hotserve.errors import ConfigError, FailedPrecondition
from hotserve.observability.request_log import RequestLogConfig

A = ModelConfig("a", Path("/a"))
B = ModelConfig("b", Path("/b"))
C = ModelConfig("c", Path("/c"))


def test_models_are_told_apart_by_name() -> None:
    moved = ModelConfig("b", Path("/elsewhere"))
    change = plan_reload([A, B, C], [moved, A, ModelConfig("d", Path("/c"))])
    assert change == ConfigChange(
        added=(ModelConfig("d", Path("/c")),), removed=("c",), changed=(ModelChange(B, moved),), unchanged=("a",)
    )


def test_the_order_of_the_models_means_nothing() -> None:
    assert plan_reload([A, B], [B, A]).is_empty


@pytest.mark.parametrize(
    ("new", "description"),
    [
        (ModelConfig("a", Path("/b")), "base_path: /a -> /b"),
        (ModelConfig("a", Path("/a"), version_policy=All()), "model_version_policy: latest 1 -> all"),
        (ModelConfig("a", Path("/a"), engine="tensorflow"), "engine: of --engine -> tensorflow"),
        (
            ModelConfig("a", Path("/a"), request_log=RequestLogConfig("jsonl", Path("/logs/a"), 0.01)),
            "logging_config: none -> 0.01 of the requests to /logs/a (jsonl)",
        ),
        (ModelConfig("a", Path("/a"), version_labels={"stable": 2}), "version_labels stable: none -> 2"),
        (ModelConfig("a", Path("/a"), platform="tensorflow"), "model_platform: any -> tensorflow"),
    ],
)
def test_a_change_says_what_is_different(new: ModelConfig, description: str) -> None:
    (change,) = plan_reload([A], [new]).changed
    assert change.describe() == (description,)


def test_the_log_line_tells_all_of_it() -> None:
    moved = ModelConfig("b", Path("/elsewhere"))
    assert str(plan_reload([A, B], [moved, C])) == (
        "added c; removed a; changed b (base_path: /b -> /elsewhere); 0 unchanged"
    )


def test_a_name_that_is_listed_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="Illegal to list model a multiple times in config list"):
        plan_reload([], [A, A])


@pytest.mark.parametrize(("old", "new"), [("onnx", "tensorflow"), ("", "onnx"), ("onnx", "")])
def test_the_platform_of_a_model_that_is_kept_does_not_change(old: str, new: str) -> None:
    with pytest.raises(ConfigError) as refused:
        plan_reload([ModelConfig("a", Path("/a"), platform=old)], [ModelConfig("a", Path("/a"), platform=new)])
    assert refused.value.message.startswith(
        f"Illegal to change a model's platform. For model a platform was {old or 'any'} and new platform requested is"
        f" {new or 'any'}."
    )


def test_platforms_that_bind_to_nothing_may_replace_each_other() -> None:
    tensorflow = ModelConfig("a", Path("/a"), platform="tensorflow")
    assert plan_reload([A], [tensorflow]).changed == (ModelChange(A, tensorflow),)


models = st.builds(
    ModelConfig,
    st.sampled_from("abcd"),
    st.sampled_from([Path("/x"), Path("/y")]),
    version_policy=st.sampled_from([Latest(), All(), Specific((1,))]),
    version_labels=st.dictionaries(st.sampled_from(["stable", "canary"]), st.integers(1, 3)),
)
lists = st.lists(models, unique_by=lambda model: model.name)


@given(lists, lists)
def test_every_model_is_in_exactly_one_part_and_the_parts_make_the_new_list(
    old: list[ModelConfig], new: list[ModelConfig]
) -> None:
    change = plan_reload(old, new)
    before = {model.name: model for model in old}
    for name in change.removed:
        del before[name]
    for pair in change.changed:
        assert before[pair.new.name] == pair.old != pair.new
        before[pair.new.name] = pair.new
    for model in change.added:
        assert model.name not in before
        before[model.name] = model
    assert before == {model.name: model for model in new}
    assert set(change.unchanged) == {model.name for model in new if model in old}
    assert change.is_empty == (change.unchanged == tuple(model.name for model in new) and len(old) == len(new))


def test_a_file_without_a_list_of_models_is_refused_and_an_empty_list_is_not(tmp_path: Path) -> None:
    file = tmp_path / "models.config"
    file.write_text("# nothing\n")
    with pytest.raises(FailedPrecondition, match=r"Cannot transition to requested config\. It is only legal"):
        read_reloaded_config(file)
    file.write_text("model_config_list {}")
    assert read_reloaded_config(file) == ()


def test_relative_base_paths_are_meant_from_the_folder_of_the_file_and_errors_name_it(tmp_path: Path) -> None:
    file = tmp_path / "models.config"
    file.write_text('model_config_list { config { name: "a" base_path: "models/a" } }')
    assert read_reloaded_config(file) == (ModelConfig("a", tmp_path / "models" / "a"),)
    file.write_text('model_config_list { config { name: "a" } }')
    with pytest.raises(ConfigError, match=r"Expected model a to have an absolute path.* \(in .*models.config\)"):
        read_reloaded_config(file)
