from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.onnx_ml_pb2 import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    SparseTensorProto,
    TypeProto,
    ValueInfoProto,
)

from hotserve.platforms import onnx_files
from hotserve.platforms.onnx_files import (
    ExternalData,
    OnnxFiles,
    model_files,
    read_external_data,
    read_names_without_shape,
)
from hotserve.platforms.wire_format import WireError

FILES = OnnxFiles()
OPSETS = [helper.make_opsetid("", 17)]
X = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])
Y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])


def external(name: str = "w", data_type: int = TensorProto.FLOAT, **entries: str | int) -> TensorProto:
    """A tensor of [2,3] whose values are in another file."""
    tensor = TensorProto(name=name, data_type=data_type, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def graph(*nodes: NodeProto, initializers: tuple[TensorProto, ...] = ()) -> GraphProto:
    return helper.make_graph(list(nodes) or [helper.make_node("Relu", ["x"], ["y"])], "g", [X], [Y], list(initializers))


def length_of(data: bytes) -> bytes:
    """The length as a number of three bytes, the shortest or not."""
    size = len(data)
    return bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14])


def save(folder: Path, model: ModelProto | GraphProto, name: str = "model.onnx") -> Path:
    whole = helper.make_model(model, opset_imports=OPSETS) if isinstance(model, GraphProto) else model
    (folder / name).write_bytes(whole.SerializeToString())
    return folder / name


def test_a_model_and_its_data_make_a_whole_folder(tmp_path: Path) -> None:
    save(tmp_path, graph(initializers=(external(location="weights.bin", offset=8, length=24),)))
    assert FILES.recognise(tmp_path)
    assert FILES.missing_parts(tmp_path) == "weights.bin is not there yet"
    (tmp_path / "weights.bin").write_bytes(bytes(31))
    assert FILES.missing_parts(tmp_path) == "weights.bin has 31 of 32 bytes"
    (tmp_path / "weights.bin").write_bytes(b"version https://git-lfs")
    assert (FILES.missing_parts(tmp_path) or "").startswith("weights.bin is a pointer of Git LFS")
    (tmp_path / "weights.bin").write_bytes(bytes(32))
    assert FILES.missing_parts(tmp_path) is None


def test_a_model_with_its_weights_inside_cut_anywhere_is_not_whole(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.arange(200, dtype=np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], auto_pad="SAME_UPPER")
    file = save(tmp_path, graph(node, initializers=(weights,)))
    whole = file.read_bytes()
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        assert (FILES.missing_parts(tmp_path) or "").startswith("model.onnx is not whole: "), size


def test_the_cuts_that_cannot_be_told_are_those_before_what_may_follow_the_first_opset_import(tmp_path: Path) -> None:
    model = helper.make_model(graph(), opset_imports=[*OPSETS, helper.make_opsetid("ai.onnx.ml", 3)])
    helper.set_model_props(model, {"author": "somebody"})
    file = save(tmp_path, model)
    whole = file.read_bytes()
    untold = []
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        if FILES.missing_parts(tmp_path) is None:
            untold.append(ModelProto.FromString(whole[:size]))
    assert [(len(cut.opset_import), len(cut.metadata_props)) for cut in untold] == [(1, 0), (2, 0)]


def test_a_model_with_a_hole_is_not_whole(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", [f"x{n}"], [f"x{n + 1}"], name=f"node_{n}") for n in range(400)]
    file = save(tmp_path, graph(*nodes))
    whole = file.read_bytes()
    for start in range(0, len(whole) - 512, 512):
        file.write_bytes(whole[:start] + bytes(512) + whole[start + 512 :])
        assert FILES.missing_parts(tmp_path) is not None, start


WHERE: Mapping[str, Callable[[TensorProto], ModelProto | GraphProto]] = {
    "an initializer": lambda tensor: graph(initializers=(tensor,)),
    "an attribute": lambda tensor: graph(helper.make_node("Constant", [], ["y"], value=tensor)),
    "a list of tensors": lambda tensor: graph(helper.make_node("Custom", [], ["y"], values=[tensor, tensor])),
    "a sparse initializer": lambda tensor: GraphProto(sparse_initializer=[SparseTensorProto(values=tensor)]),
    "a sparse attribute": lambda tensor: graph(
        helper.make_node("Constant", [], ["y"], sparse_value=SparseTensorProto(indices=tensor))
    ),
    "a subgraph": lambda tensor: graph(
        helper.make_node("If", ["c"], ["y"], then_branch=graph(initializers=(tensor,)), else_branch=graph())
    ),
    "a subgraph of a subgraph": lambda tensor: graph(
        helper.make_node(
            "Loop",
            ["c"],
            ["y"],
            body=graph(helper.make_node("Custom", [], ["y"], bodies=[graph(), graph(initializers=(tensor,))])),
        )
    ),
    "a function": lambda tensor: helper.make_model(
        graph(),
        opset_imports=OPSETS,
        functions=[
            helper.make_function("d", "f", [], ["y"], [helper.make_node("Constant", [], ["y"], value=tensor)], OPSETS)
        ],
    ),
}


@pytest.mark.parametrize("where", list(WHERE))
def test_external_data_is_found_wherever_a_tensor_can_be(tmp_path: Path, where: str) -> None:
    file = save(tmp_path, WHERE[where](external(location="there.bin", length=5)))
    assert read_external_data(file) == [ExternalData("there.bin", 5)]


@pytest.mark.parametrize(
    ("data_type", "size"),
    [
        (TensorProto.FLOAT, 24),
        (TensorProto.BOOL, 6),
        (TensorProto.BFLOAT16, 12),
        (TensorProto.DOUBLE, 48),
        (TensorProto.COMPLEX128, 96),
        (TensorProto.INT4, 3),
        (TensorProto.FLOAT8E5M2, 6),
    ],
)
def test_data_without_a_length_is_as_long_as_the_tensor(tmp_path: Path, data_type: int, size: int) -> None:
    file = save(tmp_path, graph(initializers=(external(data_type=data_type, location="w.bin", offset=100),)))
    assert read_external_data(file) == [ExternalData("w.bin", 100 + size)]


def test_every_fixed_size_type_of_onnx_is_known() -> None:
    known = set(onnx_files._ELEMENT_BITS)
    # Newer releases of onnx know types that no engine takes from a file yet.
    beyond = {number for number in TensorProto.DataType.values() if number > TensorProto.INT2}
    assert known == set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED, TensorProto.STRING} - beyond


def test_many_tensors_in_one_file_need_it_as_long_as_the_last_of_them(tmp_path: Path) -> None:
    tensors = [external(f"w{n}", location="w.bin", offset=offset, length=10) for n, offset in enumerate((0, 90, 40))]
    file = save(tmp_path, graph(initializers=(*tensors, external(location="other.bin", length=1))))
    assert read_external_data(file) == [ExternalData("w.bin", 100), ExternalData("other.bin", 1)]


def test_the_field_numbers_are_those_of_onnx() -> None:
    def numbers(message: type, *names: str) -> tuple[int, ...]:
        return tuple(message.DESCRIPTOR.fields_by_name[name].number for name in names)  # type: ignore[attr-defined]

    f = onnx_files
    assert numbers(ModelProto, "graph", "opset_import", "functions") == (
        f._MODEL_GRAPH,
        f._MODEL_OPSET_IMPORT,
        f._MODEL_FUNCTIONS,
    )
    assert numbers(GraphProto, "node", "initializer", "sparse_initializer") == (
        f._GRAPH_NODE,
        f._GRAPH_INITIALIZER,
        f._GRAPH_SPARSE_INITIALIZER,
    )
    assert numbers(GraphProto, "input", "output") == f._GRAPH_INPUT_OUTPUT
    assert numbers(FunctionProto, "node") == (f._FUNCTION_NODE,)
    assert numbers(NodeProto, "attribute") == (f._NODE_ATTRIBUTE,)
    assert numbers(AttributeProto, "g", "graphs") == f._ATTRIBUTE_GRAPHS
    assert numbers(AttributeProto, "t", "tensors") == f._ATTRIBUTE_TENSORS
    assert numbers(AttributeProto, "sparse_tensor", "sparse_tensors") == f._ATTRIBUTE_SPARSE_TENSORS
    assert numbers(SparseTensorProto, "values", "indices") == f._SPARSE_PARTS
    assert numbers(TensorProto, "dims", "data_type", "external_data", "data_location") == (
        f._TENSOR_DIMS,
        f._TENSOR_DATA_TYPE,
        f._TENSOR_EXTERNAL_DATA,
        f._TENSOR_DATA_LOCATION,
    )
    assert numbers(onnx.StringStringEntryProto, "key", "value") == (f._ENTRY_KEY, f._ENTRY_VALUE)
    assert numbers(ValueInfoProto, "name", "type") == (f._VALUE_NAME, f._VALUE_TYPE)
    assert numbers(TypeProto, "tensor_type") == (f._TYPE_TENSOR,)
    assert numbers(TypeProto.Tensor, "shape") == (f._TENSOR_TYPE_SHAPE,)


@pytest.mark.parametrize(
    ("location", "inside"),
    [
        ("w.bin", True),
        ("data/w.bin", True),
        ("data/../w.bin", True),
        ("./w.bin", True),
        ("..w.bin", True),
        ("../w.bin", False),
        ("data/../../w.bin", False),
        ("/etc/passwd", False),
        ("..", False),
        (".", False),
        ("data/../..", False),
    ],
)
def test_a_location_is_within_the_folder_or_not(location: str, inside: bool) -> None:
    assert ExternalData(location, 0).is_inside == inside


def test_data_outside_the_folder_is_not_waited_for(tmp_path: Path) -> None:
    # It is the loader that refuses such a model.
    save(tmp_path, graph(initializers=(external(location="../w.bin", length=1),)))
    assert FILES.missing_parts(tmp_path) is None


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"offset": 1}, "a tensor has its data in another file, and no location says in which"),
        ({"location": "w", "offset": "x"}, "the offset of external data is 'x', expected a number of bytes"),
        ({"location": "w", "length": -1}, "the length of external data is '-1', expected a number of bytes"),
        ({"location": "w", "length": "9" * 5000}, "the length of external data is '999"),
    ],
)
def test_external_data_that_makes_no_sense_is_named(tmp_path: Path, entries: dict[str, str | int], reason: str) -> None:
    save(tmp_path, graph(initializers=(external(**entries),)))
    assert (FILES.missing_parts(tmp_path) or "").startswith(f"model.onnx is not whole: {reason}")


@pytest.mark.parametrize("location", ["a\0b", "w.bin/below", "x" * 5000])
def test_locations_that_no_file_can_have_are_reported(tmp_path: Path, location: str) -> None:
    save(tmp_path, graph(initializers=(external(location=location, length=1),)))
    (tmp_path / "w.bin").touch()
    assert FILES.missing_parts(tmp_path) is not None


def test_graphs_nested_without_end_do_not_end_the_process(tmp_path: Path) -> None:
    # By hand: protobuf itself writes nothing that deep. A graph's node (1) has an attribute (5) that is a graph (6).
    inner = b""
    for _ in range(90):
        for number in (6, 5, 1):
            inner = bytes([number << 3 | 2]) + length_of(inner) + inner
    (tmp_path / "model.onnx").write_bytes(b"\x3a" + length_of(inner) + inner + b"\x42\x02\x10\x11")
    assert FILES.missing_parts(tmp_path) == "model.onnx is not whole: its graphs are nested more than 64 deep"


def test_a_model_needs_a_graph_and_an_opset_import(tmp_path: Path) -> None:
    save(tmp_path, ModelProto(ir_version=9, opset_import=OPSETS))
    assert FILES.missing_parts(tmp_path) == "model.onnx is not whole: there is no graph in it"
    save(tmp_path, ModelProto(ir_version=9, graph=graph()))
    assert FILES.missing_parts(tmp_path) == "model.onnx is not whole: there is no opset import in it"


def test_the_only_onnx_file_is_the_model_whatever_its_name(tmp_path: Path) -> None:
    file = save(tmp_path, graph(), "resnet50.onnx")
    (tmp_path / "._resnet50.onnx").write_bytes(b"a resource fork")
    assert model_files(tmp_path) == [file]
    assert FILES.missing_parts(tmp_path) is None


def test_of_several_files_model_onnx_is_the_model(tmp_path: Path) -> None:
    save(tmp_path, graph(), "a.onnx")
    save(tmp_path, graph(), "b.onnx")
    assert FILES.recognise(tmp_path)
    assert FILES.missing_parts(tmp_path) == "one `*.onnx` file, found a.onnx, b.onnx: name the one to serve model.onnx"
    save(tmp_path, graph())
    assert FILES.missing_parts(tmp_path) is None


def test_a_folder_without_onnx_files_is_not_recognised(tmp_path: Path) -> None:
    assert not FILES.recognise(tmp_path)
    assert FILES.missing_parts(tmp_path) == "model.onnx is not there yet"


def test_names_without_a_declared_shape_are_told_from_scalars(tmp_path: Path) -> None:
    scalar = helper.make_tensor_value_info("scalar", TensorProto.FLOAT, [])
    any_rank = helper.make_tensor_value_info("any", TensorProto.FLOAT, None)
    untyped = helper.make_empty_tensor_value_info("untyped")
    file = save(
        tmp_path, helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [scalar, any_rank, X], [untyped])
    )
    assert read_names_without_shape(file) == {"any", "untyped"}


def test_a_file_that_is_no_model_is_a_wire_error(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(WireError):
        read_external_data(tmp_path / "model.onnx")
