from __future__ import annotations

import os
from pathlib import Path

import pytest

from hotserve.config.model_config import ModelConfig, model_configs_from_proto, read_model_config
from hotserve.core.version_policy import All, Latest, Specific, VersionPolicy
from hotserve.errors import Code, ConfigError, NotFound
from hotserve.protos import messages


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return tmp_path / "models.config"


def _models(config_file: Path, *configs: str) -> tuple[ModelConfig, ...]:
    entries = "\n".join(f"  config {{ {config} }}" for config in configs)
    config_file.write_text(f"model_config_list {{\n{entries}\n}}\n")
    return read_model_config(config_file)


def _refusal(config_file: Path, *configs: str) -> str:
    with pytest.raises(ConfigError) as refused:
        _models(config_file, *configs)
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert refused.value.message.endswith(f" (in {config_file})")
    return refused.value.message


def test_a_config_file_is_read_into_values_in_its_order(config_file: Path) -> None:
    models = _models(
        config_file,
        """
        name: 'digits'
        base_path: '/models/digits'
        model_platform: 'tensorflow'
        model_version_policy { specific { versions: 42 versions: 43 } }
        version_labels { key: 'stable' value: 42 }
        version_labels { key: 'canary' value: 43 }
        """,
        "name: 'a' base_path: '/models/a'",
    )
    assert models == (
        ModelConfig(
            name="digits",
            base_path=Path("/models/digits"),
            platform="tensorflow",
            version_policy=Specific((42, 43)),
            version_labels={"stable": 42, "canary": 43},
        ),
        ModelConfig(name="a", base_path=Path("/models/a")),
    )


@pytest.mark.parametrize(
    ("policy", "want"),
    [
        ("", Latest(1)),
        ("model_version_policy {}", Latest(1)),
        ("model_version_policy { latest {} }", Latest(1)),
        ("model_version_policy { latest { num_versions: 0 } }", Latest(1)),
        ("model_version_policy { latest { num_versions: 3 } }", Latest(3)),
        ("model_version_policy { all {} }", All()),
        ("model_version_policy { specific {} }", Specific(())),
        ("model_version_policy { specific { versions: [7, 1] } }", Specific((7, 1))),
    ],
)
def test_a_version_policy_is_one_of_three(config_file: Path, policy: str, want: VersionPolicy) -> None:
    (model,) = _models(config_file, f"name: 'm' base_path: '/m' {policy}")
    assert model.version_policy == want


@pytest.mark.parametrize(
    ("base_path", "want"),
    [
        ("/models/m", "/models/m"),
        ("m", "{folder}/m"),
        ("./m", "{folder}/m"),
        ("../m", "{folder}/../m"),
        ("file:///models/m", "/models/m"),
        ("a:b", "{folder}/a:b"),
    ],
)
def test_a_relative_base_path_is_meant_from_the_folder_of_the_file(
    config_file: Path, base_path: str, want: str
) -> None:
    (model,) = _models(config_file, f"name: 'm' base_path: '{base_path}'")
    assert model.base_path == Path(want.format(folder=config_file.parent))


def test_a_base_path_is_absolute_when_the_file_is_named_by_a_relative_path(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_file.write_text("model_config_list { config { name: 'm' base_path: 'm' } }")
    monkeypatch.chdir(config_file.parent)
    (model,) = read_model_config(Path(config_file.name))
    assert model.base_path == config_file.parent / "m"


def test_a_relative_base_path_does_not_follow_a_link_to_the_file(tmp_path: Path) -> None:
    # Kubernetes mounts a config map as a link into a folder whose name changes with every update.
    (tmp_path / "..2026_10_01").mkdir()
    target = tmp_path / "..2026_10_01" / "models.config"
    target.write_text("model_config_list { config { name: 'm' base_path: 'm' } }")
    os.symlink(target, tmp_path / "models.config")
    (model,) = read_model_config(tmp_path / "models.config")
    assert model.base_path == tmp_path / "m"


@pytest.mark.parametrize(
    ("platform", "want"),
    [
        ("", ""),
        ("model_platform: 'tensorflow'", "tensorflow"),
        ("model_platform: 'onnx'", "onnx"),
        ("model_type: TENSORFLOW", "tensorflow"),
        ("model_type: MODEL_TYPE_UNSPECIFIED model_platform: 'x'", "x"),
    ],
)
def test_a_platform_may_be_named_or_left_to_the_content(config_file: Path, platform: str, want: str) -> None:
    (model,) = _models(config_file, f"name: 'm' base_path: '/m' {platform}")
    assert model.platform == want


@pytest.mark.parametrize(
    ("configs", "text"),
    [
        (
            ["name: 'm' base_path: '/a'", "name: 'n' base_path: '/a'", "name: 'm' base_path: '/b'"],
            "Illegal to list model m multiple times in config list",
        ),
        (
            ["name: 'm' base_path: '/a'", "base_path: '/b'"],
            "Illegal to list a model without a name in config list: entry 2.",
        ),
        (["name: 'm'"], "Expected model m to have an absolute path or URI; got base_path()="),
        (
            ["name: 'm' base_path: 's3://bucket/m'"],
            "Expected model m to have a local base_path; got base_path()=s3://bucket/m. Storage of the kind s3://",
        ),
        (["name: 'm' base_path: 'gs://bucket/m'"], "Expected model m to have a local base_path"),
        (["name: 'm' base_path: 'https://example.com/m'"], "Expected model m to have a local base_path"),
        (
            ["name: 'm' base_path: '/m' model_type: TENSORFLOW model_platform: 'tensorflow'"],
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform, "
            "model name is m",
        ),
        (["name: 'm' base_path: '/m' model_type: OTHER"], "ModelServerConfig::model_type choice 2 not supported."),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(config_file: Path, configs: list[str], text: str) -> None:
    assert _refusal(config_file, *configs).startswith(text)


def test_a_custom_config_is_refused(config_file: Path) -> None:
    config_file.write_text("custom_model_config { type_url: 'type.googleapis.com/a.B' }")
    with pytest.raises(ConfigError, match=r"ModelServer does not yet support custom model config\."):
        read_model_config(config_file)


def test_an_unknown_field_is_refused_with_its_line(config_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"ModelServerConfig: 2:21: .*Did you mean \"base_path\"\?"):
        _models(config_file, "name:'m' basepath: '/m'")


@pytest.mark.parametrize("text", ["\n", "# later\n", "model_config_list {}"])
def test_a_config_without_models_is_none(config_file: Path, text: str) -> None:
    config_file.write_text(text)
    assert read_model_config(config_file) == ()


def test_a_missing_file_is_not_found(config_file: Path) -> None:
    with pytest.raises(NotFound, match="No such file or directory"):
        read_model_config(config_file)


def test_a_base_path_need_not_exist_yet(config_file: Path) -> None:
    (model,) = _models(config_file, "name: 'm' base_path: 'not/there/yet'")
    assert not model.base_path.exists()


def test_a_config_of_a_reload_request_is_read_like_a_file() -> None:
    config = messages.ModelServerConfig()
    config.model_config_list.config.add(name="m", base_path="m").version_labels["stable"] = 1
    assert model_configs_from_proto(config, Path("/srv")) == (
        ModelConfig(name="m", base_path=Path("/srv/m"), version_labels={"stable": 1}),
    )
