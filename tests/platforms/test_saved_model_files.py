from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.platforms.saved_model_files import SavedModelFiles, tag_sets
from hotserve.platforms.wire_format import FileBytes, Message, WireError

FILES = SavedModelFiles()


@pytest.fixture
def copy(many_signatures: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(many_signatures, tmp_path / "1"))


@pytest.fixture
def copy_with_assets(with_assets: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(with_assets, tmp_path / "1"))


def cuts(size: int, dense: int = 64, steps: int = 60) -> list[int]:
    """Where a file is cut: at every byte near both ends, and here and there between."""
    return sorted(
        {*range(min(dense, size)), *range(max(0, size - dense), size), *range(0, size, max(1, size // steps))}
    )


def graph_def_variable(v1: Any) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    x = v1.placeholder("float32", [None], name="x")
    v = v1.get_variable("v", initializer=2.0, use_resource=False)
    return {"serving_default": ({"x": x}, {"y": x * v})}


def graph_def_without_variables(v1: Any) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    x = v1.placeholder("float32", [None], name="x")
    return {"serving_default": ({"x": x}, {"y": x * 2.0})}


def test_exports_of_tensorflow_2_are_whole(many_signatures: Path, with_assets: Path) -> None:
    for folder in (many_signatures, with_assets):
        assert FILES.recognise(folder)
        assert FILES.missing_parts(folder) is None


@pytest.mark.parametrize("as_text", [False, True])
def test_the_tags_of_every_meta_graph_are_told(graph_model: Callable[..., Path], as_text: bool) -> None:
    folder = graph_model(graph_def_without_variables, tags=("serve", "gpu"), as_text=as_text)
    assert tag_sets(folder) == [frozenset({"serve", "gpu"})]


@given(st.binary(max_size=60), st.sampled_from(["saved_model.pb", "saved_model.pbtxt"]))
def test_damaged_files_have_no_tags_or_say_that_they_are_damaged(data: bytes, name: str) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(data)
        with suppress(WireError):
            assert all(isinstance(tags, frozenset) for tags in tag_sets(Path(folder)))


@pytest.mark.parametrize("build", [graph_def_variable, graph_def_without_variables])
@pytest.mark.parametrize("as_text", [False, True])
def test_exports_of_tensorflow_1_are_whole(
    graph_model: Callable[..., Path], build: Callable[[Any], Any], as_text: bool
) -> None:
    folder = graph_model(build, as_text=as_text)
    assert (folder / "saved_model.pbtxt").exists() == as_text
    assert FILES.recognise(folder)
    assert FILES.missing_parts(folder) is None


def test_a_model_without_variables_needs_no_checkpoint(graph_model: Callable[..., Path]) -> None:
    folder = graph_model(graph_def_without_variables)
    shutil.rmtree(folder / "variables", ignore_errors=True)
    assert FILES.missing_parts(folder) is None


@pytest.mark.parametrize("as_text", [False, True])
def test_a_model_with_variables_needs_its_checkpoint(graph_model: Callable[..., Path], as_text: bool) -> None:
    folder = graph_model(graph_def_variable, as_text=as_text)
    shutil.rmtree(folder / "variables")
    assert FILES.missing_parts(folder) == "variables/variables.index is not there yet"


def test_a_graph_cut_anywhere_is_not_whole(copy: Path) -> None:
    file = copy / "saved_model.pb"
    whole = file.read_bytes()
    for size in cuts(len(whole)):
        file.write_bytes(whole[:size])
        assert (FILES.missing_parts(copy) or "").startswith("saved_model.pb is not whole: "), size


def test_a_graph_in_text_cut_anywhere_is_not_whole(graph_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(graph_model(graph_def_variable, as_text=True), tmp_path / "1"))
    file = folder / "saved_model.pbtxt"
    whole = file.read_bytes()
    # The last byte is a line's end.
    for size in cuts(len(whole) - 1):
        file.write_bytes(whole[:size])
        assert (FILES.missing_parts(folder) or "").startswith("saved_model.pbtxt is not whole: "), size


def test_a_checkpoint_cut_anywhere_is_not_whole(copy: Path) -> None:
    for name in ("variables.index", "variables.data-00000-of-00001"):
        file = copy / "variables" / name
        whole = file.read_bytes()
        for size in cuts(len(whole)):
            file.write_bytes(whole[:size])
            assert (FILES.missing_parts(copy) or "").startswith(f"variables/{name} "), size
        file.write_bytes(whole)
    assert FILES.missing_parts(copy) is None


def test_a_graph_with_a_hole_is_not_whole(copy: Path) -> None:
    # A copy that arrives in pieces, out of order: the rest reads as zeros.
    file = copy / "saved_model.pb"
    whole = file.read_bytes()
    hole = 4096
    for start in range(0, len(whole) - hole, hole):
        file.write_bytes(whole[:start] + bytes(hole) + whole[start + hole :])
        assert FILES.missing_parts(copy) is not None, start


def test_the_one_cut_of_a_graph_that_cannot_be_told_is_between_two_meta_graphs(copy: Path) -> None:
    file = copy / "saved_model.pb"
    with FileBytes(file) as source:
        version, meta_graph = Message(source).fields()
        content = source.read(0, source.size)
    twice = content + content[version.end :]
    for size in range(len(content) - 20, len(content) + 200):
        file.write_bytes(twice[:size])
        assert (FILES.missing_parts(copy) is None) == (size == meta_graph.end), size
    file.write_bytes(twice)
    assert FILES.missing_parts(copy) is None


def test_assets_must_be_there(copy_with_assets: Path) -> None:
    (copy_with_assets / "assets" / "words.txt").unlink()
    assert FILES.missing_parts(copy_with_assets) == "assets/words.txt is not there yet"


def test_assets_named_in_a_text_graph_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pbtxt").write_text(
        'meta_graphs { graph_def { } asset_file_def { filename: "w\\303\\266rter.txt" } }'
    )
    assert FILES.missing_parts(tmp_path) == "assets/wörter.txt is not there yet"
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "wörter.txt").touch()
    assert FILES.missing_parts(tmp_path) is None


def test_the_binary_form_is_the_one_that_counts(copy: Path) -> None:
    (copy / "saved_model.pbtxt").write_text("no model")
    assert FILES.missing_parts(copy) is None


def test_a_folder_that_has_only_variables_so_far_is_not_recognised(copy: Path) -> None:
    (copy / "saved_model.pb").unlink()
    assert not FILES.recognise(copy)
    assert FILES.missing_parts(copy) == "saved_model.pb is not there yet"


def test_a_folder_in_place_of_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").mkdir()
    assert (FILES.missing_parts(tmp_path) or "").startswith("saved_model.pb cannot be read: ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "there is no graph in it"),
        (b"\x08\x01", "there is no graph in it"),
        (b"\x08\x01\x12\x00", "there is no graph in it"),
        (b"<htm", "wire type 4 at byte 0 is not in use"),
        (b"PK\x03\x05", "no field has the number 0 (byte 2)"),
    ],
)
def test_what_is_no_graph_is_not_whole(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "saved_model.pb").write_bytes(content)
    assert FILES.missing_parts(tmp_path) == f"saved_model.pb is not whole: {reason}"
