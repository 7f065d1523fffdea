from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from contracts.platform_contract import PlatformContract
from hotserve.errors import InvalidArgument
from hotserve.platforms.hashmap import HashmapFiles, HashmapLoader
from hotserve.tensors import Array


def strings(*texts: bytes) -> Array:
    return np.array(texts, dtype=object)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "1"
    folder.mkdir()
    (folder / "hashmap.json").write_text(json.dumps({"one": "eins", "two": "zwei", "": ""}))
    return folder


class TestHashmap(PlatformContract):
    platform = "hashmap"
    needed_files = ("hashmap.json",)

    @pytest.fixture
    def version_folder(self, folder: Path) -> Path:
        return folder

    @pytest.fixture
    def good_inputs(self) -> dict[str, Array]:
        return {"keys": strings(b"one", b"two")}


@pytest.mark.parametrize("signature", ["serving_default", "lookup"])
def test_keys_become_values_in_the_same_shape(folder: Path, signature: str) -> None:
    keys = strings(b"one", b"two", b"two", b"one").reshape(2, 2)
    values = HashmapLoader().load(folder).run(signature, {"keys": keys}, ["values"])["values"]
    assert values.tolist() == [[b"eins", b"zwei"], [b"zwei", b"eins"]]


def test_a_key_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidArgument, match="b'three' is not in the table; it has 3 others"):
        HashmapLoader().load(folder).run("lookup", {"keys": strings(b"three")}, ["values"])


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}', "[]", '"a"', "[" * 100_000, '{"a": "\\ud800"}'])
def test_a_file_that_is_no_table_is_not_whole(tmp_path: Path, text: str) -> None:
    (tmp_path / "hashmap.json").write_text(text)
    assert (HashmapFiles().missing_parts(tmp_path) or "").startswith("hashmap.json is not whole: ")
    with pytest.raises(InvalidArgument, match="cannot be read"):
        HashmapLoader().load(tmp_path)


def test_no_cut_of_a_table_counts_as_whole(folder: Path) -> None:
    content = (folder / "hashmap.json").read_bytes()
    for size in range(len(content)):
        (folder / "hashmap.json").write_bytes(content[:size])
        assert HashmapFiles().missing_parts(folder) is not None, size
