from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hotserve.errors import FailedPrecondition, InvalidArgument
from hotserve.platforms import registry
from hotserve.platforms.hashmap import HashmapLoader
from hotserve.platforms.registry import PLATFORMS, loader_for, missing_parts, recognise


@pytest.mark.parametrize(
    ("name", "platform"),
    [
        ("saved_model.pb", "tensorflow"),
        ("saved_model.pbtxt", "tensorflow"),
        ("model.onnx", "onnx"),
        ("resnet.onnx", "onnx"),
        ("model.tflite", "litert"),
        ("hashmap.json", "hashmap"),
    ],
)
def test_a_file_tells_the_platform(tmp_path: Path, name: str, platform: str) -> None:
    (tmp_path / name).touch()
    entry = recognise(tmp_path)
    assert entry is not None
    assert entry.name == platform


def test_a_preferred_platform_goes_first_and_its_files_are_those_that_have_to_be_whole(tmp_path: Path) -> None:
    for name in ("model.tflite", "saved_model.pb"):
        (tmp_path / name).touch()
    for preferred, expected in {"": "tensorflow", "onnx": "tensorflow", "litert": "litert", "tflite": "litert"}.items():
        entry = recognise(tmp_path, preferred)
        assert entry is not None
        assert entry.name == expected
    assert (missing_parts(tmp_path) or "").startswith("saved_model.pb is not whole")
    assert (missing_parts(tmp_path, "litert") or "").startswith("model.tflite is not whole")


def test_a_folder_with_two_models_is_of_the_platform_that_stands_first(tmp_path: Path) -> None:
    for name in ("hashmap.json", "model.onnx", "saved_model.pb"):
        (tmp_path / name).touch()
    entry = recognise(tmp_path)
    assert entry is not None
    assert entry.name == "tensorflow"


def test_names_of_platforms_are_unique() -> None:
    names = [name for entry in PLATFORMS for name in (entry.name, entry.alias) if name]
    assert len(set(names)) == len(names)


NO_MODEL = (
    "Specified file path does not appear to contain a SavedModel bundle (should have a file called `saved_model.pb`)\n"
    "Specified file path: "
)
RECOGNISED = (
    " hotserve recognises a SavedModel (`saved_model.pb` or `saved_model.pbtxt`),"
    " an ONNX model (`model.onnx`, or one other `*.onnx` file), a LiteRT model (`model.tflite`),"
    " a table of strings (`hashmap.json`)."
)


def test_a_folder_without_a_model_says_what_is_there_and_what_is_expected(tmp_path: Path) -> None:
    assert recognise(tmp_path) is None
    assert missing_parts(tmp_path) == f"{NO_MODEL}{tmp_path}\nThe folder is empty.{RECOGNISED}"
    (tmp_path / "variables").mkdir()
    (tmp_path / "model.h7").touch()
    assert missing_parts(tmp_path) == f"{NO_MODEL}{tmp_path}\nThe folder holds model.h7, variables/.{RECOGNISED}"
    for number in range(10):
        (tmp_path / f"{number}.txt").touch()
    assert "The folder holds 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 7 more." in (missing_parts(tmp_path) or "")


def test_a_path_that_is_no_folder_is_no_model(tmp_path: Path) -> None:
    file = tmp_path / "1"
    file.touch()
    assert recognise(file) is None
    assert missing_parts(file) == f"{NO_MODEL}{file}\nIt is a file, expected a folder.{RECOGNISED}"
    gone = tmp_path / "2"
    assert recognise(gone) is None
    assert missing_parts(gone) == f"{NO_MODEL}{gone}\nIt cannot be read: No such file or directory.{RECOGNISED}"


def test_a_session_bundle_is_told_by_the_words_of_the_original(tmp_path: Path) -> None:
    (tmp_path / "export.meta").touch()
    assert (missing_parts(tmp_path) or "").startswith("Session Bundle is deprecated and removed.")


def test_a_loader_is_made_by_name_with_its_options() -> None:
    assert isinstance(loader_for("hashmap"), HashmapLoader)
    with pytest.raises(TypeError):
        loader_for("hashmap", colour="blue")


def test_an_unknown_platform_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(
        InvalidArgument, match=r"no platform 'caffe'\. Expected one of tensorflow, onnx, litert, hashmap\."
    ):
        loader_for("caffe")


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [replace(entry, package="no_such_package") if entry.package else entry for entry in PLATFORMS]
    monkeypatch.setattr(registry, "PLATFORMS", entries)
    with pytest.raises(
        FailedPrecondition, match="needs the Python package no_such_package, which is not installed"
    ) as e:
        loader_for("onnx")
    assert e.value.message.endswith("Install it: pip install no_such_package")
    with pytest.raises(FailedPrecondition, match=r"Loading a LiteRT model \(`model\.tflite`\) needs") as e:
        loader_for("tflite")
    assert e.value.message.endswith("Install it: pip install 'hotserve[litert]'")


def test_a_loader_that_can_do_without_its_package_is_made_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [replace(entry, package="no_such_package") for entry in PLATFORMS if entry.is_optional]
    monkeypatch.setattr(registry, "PLATFORMS", entries)
    assert [entry.name for entry in entries] == ["tensorflow"]
    assert loader_for("tensorflow")


def test_a_package_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = replace(PLATFORMS[0], loader="hotserve.platforms.no_such_module:Loader")
    monkeypatch.setattr(registry, "PLATFORMS", [entry])
    with pytest.raises(FailedPrecondition, match="cannot be imported here: No module named 'hotserve"):
        loader_for("tensorflow")


def test_knowing_the_platforms_imports_no_framework() -> None:
    code = (
        "import sys, pathlib; from hotserve.platforms.registry import *;"
        "missing_parts(pathlib.Path('.')); loader_for('hashmap');"
        "print(sorted({'ai_edge_litert', 'flatbuffers', 'tensorflow', 'onnx', 'onnxruntime'} & sys.modules.keys()))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
