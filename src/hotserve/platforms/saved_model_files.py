"""Tells SavedModel folders, and whether all their files are there, without TensorFlow.

A folder is complete when

- `saved_model.pb` (or `saved_model.pbtxt`) reads down to a meta graph with a graph in it,
- `variables/` holds a whole checkpoint, if some meta graph restores variables,
- `assets/` holds every file that some meta graph names.

What bytes alone cannot tell: a `saved_model.pb` cut exactly between two meta graphs, an asset cut short (nothing says
how long it should be), and optional files that are not there at all (`assets.extra/`).

Source: saved_model.proto, meta_graph.proto and saver.proto in tensorflow/core/protobuf, and
tensorflow/cc/saved_model/loader.cc.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hotserve.platforms.mistaken_file import unreadable_file
from hotserve.platforms.tensor_bundle import missing_shards
from hotserve.platforms.text_format import string_fields
from hotserve.platforms.wire_format import FileBytes, Layout, Message, WireError, check_layout

GRAPH_FILE = "saved_model.pb"
TEXT_GRAPH_FILE = "saved_model.pbtxt"

_META_GRAPHS = 2  # SavedModel
_META_INFO_DEF, _GRAPH_DEF, _SAVER_DEF, _ASSET_FILE_DEF = 1, 2, 3, 6  # MetaGraphDef
_TAGS = 4  # MetaInfoDef
_FILENAME_TENSOR_NAME = 1  # SaverDef
_FILENAME = 2  # AssetFileDef

# From node to node of the graph, of its functions and of the saved objects, but not into nodes: of a graph of 1 MB
# that is 5 000 fields in place of 50 000, and still finds every hole that is larger than a node.
_META_GRAPH_LAYOUT: Layout = {1: {}, 2: {2: {1: {}}}, 3: {}, 5: {2: {}}, 6: {}, 7: {}}


class SavedModelFiles:
    """SavedModel folders, as TensorFlow 1 and 2 export them."""

    description = f"a SavedModel (`{GRAPH_FILE}` or `{TEXT_GRAPH_FILE}`)"

    def recognise(self, path: Path) -> bool:
        return (path / GRAPH_FILE).exists() or (path / TEXT_GRAPH_FILE).exists()

    def missing_parts(self, path: Path) -> str | None:
        file = _graph_file(path)
        try:
            needs = _read_text(file) if file.name == TEXT_GRAPH_FILE else _read_binary(file)
        except FileNotFoundError:
            return f"{file.name} is not there yet"
        except OSError as error:
            return f"{file.name} cannot be read: {error.strerror}"
        except WireError as error:
            return unreadable_file(file, error)
        for name in needs.assets:
            if not (path / "assets" / name).is_file():
                return f"assets/{name} is not there yet"
        if needs.variables:
            return missing_shards(path / "variables" / "variables")
        return None


def tag_sets(path: Path) -> Sequence[frozenset[str]]:
    """The tags of each meta graph in a SavedModel, in order.

    Args:
        path: The version folder.

    Raises:
        OSError: The file cannot be read.
        WireError: It is no SavedModel.
    """
    file = _graph_file(path)
    if file.name == TEXT_GRAPH_FILE:
        found: list[set[str]] = []
        for place, value in string_fields(file.read_text("utf-8", "surrogateescape")):
            match place:
                case ("meta_graphs",):
                    found.append(set())
                case ("meta_graphs", "meta_info_def", "tags"):
                    found[-1].add(value)
        return [frozenset(tags) for tags in found]
    with FileBytes(file) as source:
        return [
            frozenset(
                info.text(field)
                for info in meta_graph.children(_META_INFO_DEF)
                for field in info.fields()
                if field.number == _TAGS
            )
            for meta_graph in Message(source).children(_META_GRAPHS)
        ]


def _graph_file(path: Path) -> Path:
    # TensorFlow prefers the binary form, too.
    if not (path / GRAPH_FILE).exists() and (path / TEXT_GRAPH_FILE).exists():
        return path / TEXT_GRAPH_FILE
    return path / GRAPH_FILE


@dataclass(frozen=True, slots=True)
class _Needs:
    """What the meta graphs name.

    Attributes:
        variables: Whether a checkpoint is restored.
        assets: The names of files in `assets/`.
    """

    variables: bool
    assets: tuple[str, ...]


def _read_binary(file: Path) -> _Needs:
    variables = found_graph = False
    assets: list[str] = []
    with FileBytes(file) as source:
        for meta_graph in Message(source).children(_META_GRAPHS):
            check_layout(meta_graph, _META_GRAPH_LAYOUT)
            for field in meta_graph.fields():
                if field.number == _GRAPH_DEF:
                    found_graph = True
                elif field.number == _SAVER_DEF:
                    saver = meta_graph.child(field)
                    variables |= any(part.number == _FILENAME_TENSOR_NAME and part.value for part in saver.fields())
                elif field.number == _ASSET_FILE_DEF:
                    asset = meta_graph.child(field)
                    assets += [asset.text(part) for part in asset.fields() if part.number == _FILENAME]
    if not found_graph:
        raise WireError("there is no graph in it")
    return _Needs(variables, tuple(assets))


def _read_text(file: Path) -> _Needs:
    variables = found_graph = False
    assets: list[str] = []
    for path, value in string_fields(file.read_text("utf-8", "surrogateescape")):
        match path:
            case ("meta_graphs", "graph_def"):
                found_graph = True
            case ("meta_graphs", "saver_def", "filename_tensor_name"):
                variables |= value != ""
            case ("meta_graphs", "asset_file_def", "filename"):
                assets.append(value)
    if not found_graph:
        raise WireError("there is no graph in it")
    return _Needs(variables, tuple(assets))
