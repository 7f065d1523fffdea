from __future__ import annotations

from pathlib import Path

import pytest

from hotserve.cli.main import main
from support.embedded import write_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Model `m` with versions 1 to 3, of which the last has no file yet."""
    for version in "12":
        write_table(tmp_path / "m" / version, a="b")
    (tmp_path / "m" / "3").mkdir()
    return tmp_path


def write(file: Path, *entries: str) -> str:
    file.write_text("model_config_list { " + " ".join(f"config {{ {entry} }}" for entry in entries) + " }")
    return str(file)


def test_check_shows_what_every_model_means(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(
        folder / "models.config",
        'name: "m" base_path: "m" version_labels { key: "stable" value: 2 } version_labels { key: "old" value: 1 }',
        'name: "later" base_path: "/no/such/folder" model_version_policy { specific { versions: 4 versions: 7 } }',
    )
    assert main(["config", "check", file]) == 0
    assert capsys.readouterr().out == (
        f"{file}: 2 models\n"
        "\nm\n"
        f"  base_path     {folder / 'm'}\n"
        "  platform      by content\n"
        "  policy        latest 1\n"
        "  version 3     not complete: the folder is empty\n"
        "  version 2     hashmap\n"
        "  label old     version 1, which would not be served: the label waits for it\n"
        "  label stable  version 2\n"
        "\nlater\n"
        "  base_path     /no/such/folder\n"
        "  platform      by content\n"
        "  policy        specific: 4, 7\n"
        "  warning       Could not find base path /no/such/folder for servable later: No such file or directory. It is"
        " served when it appears.\n"
    )


@pytest.mark.parametrize(
    ("platform", "text"),
    [
        ("cobol", "ERROR         Model m requests unsupported platform cobol"),
        ("onnx", "holds a model of platform hashmap, but model_platform says onnx"),
    ],
)
def test_check_fails_where_a_model_could_not_be_loaded(
    folder: Path, capsys: pytest.CaptureFixture[str], platform: str, text: str
) -> None:
    file = write(folder / "models.config", f'name: "m" base_path: "m" model_platform: "{platform}"')
    assert main(["config", "check", file]) == 1
    assert text in capsys.readouterr().out


@pytest.mark.parametrize("action", [["check"], ["diff", "good"]])
def test_a_file_that_is_wrong_is_told_with_its_position(
    folder: Path, capsys: pytest.CaptureFixture[str], action: list[str]
) -> None:
    good = write(folder / "good.config")
    (folder / "bad.config").write_text("model_config_list {\n  config { nme: 'm' }\n}")
    words = [good if word == "good" else word for word in action]
    assert main(["config", *words, str(folder / "bad.config")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("hotserve config: Invalid protobuf file:")
    assert '2:12: Message type "tensorflow.serving.ModelConfig" has no field named "nme"' in captured.err


def test_diff_shows_what_a_reload_would_do(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = write(
        folder / "old.config",
        'name: "m" base_path: "m" version_labels { key: "stable" value: 1 }',
        'name: "same" base_path: "/same"',
        'name: "gone" base_path: "/gone"',
    )
    new = write(
        folder / "new.config",
        'name: "m" base_path: "m" version_labels { key: "stable" value: 2 } version_labels { key: "new" value: 3 }',
        'name: "same" base_path: "/same"',
        'name: "fresh" base_path: "/fresh"',
    )
    assert main(["config", "diff", old, new]) == 0
    assert capsys.readouterr().out == (
        "+ fresh  /fresh\n"
        "- gone\n"
        "~ m  version_labels new: none -> 3; version_labels stable: 1 -> 2\n"
        "    refused if label stable is in use and version 2 is not AVAILABLE at that moment\n"
        "1 model unchanged\n"
    )


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ('name: "m" base_path: "m" model_platform: "onnx"', "Illegal to change a model's platform."),
        ('name: "n" base_path: "m" model_platform: "cobol"', "Model n requests unsupported platform cobol"),
    ],
)
def test_diff_fails_where_the_reload_would_be_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], entry: str, text: str
) -> None:
    old = write(folder / "old.config", 'name: "m" base_path: "m"')
    assert main(["config", "diff", old, write(folder / "new.config", entry)]) == 1
    assert text in capsys.readouterr().err


def test_check_shows_how_a_version_is_batched_where_it_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(folder / "models.config", 'name: "m" base_path: "m" model_version_policy { all {} }')
    (folder / "m" / "1" / "batching_params.pbtxt").write_text("max_batch_size { value: 4 }")
    assert main(["config", "check", file]) == 0
    assert "per_model_batching_parameters batched: max_batch_size 4," in capsys.readouterr().out
    (folder / "m" / "2" / "batching_params.pbtxt").write_text("max_batch { value: 4 }")
    assert main(["config", "check", file]) == 1
    shown = capsys.readouterr().out
    assert "batching_params.pbtxt" in shown
    assert "1:1" in shown
