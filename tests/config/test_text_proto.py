from __future__ import annotations

from pathlib import Path

import pytest

from hotserve.config.text_proto import parse_text_proto, read_text_proto
from hotserve.errors import Code, ConfigError, NotFound
from hotserve.protos.messages import BatchingParameters, ModelServerConfig, PlatformConfigMap, SessionBundleConfig

BEGINNING = "Invalid protobuf file: '{file}'. Error parsing text-format tensorflow.serving.ModelServerConfig: "


def _refused(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        read_text_proto(path, ModelServerConfig)
    assert refused.value.code is Code.INVALID_ARGUMENT
    return refused.value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            'model_config_list {\n  config { nme: "a" }\n}',
            '2:12: Message type "tensorflow.serving.ModelConfig" has no field named "nme". Did you mean "name"?',
        ),
        (
            "batching { }",
            '1:1: Message type "tensorflow.serving.ModelServerConfig" has no field named "batching". '
            "Its fields: model_config_list, custom_model_config.",
        ),
        ('model_config_list {\n  config {\n    name: "a"\n', '3:11: Expected "}".'),
        ("model_config_list {\n  config { name: m } }", "2:18: '  config { name: m } }': Expected string"),
        ('model_config_list { config { name: "a" name: "b" } }', '1:46: Message type "tensorflow.serving.ModelConfig"'),
        (
            "model_config_list { config { model_version_policy { all {} latest {} } } }",
            '1:60: Field "latest" is specified along with field "all"',
        ),
        ("custom_model_config { [type.googleapis.com/no.Such] {} }", "Type no.Such not found in descriptor pool"),
    ],
)
def test_a_text_that_does_not_parse_is_refused_with_its_place_and_reason(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / "models.config"
    path.write_text(text)
    assert _refused(path).message.startswith(BEGINNING.format(file=path) + reason)


def test_bytes_that_are_not_utf_8_are_refused_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.write_bytes(b"# one\nmodel_config_list { config { name: '\xe9' } }")
    assert _refused(path).message == BEGINNING.format(file=path) + "2:37: Expected UTF-8, got the byte 0xe9."


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.touch()
    assert _refused(path).message.startswith(f"{path}; Invalid argument. The file is empty")


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    with pytest.raises(NotFound) as refused:
        read_text_proto(path, ModelServerConfig)
    assert refused.value.message.startswith(f"{path}; No such file or directory")


def test_a_folder_is_no_config_file(tmp_path: Path) -> None:
    assert _refused(tmp_path).message.startswith(f"{tmp_path}; Is a directory")


@pytest.mark.parametrize("text", ["\n", " \t\r\n", "# nothing yet", "\ufeff# from an editor that marks its files\n"])
def test_blank_lines_and_comments_are_an_empty_message(tmp_path: Path, text: str) -> None:
    path = tmp_path / "models.config"
    path.write_text(text, encoding="utf-8")
    assert read_text_proto(path, ModelServerConfig) == ModelServerConfig()


def test_the_spellings_of_the_text_format_mean_the_same() -> None:
    plain = 'model_config_list { config { name: "a" base_path: "/a" } config { name: "b" } }'
    other = "model_config_list: < config: [{ name: 'a', base_path: '/' 'a'; }, <name: \"\\x62\">] > # two"
    file = Path("models.config")
    assert parse_text_proto(other, ModelServerConfig, file) == parse_text_proto(plain, ModelServerConfig, file)


def test_other_config_files_are_read_with_the_same_reader() -> None:
    parameters = parse_text_proto(
        "max_batch_size { value: 128 } allowed_batch_sizes: 64 allowed_batch_sizes: 128 "
        "enable_large_batch_splitting { value: true }",
        BatchingParameters,
        Path("batching.config"),
    )
    assert parameters.max_batch_size.value == 128
    assert list(parameters.allowed_batch_sizes) == [64, 128]
    assert parameters.enable_large_batch_splitting.value
    assert not parameters.HasField("num_batch_threads")


def test_an_any_in_a_config_file_is_a_message_of_ours() -> None:
    platforms = parse_text_proto(
        """
        platform_configs {
          key: "tensorflow"
          value {
            source_adapter_config {
              [type.googleapis.com/tensorflow.serving.SessionBundleConfig] {
                session_config { intra_op_parallelism_threads: 2 }
              }
            }
          }
        }
        """,
        PlatformConfigMap,
        Path("platforms.config"),
    )
    config = SessionBundleConfig()
    assert platforms.platform_configs["tensorflow"].source_adapter_config.Unpack(config)
    assert config.session_config.intra_op_parallelism_threads == 2
