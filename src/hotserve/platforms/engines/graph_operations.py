"""Which signatures a SavedModel has, and which operations each of them reaches, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from google.protobuf.message import DecodeError

from hotserve.errors import InvalidArgument
from hotserve.platforms.saved_model_files import GRAPH_FILE
from hotserve.platforms.wire_format import FileBytes, Message, WireError
from hotserve.protos.messages import AttrValue, GraphDef, NodeDef, SignatureDef

_META_GRAPHS = 2  # SavedModel
_META_INFO_DEF, _GRAPH_DEF, _SIGNATURE_DEF = 1, 2, 5  # MetaGraphDef
_TAGS = 4  # MetaInfoDef
_KEY, _VALUE = 1, 2  # An entry of a map field.


def read_signature_defs(path: Path, tags: Iterable[str]) -> Mapping[str, bytes]:
    """Reads the signatures of the meta graph of these tags; the graph itself is not read.

    Args:
        path: The version folder.
        tags: Its tags; exactly these.

    Returns:
        Signature name -> serialized SignatureDef.

    Raises:
        InvalidArgument: There is no such meta graph, or no `saved_model.pb` that can be read.
    """
    signatures = {}
    try:
        with FileBytes(path / GRAPH_FILE) as source:
            for entry in _meta_graph(source, tags).children(_SIGNATURE_DEF):
                fields = {field.number: field for field in entry.fields()}
                value = entry.child(fields[_VALUE]) if _VALUE in fields else None
                name = entry.text(fields[_KEY]) if _KEY in fields else ""
                signatures[name] = source.read(value.start, value.end) if value else b""
    except (OSError, WireError) as error:
        raise _unreadable(path, error) from error
    return signatures


def read_graph(path: Path, tags: Iterable[str]) -> GraphDef:
    """Reads the graph of the meta graph of these tags.

    Raises:
        InvalidArgument: As `read_signature_defs`.
    """
    graph = GraphDef()
    try:
        with FileBytes(path / GRAPH_FILE) as source:
            for part in _meta_graph(source, tags).children(_GRAPH_DEF):
                graph.MergeFromString(source.read(part.start, part.end))
    except (OSError, WireError, DecodeError) as error:
        raise _unreadable(path, error) from error
    return graph


def operations_of(signature: SignatureDef, graph: GraphDef) -> frozenset[str]:
    """The operations that a run of a signature may reach, those in functions included.

    Args:
        signature: What is fed and fetched.
        graph: The graph that it belongs to.
    """
    nodes = {node.name: node for node in graph.node}
    functions = {function.signature.name: function.node_def for function in graph.library.function}
    fed = {_operation(info.name) for info in signature.inputs.values()}
    waiting = [_operation(info.name) for info in signature.outputs.values()]
    seen: set[str] = set()
    reached: set[str] = set()
    called: list[str] = []
    while waiting:
        name = waiting.pop()
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        node = nodes[name]
        reached.add(node.op)
        called += _functions_of(node)
        if name not in fed:
            waiting += [_operation(source) for source in node.input]
    done: set[str] = set()
    while called:
        function = called.pop()
        if function in done:
            continue
        done.add(function)
        for node in functions.get(function, ()):
            reached.add(node.op)
            called += _functions_of(node)
    # An operation may be a function by its own name.
    return frozenset(reached - functions.keys())


def _meta_graph(source: FileBytes, tags: Iterable[str]) -> Message:
    wanted = frozenset(tags)
    for meta_graph in Message(source).children(_META_GRAPHS):
        found = {
            info.text(field)
            for info in meta_graph.children(_META_INFO_DEF)
            for field in info.fields()
            if field.number == _TAGS
        }
        if found == wanted:
            return meta_graph
    raise InvalidArgument(f"Could not find meta graph def matching supplied tags: {{ {' '.join(sorted(wanted))} }}")


def _unreadable(path: Path, error: Exception) -> InvalidArgument:
    return InvalidArgument(f"{path / GRAPH_FILE} cannot be read: {error}. Expected a SavedModel.")


def _operation(tensor: str) -> str:
    """`x` of `x:0`, `^x` and `x:output:0`."""
    return tensor.removeprefix("^").partition(":")[0]


def _functions_of(node: NodeDef) -> list[str]:
    found = [node.op]
    for value in node.attr.values():
        found += _functions_in(value)
    return found


def _functions_in(value: AttrValue) -> list[str]:
    kind = value.WhichOneof("value")
    if kind == "func":
        return [value.func.name]
    if kind == "list":
        return [function.name for function in value.list.func]
    return []
