from __future__ import annotations

from pathlib import Path

import pytest

from hotserve.platforms.foreign_formats import export_advice
from hotserve.platforms.registry import missing_parts


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.keras", "model.keras is Keras's: write a SavedModel with model.export(FOLDER)."),
        ("weights.H5", "keras.models.load_model"),
        ("model.pt", "torch.onnx.export"),
        ("model.pth", "torch.onnx.export"),
        ("clf.joblib", "skl2onnx"),
        ("clf.pkl", "skl2onnx"),
        ("model.ubj", "convert_xgboost"),
        ("model.zip", "unpack it"),
        ("model.tar.gz", "unpack it"),
    ],
)
def test_a_model_of_another_framework_is_said_to_need_an_export(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "about.json").touch()
    (tmp_path / name).touch()
    text = missing_parts(tmp_path) or ""
    assert f"The folder holds about.json, {name}. {name} is " in text
    assert words in text


@pytest.mark.parametrize("names", [[], ["notes.txt"], ["variables/"], ["keras"]])
def test_of_files_that_are_not_known_nothing_is_said(names: list[str]) -> None:
    assert export_advice(names) == ""


def test_one_of_several_is_named() -> None:
    assert export_advice(["z.pt", "a.pt"]) == "a.pt is PyTorch's: export the model with torch.onnx.export."
