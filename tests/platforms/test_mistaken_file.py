from __future__ import annotations

from pathlib import Path

import pytest

from hotserve.platforms.mistaken_file import mistaken_file, unreadable_file
from hotserve.platforms.registry import missing_parts

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.mark.parametrize("name", ["saved_model.pb", "saved_model.pbtxt", "model.onnx", "model.tflite", "hashmap.json"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (POINTER, "is a pointer of Git LFS, not the file that it stands for: run `git lfs pull`, and copy it again"),
        (b"<!DOCTYPE HTML><title>Sign in", "is a page in HTML"),
        (b"<html><body>403 Forbidden", "is a page in HTML"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied", "is a text in XML"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "is packed with gzip: unpack it"),
    ],
)
def test_a_file_of_another_kind_in_the_place_of_a_model_is_named(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert (missing_parts(tmp_path) or "").startswith(f"{name} {words}")


def test_an_archive_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"PK\x03\x04\x14")
    assert mistaken_file(tmp_path / "model.onnx") == "a ZIP archive: unpack it"


def test_of_any_other_file_the_parser_has_its_say(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    error = ValueError("it ends too early")
    assert unreadable_file(file, error) == "model.onnx is not whole: it ends too early"
    file.write_bytes(b"\x08\x09")
    assert unreadable_file(file, error) == "model.onnx is not whole: it ends too early"
    assert unreadable_file(file, error, "a/model.onnx") == "a/model.onnx is not whole: it ends too early"
